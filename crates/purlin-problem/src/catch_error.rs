//! Errors of tower middleware become problems.
