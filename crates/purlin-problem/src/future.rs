//! The response future.
