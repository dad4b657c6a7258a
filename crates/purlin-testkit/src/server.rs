pub(crate) mod cluster;
pub(crate) mod pgbouncer;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod redis;
pub(crate) mod resp;
pub(crate) mod sentinel;
