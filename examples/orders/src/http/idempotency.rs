use std::time::Duration;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;
use purlin_idempotency::{
    DrainError, IdempotencyLayer, LeaseLost, Leased, RedisStore, RequestTransaction, Scope,
    Transactional, TransactionalStore, Unscoped,
};
use purlin_problem::Problem;
use purlin_store::redis::RedisHandle;
use sqlx::{Postgres, Sqlite};

use crate::{
    database::{Connection, IdempotencyRecords},
    http::customer::customer,
};

/// What makes requests with an `Idempotency-Key` happen once.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    /// An order is placed in one transaction with the record of its key.
    pub(super) orders: IdempotencyLayer<Transactional>,
    /// A payment calls a provider, which no transaction covers. It is executed again when nobody
    /// knows how far it came, since the provider takes keys itself.
    pub(super) payments: IdempotencyLayer<Leased>,
}

impl Keys {
    /// The records are in the database; those of payments are in Redis, if there is one.
    pub(crate) fn new(records: IdempotencyRecords, redis: Option<RedisHandle>) -> Self {
        let (orders, payments) = match records {
            IdempotencyRecords::Postgres(store) => both(store),
            IdempotencyRecords::Sqlite(store) => both(store),
        };
        let payments = match redis {
            Some(redis) => IdempotencyLayer::leased(RedisStore::new(redis)),
            None => payments,
        };
        Self {
            orders: orders.scope(scope),
            payments: payments.scope(scope).with_lease_lost(LeaseLost::Reexecute),
        }
    }

    /// Waits for requests whose clients have left.
    pub(crate) async fn drain(&self, limit: Duration) -> Result<(), DrainError> {
        let (orders, payments) = tokio::join!(self.orders.drain(limit), self.payments.drain(limit));
        orders.and(payments)
    }
}

fn both<S: TransactionalStore + Clone>(store: S) -> (Unscoped<Transactional>, Unscoped<Leased>) {
    let orders = IdempotencyLayer::transactional(store.clone());
    (orders, IdempotencyLayer::leased(store))
}

/// Keys belong to the customer who sends them.
fn scope(parts: &Parts) -> Option<Scope> {
    Some(Scope::principal(customer(parts)?.as_str()))
}

/// The transaction that a request shares with the record of its key, on either database.
#[derive(Debug)]
pub(super) enum SharedTransaction {
    Postgres(RequestTransaction<Postgres>),
    Sqlite(RequestTransaction<Sqlite>),
}

impl SharedTransaction {
    pub(super) fn connection(&mut self) -> Connection<'_> {
        match self {
            Self::Postgres(transaction) => Connection::Postgres(transaction),
            Self::Sqlite(transaction) => Connection::Sqlite(transaction),
        }
    }
}

/// `None` for a request without a key.
impl<S: Send + Sync> OptionalFromRequestParts<S> for SharedTransaction {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, Problem> {
        if let Some(transaction) = RequestTransaction::take(&parts.extensions) {
            return Ok(Some(Self::Postgres(transaction)));
        }
        let transaction =
            <Option<RequestTransaction<Sqlite>>>::from_request_parts(parts, state).await?;
        Ok(transaction.map(Self::Sqlite))
    }
}
