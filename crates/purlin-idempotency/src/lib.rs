#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod error;
mod fingerprint;
mod inbox;
mod key;
mod record_id;
mod scope;
pub mod store;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod transaction;

pub use error::KeyError;
pub use fingerprint::Fingerprint;
pub use inbox::{Inbox, Received};
pub use key::{Key, KeySyntax};
pub use record_id::{RecordId, ScopeId};
pub use scope::Scope;
#[cfg(feature = "postgres")]
#[doc(inline)]
pub use store::PostgresStore;
#[doc(inline)]
pub use store::{IdempotencyStore, LeaseLost, MemoryStore, TransactionalStore};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub use transaction::RequestTransaction;
