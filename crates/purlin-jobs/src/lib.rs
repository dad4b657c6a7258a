#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc = include_str!("../README.md")]

mod backoff;
mod codec;
mod context;
#[cfg(feature = "cron")]
mod cron;
mod error;
mod flow;
mod group;
mod handler;
mod id;
mod job;
mod jobs;
mod notes;
mod observer;
mod outcome;
mod queue_name;
#[cfg(feature = "cron")]
mod schedule;
#[cfg(feature = "cron")]
mod scheduler;
pub mod store;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;
mod unique;
mod watched;
mod worker;

pub use backoff::Backoff;
pub use codec::PayloadCodec;
pub use context::{Cancellation, JobContext, JobInfo};
#[cfg(feature = "cron")]
#[cfg_attr(docsrs, doc(cfg(feature = "cron")))]
pub use cron::Cron;
pub use error::{ConfigError, EnqueueError, FlowError, NoteError, WorkerError};
#[cfg(feature = "cron")]
pub use error::{CronError, ScheduleError};
pub use flow::{Batch, Chain, Flow, Workflow};
pub use group::{Group, Limits, Rate};
pub use handler::{HandlerFn, JobRequest, handler_fn};
pub use id::{JobId, LeaseId, WorkerId};
pub use job::{Job, NewJob, Options, Priority, Run};
pub use jobs::{Jobs, Waited};
pub use notes::Progress;
pub use observer::{Event, Observer};
pub use outcome::JobError;
pub use queue_name::QueueName;
#[cfg(feature = "cron")]
#[cfg_attr(docsrs, doc(cfg(feature = "cron")))]
pub use schedule::{Fire, Missed, Schedule};
#[cfg(feature = "cron")]
#[cfg_attr(docsrs, doc(cfg(feature = "cron")))]
pub use scheduler::{ScheduleView, Scheduler};
#[cfg(feature = "postgres")]
pub use store::PostgresStore;
#[cfg(feature = "redis")]
pub use store::RedisStore;
#[cfg(feature = "sqlite")]
pub use store::SqliteStore;
pub use store::{JobAdmin, JobStore, LimitStore, MemoryStore, TransactionalJobStore};
pub use unique::{OnConflict, Span, Unique, UniqueKey};
pub use worker::{Emptied, Health, HeartbeatFuture, LoopHealth, Worker, WorkerHandle};
