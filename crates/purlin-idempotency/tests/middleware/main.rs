//! The layer by oneshot, on the memory store: each rule for requests and answers.

#[path = "../common/mod.rs"]
mod common;

mod allocations;
mod answers;
mod codec;
mod concurrency;
mod duplicates;
mod failures;
mod grpc;
mod headers;
mod keys;
mod layers;
mod outcomes;
mod requests;
mod scopes;
mod secrets;
mod streamed;
