#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc = include_str!("../README.md")]

mod codec;
mod error;
mod id;
mod job;
mod jobs;
mod queue_name;
pub mod store;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;
mod unique;

pub use codec::PayloadCodec;
pub use error::{ConfigError, EnqueueError};
pub use id::{JobId, LeaseId, WorkerId};
pub use job::{Job, NewJob, Options, Priority, Run};
pub use jobs::Jobs;
pub use queue_name::QueueName;
#[cfg(feature = "postgres")]
pub use store::PostgresStore;
#[cfg(feature = "sqlite")]
pub use store::SqliteStore;
pub use store::{JobAdmin, JobStore, MemoryStore, TransactionalJobStore};
pub use unique::{OnConflict, Span, Unique, UniqueKey};
