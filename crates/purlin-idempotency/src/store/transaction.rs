//! What a store can do whose records share a transaction with the work.

use async_trait::async_trait;
use http::Extensions;
use purlin_store::StoreError;

use super::{Completion, Existing, IdempotencyStore};
use crate::RecordId;

/// A store that commits the record with the handler's writes.
///
/// # Contract
///
/// 1. What the handler writes and the record become visible in one commit, or neither does.
/// 2. Of several units of work of one id at most one commits a record. The others find out, at the
///    latest when they try, and leave nothing behind.
/// 3. A duplicate does not wait for the first to finish, as far as the database allows it.
/// 4. A unit of work that is dropped is rolled back.
#[async_trait]
pub trait TransactionalStore: IdempotencyStore {
    /// Begins a transaction in which the work of an id may be done, or says what stands in the way.
    async fn begin(&self, id: &RecordId) -> Result<Begun, StoreError>;
}

/// What came of [`TransactionalStore::begin`].
#[derive(Debug)]
pub enum Begun {
    /// The work is yours.
    Started(Box<dyn UnitOfWork>),
    /// Somebody else is at work, and nothing is known of it yet.
    Busy,
    /// There is a record already.
    Existing(Existing),
}

/// One transaction, begun for one id.
#[async_trait]
pub trait UnitOfWork: std::fmt::Debug + Send {
    /// Puts the transaction where the handler will look for it.
    fn share(&mut self, extensions: &mut Extensions);

    /// Adds the record and commits both.
    async fn commit(self: Box<Self>, completion: &Completion) -> Result<Settled, StoreError>;

    /// Rolls the handler's writes back and keeps the record alone.
    async fn refuse(self: Box<Self>, completion: &Completion) -> Result<Settled, StoreError>;

    /// Rolls the handler's writes back, and keeps nothing.
    async fn roll_back(self: Box<Self>) -> Result<(), StoreError>;
}

/// How a unit of work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Settled {
    /// The record is there, and so is what belongs to it.
    Applied,
    /// Somebody else's record was there first; nothing of this one is left.
    Lost,
    /// The handler has kept the transaction; nothing of this one is left, or will be.
    NotReturned,
}
