#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod answer;
mod body;
mod codec;
mod config;
mod error;
mod execution;
#[cfg(feature = "axum")]
mod extract;
mod fingerprint;
mod future;
mod headers;
mod in_process;
mod inbox;
mod key;
mod layer;
mod observer;
mod outcome;
mod record_id;
mod rejection;
mod replay_cache;
mod run;
mod scope;
mod service;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod transaction;

pub use answer::Answer;
pub use body::{RequestBody, ResponseBody};
pub use codec::AnswerCodec;
pub use config::{InFlight, OnStoreError};
pub use error::{CompleteError, DrainError, KeyError};
pub use execution::{CompleteIn, Execution};
pub use fingerprint::Fingerprint;
pub use future::ResponseFuture;
pub use inbox::{Inbox, Received};
pub use key::{Key, KeySyntax};
pub use layer::{IdempotencyLayer, Leased, Transactional, Unscoped};
pub use observer::{Event, Observer};
pub use outcome::Outcome;
pub use record_id::{RecordId, ScopeId};
pub use rejection::{Rejection, problems};
pub use scope::Scope;
pub use service::Idempotency;
#[cfg(feature = "postgres")]
#[doc(inline)]
pub use store::PostgresStore;
#[cfg(feature = "redis")]
#[doc(inline)]
pub use store::RedisStore;
#[cfg(feature = "sqlite")]
#[doc(inline)]
pub use store::SqliteStore;
#[doc(inline)]
pub use store::{IdempotencyStore, LeaseLost, MemoryStore, TransactionalStore};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub use transaction::RequestTransaction;
