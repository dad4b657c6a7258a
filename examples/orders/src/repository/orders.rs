use purlin_store::{StoreError, StoreErrorKind};
use sqlx::QueryBuilder;
use uuid::Uuid;

use crate::{
    database::{Connection, on_both},
    domain::{Customer, Order, OrderId, OrderItem, OrderStatus, ProductId, Timestamp},
};

/// An order beside one of its items.
type Row = (
    Uuid,
    String,
    String,
    i64,
    Option<String>,
    Timestamp,
    Uuid,
    i64,
    i64,
);

const INSERT: &str = "
    insert into orders (id, customer, status, total_cents, note, created_at)
    values ($1, $2, $3, $4, $5, $6)";

const INSERT_ITEMS: &str =
    "insert into order_items (order_id, position, product_id, quantity, unit_price_cents) ";

const GET: &str = "
    select o.id, o.customer, o.status, o.total_cents, o.note, o.created_at,
        i.product_id, i.quantity, i.unit_price_cents
    from orders o join order_items i on i.order_id = o.id
    where o.id = $1 and o.customer = $2
    order by i.position";

/// One statement, and so one moment: orders and items that belong together.
const LIST_NEWEST: &str = "
    select o.id, o.customer, o.status, o.total_cents, o.note, o.created_at,
        i.product_id, i.quantity, i.unit_price_cents
    from (
        select * from orders where customer = $1 order by created_at desc, id desc limit $2
    ) o join order_items i on i.order_id = o.id
    order by o.created_at desc, o.id desc, i.position";

const CHANGE_STATUS: &str = "
    update orders set status = $4 where id = $1 and customer = $2 and status = $3
    returning id";

pub(crate) async fn insert(mut c: Connection<'_>, order: &Order) -> Result<(), StoreError> {
    on_both!(&mut c, c => sqlx::query(INSERT)
        .bind(order.id.0)
        .bind(&order.customer)
        .bind(order.status.as_str())
        .bind(order.total_cents)
        .bind(&order.note)
        .bind(order.created_at)
        .execute(&mut **c).await.map(drop))?;
    on_both!(c, c => QueryBuilder::new(INSERT_ITEMS)
        .push_values((0_i64..).zip(&order.items), |mut row, (position, item)| {
            row.push_bind(order.id.0)
                .push_bind(position)
                .push_bind(item.product_id.0)
                .push_bind(item.quantity)
                .push_bind(item.unit_price_cents);
        })
        .build()
        .execute(c).await.map(drop))?;
    Ok(())
}

/// The order, if this customer has it.
pub(crate) async fn get(
    c: Connection<'_>,
    id: OrderId,
    customer: &Customer,
) -> Result<Option<Order>, StoreError> {
    let rows: Vec<Row> = on_both!(c, c => sqlx::query_as(GET)
        .bind(id.0)
        .bind(customer.as_str())
        .fetch_all(c).await)?;
    Ok(orders(rows)?.pop())
}

/// The newest first.
pub(crate) async fn list(
    c: Connection<'_>,
    customer: &Customer,
    limit: i64,
) -> Result<Vec<Order>, StoreError> {
    let rows: Vec<Row> = on_both!(c, c => sqlx::query_as(LIST_NEWEST)
        .bind(customer.as_str())
        .bind(limit)
        .fetch_all(c).await)?;
    orders(rows)
}

/// Whether the order of this customer was in the status `from`, and so now is in `to`. Of several
/// who try at once, one succeeds.
pub(crate) async fn change_status(
    c: Connection<'_>,
    id: OrderId,
    customer: &Customer,
    from: OrderStatus,
    to: OrderStatus,
) -> Result<bool, StoreError> {
    let changed: Option<Uuid> = on_both!(c, c => sqlx::query_scalar(CHANGE_STATUS)
        .bind(id.0)
        .bind(customer.as_str())
        .bind(from.as_str())
        .bind(to.as_str())
        .fetch_optional(c).await)?;
    Ok(changed.is_some())
}

/// Puts items that follow each other into the order they share.
fn orders(rows: Vec<Row>) -> Result<Vec<Order>, StoreError> {
    let mut orders: Vec<Order> = Vec::new();
    for (id, customer, status, total_cents, note, created_at, product_id, quantity, price) in rows {
        let item = OrderItem {
            product_id: ProductId(product_id),
            quantity,
            unit_price_cents: price,
        };
        match orders.last_mut() {
            Some(order) if order.id == OrderId(id) => order.items.push(item),
            _ => orders.push(Order {
                id: OrderId(id),
                customer,
                status: OrderStatus::parse(&status).ok_or_else(|| {
                    StoreError::new(StoreErrorKind::Corrupt, "orders", "read status")
                })?,
                items: vec![item],
                total_cents,
                note,
                created_at,
            }),
        }
    }
    Ok(orders)
}
