//! Deprecation and Sunset headers.
