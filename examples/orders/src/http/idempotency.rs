use std::time::Duration;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;
use purlin_idempotency::{DrainError, IdempotencyLayer, RequestTransaction, Scope, Transactional};
use purlin_problem::Problem;
use sqlx::{Postgres, Sqlite};

use crate::{
    database::{Connection, Database, IdempotencyRecords},
    http::customer::customer,
};

/// What makes requests with an `Idempotency-Key` happen once.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    /// An order is placed in one transaction with the record of its key.
    pub(super) orders: IdempotencyLayer<Transactional>,
}

impl Keys {
    pub(crate) fn new(database: &Database) -> Self {
        let orders = match database.idempotency_records() {
            IdempotencyRecords::Postgres(store) => IdempotencyLayer::transactional(store),
            IdempotencyRecords::Sqlite(store) => IdempotencyLayer::transactional(store),
        };
        Self {
            orders: orders.scope(scope),
        }
    }

    /// Waits for requests whose clients have left.
    pub(crate) async fn drain(&self, limit: Duration) -> Result<(), DrainError> {
        self.orders.drain(limit).await
    }
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
