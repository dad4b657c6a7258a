use purlin_store::StoreError;
use uuid::Uuid;

use crate::{
    database::{Connection, on_both},
    domain::{OrderId, Timestamp},
};

/// The payment, its order, and what is wrong.
type Row = (Uuid, Uuid, String);

/// A payment that somebody has to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) payment: Uuid,
    pub(crate) order: OrderId,
    pub(crate) what: String,
}

/// The index `payments_open` has the first two kinds; the third ones are few.
const FIND: &str = "
    select p.id, p.order_id, case p.status
        when 'started' then 'started, and nobody knows what came of it'
        when 'captured' then 'captured, but the order is not paid'
        else 'captured, and to be refunded'
    end
    from payments p join orders o on o.id = p.order_id
    where p.created_at < $1 and (
        p.status in ('started', 'refund_due') or p.status = 'captured' and o.status <> 'paid')
    order by p.created_at, p.id
    limit $2";

/// Up to `limit` payments from before this time that do not fit their orders, the oldest first.
pub(crate) async fn find(
    c: Connection<'_>,
    before: Timestamp,
    limit: i64,
) -> Result<Vec<Finding>, StoreError> {
    let rows: Vec<Row> = on_both!(c, c => sqlx::query_as(FIND)
        .bind(before)
        .bind(limit)
        .fetch_all(c).await)?;
    let finding = |(payment, order, what)| Finding {
        payment,
        order: OrderId(order),
        what,
    };
    Ok(rows.into_iter().map(finding).collect())
}
