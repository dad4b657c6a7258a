//! The worker over the memory store, in virtual time.

mod common;
mod ending;
mod faults;
mod layers;
mod leases;
mod limits;
mod notes;
mod outcomes;
mod thread;
mod transactions;
