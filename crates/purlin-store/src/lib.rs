#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod clock;
mod deadline;
mod error;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod migrations;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "redis")]
pub mod redis;
mod schema_name;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod sqlx_error;
#[cfg(feature = "testing")]
pub mod testing;

pub use clock::{Clock, SystemClock, from_unix_micros, unix_micros};
pub use deadline::deadline;
pub use error::{ConfigError, StoreError, StoreErrorKind};
#[cfg(feature = "postgres")]
pub use migrations::postgres::PostgresMigrator;
#[cfg(feature = "sqlite")]
pub use migrations::sqlite::SqliteMigrator;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub use migrations::{Migration, Migrations, SchemaError};
pub use schema_name::SchemaName;
