use std::sync::Arc;

use purlin_store::Clock;

use crate::{
    database::Database,
    domain::{NewProduct, Product, ProductChanges, ProductId, Timestamp},
    repository::products,
    service::{Error, unit_of_work},
};

/// What can be done with products.
#[derive(Debug, Clone)]
pub(crate) struct Products {
    database: Database,
    clock: Arc<dyn Clock>,
}

impl Products {
    pub(crate) fn new(database: Database, clock: Arc<dyn Clock>) -> Self {
        Self { database, clock }
    }

    pub(crate) async fn create(&self, new: NewProduct) -> Result<Product, Error> {
        let product = Product {
            id: ProductId::new(),
            name: new.name,
            price_cents: new.price_cents,
            stock: new.stock,
            version: 1,
            created_at: Timestamp::now(&*self.clock),
        };
        unit_of_work::run(&self.database, "create product", async || {
            let mut work = self.database.begin().await?;
            products::insert(work.connection(), &product).await?;
            Ok(work.commit().await?)
        })
        .await?;
        Ok(product)
    }

    pub(crate) async fn get(&self, id: ProductId) -> Result<Product, Error> {
        unit_of_work::run(&self.database, "get product", async || {
            let mut work = self.database.begin_read().await?;
            let product = products::get(work.connection(), id).await?;
            product.ok_or(Error::ProductNotFound)
        })
        .await
    }

    /// The newest `limit` of all.
    pub(crate) async fn list(&self, limit: i64) -> Result<Vec<Product>, Error> {
        unit_of_work::run(&self.database, "list products", async || {
            let mut work = self.database.begin_read().await?;
            Ok(products::list(work.connection(), limit).await?)
        })
        .await
    }

    /// The product as it is then. No changes are no change: the version stays.
    pub(crate) async fn update(
        &self,
        id: ProductId,
        changes: &ProductChanges,
    ) -> Result<Product, Error> {
        if changes.is_empty() {
            return self.get(id).await;
        }
        unit_of_work::run(&self.database, "update product", async || {
            let mut work = self.database.begin().await?;
            let product = products::update(work.connection(), id, changes).await?;
            work.commit().await?;
            product.ok_or(Error::ProductNotFound)
        })
        .await
    }
}
