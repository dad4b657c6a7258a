//! The worker over the memory store, in virtual time.

mod common;
mod ending;
mod faults;
mod flows;
#[cfg(feature = "testing")]
mod helpers;
mod layers;
mod leases;
mod limits;
mod notes;
mod outcomes;
#[cfg(feature = "cron")]
mod schedules;
mod steps;
mod thread;
mod transactions;
