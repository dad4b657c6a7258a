//! `tonic::Status` and back.
