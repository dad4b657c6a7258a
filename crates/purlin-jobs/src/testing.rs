//! For the tests of stores (feature `testing`).

pub mod conformance;
