//! What the Redis broker promises of recoverable channels: one order, dense offsets, every hole filled from the history or
//! told.

// Clippy exempts only functions that are marked as tests, and this is all test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "redis_history/cursor.rs"]
mod cursor;
#[path = "redis_history/epochs.rs"]
mod epochs;
#[path = "redis_history/foreign.rs"]
mod foreign;
#[path = "redis_history/functions.rs"]
mod functions;
#[path = "redis_history/node.rs"]
mod node;
#[path = "fixture/proxy.rs"]
mod proxy;
#[path = "redis_history/publishing.rs"]
mod publishing;
#[path = "redis_history/recovery.rs"]
mod recovery;
#[path = "redis_history/refusals.rs"]
mod refusals;
#[path = "redis_history/resets.rs"]
mod resets;
#[path = "redis_history/server_calls.rs"]
mod server_calls;
#[path = "fixture/shard.rs"]
mod shard;
#[path = "fixture/wait.rs"]
mod wait;
