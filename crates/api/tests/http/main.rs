//! The internal listener as operators and backends meet it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what does not work is a failed test")]

mod bodies;
mod fake;
mod fixture;
mod history;
mod limits;
mod operations;
mod orders;
mod paths;
