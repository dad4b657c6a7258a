use purlin_store::StoreError;

use crate::{
    database::{Connection, on_both},
    domain::{OrderId, Timestamp},
};

/// To whom, and about how much.
pub(crate) type Sent = (String, i64);

const INSERT: &str = "
    insert into receipts (order_id, customer, total_cents, sent_at)
    select id, customer, total_cents, $2 from orders where id = $1
    returning customer, total_cents";

/// Writes the receipt of an order; `None` when there is no such order. A second one of the same
/// order is an error.
pub(crate) async fn insert(
    c: Connection<'_>,
    order: OrderId,
    at: Timestamp,
) -> Result<Option<Sent>, StoreError> {
    Ok(on_both!(c, c => sqlx::query_as(INSERT)
        .bind(order.0)
        .bind(at)
        .fetch_optional(c).await)?)
}
