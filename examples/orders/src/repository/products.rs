use purlin_store::StoreError;
use uuid::Uuid;

use crate::{
    database::{Connection, on_both},
    domain::{Product, ProductChanges, ProductId, Timestamp},
};

type Row = (Uuid, String, i64, i64, i64, Timestamp);

const INSERT: &str = "
    insert into products (id, name, price_cents, stock, version, created_at)
    values ($1, $2, $3, $4, $5, $6)";

const GET: &str = "
    select id, name, price_cents, stock, version, created_at from products where id = $1";

const LIST_NEWEST: &str = "
    select id, name, price_cents, stock, version, created_at from products
    order by created_at desc, id desc limit $1";

const UPDATE: &str = "
    update products set name = coalesce($2, name), price_cents = coalesce($3, price_cents),
        stock = coalesce($4, stock), version = version + 1
    where id = $1
    returning id, name, price_cents, stock, version, created_at";

const TAKE_STOCK: &str = "
    update products set stock = stock - $2, version = version + 1
    where id = $1 and stock >= $2
    returning price_cents";

const PUT_BACK: &str = "
    update products set stock = stock + $2, version = version + 1 where id = $1";

pub(crate) async fn insert(c: Connection<'_>, product: &Product) -> Result<(), StoreError> {
    on_both!(c, c => sqlx::query(INSERT)
        .bind(product.id.0)
        .bind(&product.name)
        .bind(product.price_cents)
        .bind(product.stock)
        .bind(product.version)
        .bind(product.created_at)
        .execute(c).await.map(drop))?;
    Ok(())
}

pub(crate) async fn get(c: Connection<'_>, id: ProductId) -> Result<Option<Product>, StoreError> {
    let row: Option<Row> =
        on_both!(c, c => sqlx::query_as(GET).bind(id.0).fetch_optional(c).await)?;
    Ok(row.map(product))
}

/// The newest first.
pub(crate) async fn list(c: Connection<'_>, limit: i64) -> Result<Vec<Product>, StoreError> {
    let rows: Vec<Row> =
        on_both!(c, c => sqlx::query_as(LIST_NEWEST).bind(limit).fetch_all(c).await)?;
    Ok(rows.into_iter().map(product).collect())
}

/// The product as it is then; `None` when there is no such product.
pub(crate) async fn update(
    c: Connection<'_>,
    id: ProductId,
    changes: &ProductChanges,
) -> Result<Option<Product>, StoreError> {
    let row: Option<Row> = on_both!(c, c => sqlx::query_as(UPDATE)
        .bind(id.0)
        .bind(&changes.name)
        .bind(changes.price_cents)
        .bind(changes.stock)
        .fetch_optional(c).await)?;
    Ok(row.map(product))
}

/// Takes `quantity` and gives the price; `None`, and nothing taken, when there is less than that,
/// or no such product. Whoever takes of several products takes in the order of their ids: rows stay
/// locked until the end of the transaction.
pub(crate) async fn take_stock(
    c: Connection<'_>,
    id: ProductId,
    quantity: i64,
) -> Result<Option<i64>, StoreError> {
    Ok(on_both!(c, c => sqlx::query_scalar(TAKE_STOCK)
        .bind(id.0)
        .bind(quantity)
        .fetch_optional(c).await)?)
}

/// Gives `quantity` back, also in the order of ids.
pub(crate) async fn put_back(
    c: Connection<'_>,
    id: ProductId,
    quantity: i64,
) -> Result<(), StoreError> {
    on_both!(c, c => sqlx::query(PUT_BACK).bind(id.0).bind(quantity).execute(c).await.map(drop))?;
    Ok(())
}

fn product((id, name, price_cents, stock, version, created_at): Row) -> Product {
    Product {
        id: ProductId(id),
        name,
        price_cents,
        stock,
        version,
        created_at,
    }
}
