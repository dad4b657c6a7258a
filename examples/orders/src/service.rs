//! What the shop does. A service begins a unit of work, lets repositories work in it, and commits
//! once.

mod error;
mod orders;
mod payments;
mod products;
mod receipts;
mod reconciliation;
mod unit_of_work;
mod webhooks;

pub(crate) use error::Error;
pub(crate) use orders::Orders;
pub(crate) use payments::Payments;
pub(crate) use products::Products;
pub(crate) use receipts::{Receipt, Receipts};
pub(crate) use reconciliation::{Reconcile, Reconciliation};
pub(crate) use webhooks::{Deliver, Webhooks};
