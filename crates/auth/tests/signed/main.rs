//! Tokens of every algorithm, and those that only look like ones. They are put together by hand where a library would
//! refuse to make them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod algorithms;
mod choice;
mod claims;
mod configuration;
#[path = "../fixture/signer.rs"]
mod signer;
mod subscriptions;
