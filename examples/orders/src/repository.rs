//! The SQL. A repository begins nothing and commits nothing: it works on the connection it gets.

pub(crate) mod orders;
pub(crate) mod payments;
pub(crate) mod products;
pub(crate) mod receipts;
pub(crate) mod reconciliation;
pub(crate) mod webhooks;
