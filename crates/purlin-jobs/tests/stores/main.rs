//! Every store against the suite that is published for all of them.

mod memory;
#[cfg(feature = "postgres")]
mod postgres;
