//! `application/problem+xml`.
