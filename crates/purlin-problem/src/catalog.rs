//! A service that documents problem types.
