//! Drop-in extractors for axum.
