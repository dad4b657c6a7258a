use std::sync::Arc;

use purlin_problem::{JsonPointer, Violation, Violations};
use purlin_store::Clock;

use crate::{
    database::{Connection, Database, JobQueue},
    domain::{Customer, NewOrder, Order, OrderId, OrderItem, OrderStatus, Timestamp, total_cents},
    repository::{orders, products},
    service::{Error, Receipt, error::Short, unit_of_work},
};

/// What can be done with orders.
#[derive(Debug, Clone)]
pub(crate) struct Orders {
    database: Database,
    queue: JobQueue,
    clock: Arc<dyn Clock>,
}

impl Orders {
    pub(crate) fn new(database: Database, queue: JobQueue, clock: Arc<dyn Clock>) -> Self {
        Self {
            database,
            queue,
            clock,
        }
    }

    /// Places an order, takes its stock and has its receipt sent, all or nothing.
    pub(crate) async fn place(&self, customer: &Customer, new: &NewOrder) -> Result<Order, Error> {
        unit_of_work::run(&self.database, "place order", async || {
            let mut work = self.database.begin().await?;
            let order = self.place_in(work.connection(), customer, new).await?;
            work.commit().await?;
            Ok(order)
        })
        .await
    }

    /// The same in a transaction that somebody else has begun, for writing, and commits.
    ///
    /// After an error that somebody rolls it back: some stock may have been taken. It is not tried
    /// again after a conflict, and has no time limit of its own: both belong to the whole of a
    /// transaction.
    pub(crate) async fn place_in(
        &self,
        mut connection: Connection<'_>,
        customer: &Customer,
        new: &NewOrder,
    ) -> Result<Order, Error> {
        let mut items = Vec::with_capacity(new.items.len());
        let (mut short, mut unknown) = (Vec::new(), Violations::new());
        // In the order of ids, so that two orders never wait for each other.
        let mut by_id: Vec<_> = new.items.iter().enumerate().collect();
        by_id.sort_by_key(|(_, item)| item.product_id);
        for (index, item) in by_id {
            let (id, quantity) = (item.product_id, item.quantity);
            let pointer = product_pointer(index);
            match products::take_stock(connection.reborrow(), id, quantity).await? {
                Some(unit_price_cents) => items.push((
                    index,
                    OrderItem {
                        product_id: id,
                        quantity,
                        unit_price_cents,
                    },
                )),
                None if products::get(connection.reborrow(), id).await?.is_some() => {
                    short.push(Short {
                        pointer: pointer.as_fragment().to_owned(),
                        product_id: id,
                        requested: quantity,
                    });
                }
                None => unknown.push(
                    Violation::new("is not a product")
                        .with_code("unknown_product")
                        .at_pointer(pointer),
                ),
            }
        }
        if !unknown.is_empty() {
            return Err(Error::Invalid { errors: unknown });
        }
        if !short.is_empty() {
            return Err(Error::OutOfStock { short });
        }
        // The customer's own order of items.
        items.sort_by_key(|(index, _)| *index);
        let items: Vec<_> = items.into_iter().map(|(_, item)| item).collect();
        let total_cents = total_cents(&items).ok_or_else(total_out_of_range)?;
        let order = Order {
            id: OrderId::new(),
            customer: customer.as_str().to_owned(),
            status: OrderStatus::Pending,
            items,
            total_cents,
            note: new.note.clone(),
            created_at: Timestamp::now(&*self.clock),
        };
        orders::insert(connection.reborrow(), &order).await?;
        let receipt = Receipt { order_id: order.id };
        self.queue.enqueue_in(connection, receipt).await?;
        Ok(order)
    }

    pub(crate) async fn get(&self, customer: &Customer, id: OrderId) -> Result<Order, Error> {
        unit_of_work::run(&self.database, "get order", async || {
            let mut work = self.database.begin_read().await?;
            let order = orders::get(work.connection(), id, customer).await?;
            order.ok_or(Error::OrderNotFound)
        })
        .await
    }

    /// The newest `limit` of the customer.
    pub(crate) async fn list(&self, customer: &Customer, limit: i64) -> Result<Vec<Order>, Error> {
        unit_of_work::run(&self.database, "list orders", async || {
            let mut work = self.database.begin_read().await?;
            Ok(orders::list(work.connection(), customer, limit).await?)
        })
        .await
    }

    /// Cancels a pending order and gives its stock back. Of several who cancel at once, one does.
    pub(crate) async fn cancel(&self, customer: &Customer, id: OrderId) -> Result<Order, Error> {
        unit_of_work::run(&self.database, "cancel order", async || {
            self.cancel_once(customer, id).await
        })
        .await
    }

    async fn cancel_once(&self, customer: &Customer, id: OrderId) -> Result<Order, Error> {
        use OrderStatus::{Cancelled, Pending};
        let mut work = self.database.begin().await?;
        let is_ours =
            orders::change_status(work.connection(), id, customer, Pending, Cancelled).await?;
        let order = orders::get(work.connection(), id, customer)
            .await?
            .ok_or(Error::OrderNotFound)?;
        if !is_ours {
            return Err(Error::NotPending {
                order_status: order.status,
            });
        }
        let mut by_id: Vec<_> = order.items.iter().collect();
        by_id.sort_by_key(|item| item.product_id);
        for item in by_id {
            products::put_back(work.connection(), item.product_id, item.quantity).await?;
        }
        work.commit().await?;
        Ok(order)
    }
}

fn product_pointer(index: usize) -> JsonPointer {
    JsonPointer::root()
        .key("items")
        .index(index)
        .key("product_id")
}

fn total_out_of_range() -> Error {
    let violation = Violation::new("must not add up to more than 9223372036854775807 cents")
        .with_code("range")
        .at_pointer(JsonPointer::root().key("items"));
    Error::Invalid {
        errors: violation.into(),
    }
}

#[cfg(test)]
mod tests {
    use purlin_store::SystemClock;
    use purlin_testkit::TestDatabase;

    use super::*;
    use crate::{
        database::DatabaseUrl,
        domain::{NewItem, NewProduct},
        service::Products,
    };

    /// What `place_in` wrote is there if, and only if, the other's transaction is committed.
    async fn stands_and_falls_with_the_transaction(url: DatabaseUrl) {
        let database = Database::open(&url).await.unwrap();
        let clock = Arc::new(SystemClock);
        let products = Products::new(database.clone(), clock.clone());
        let queue = database.job_queue();
        let orders = Orders::new(database.clone(), queue.clone(), clock);
        let mug = NewProduct {
            name: "Mug".to_owned(),
            price_cents: 250,
            stock: 5,
        };
        let mug = products.create(mug).await.unwrap().id;
        let customer = Customer::demo();
        let [two, four] = [2, 4].map(|quantity| NewOrder {
            items: vec![NewItem {
                product_id: mug,
                quantity,
            }],
            note: None,
        });
        for commits in [false, true] {
            let mut work = database.begin().await.unwrap();
            let order = orders.place_in(work.connection(), &customer, &two);
            let order = order.await.unwrap();
            // The connection can still be used.
            let short = orders.place_in(work.connection(), &customer, &four);
            assert!(matches!(short.await.unwrap_err(), Error::OutOfStock { .. }));
            if commits {
                work.commit().await.unwrap();
            } else {
                drop(work);
            }
            let found = orders.get(&customer, order.id).await;
            assert_eq!(found.is_ok(), commits);
            let stock = products.get(mug).await.unwrap().stock;
            assert_eq!(stock, if commits { 3 } else { 5 });
            assert_eq!(queue.counts().await.unwrap().ready, u64::from(commits));
        }
    }

    #[tokio::test]
    async fn an_order_stands_and_falls_with_a_transaction_of_sqlite() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("orders.db").display());
        stands_and_falls_with_the_transaction(url.parse().unwrap()).await;
    }

    #[tokio::test]
    async fn an_order_stands_and_falls_with_a_transaction_of_postgres() {
        let Some(database) = TestDatabase::create() else {
            return;
        };
        stands_and_falls_with_the_transaction(database.url().parse().unwrap()).await;
    }
}
