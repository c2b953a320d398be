//! Client-facing: accepts connections, deals them out to the shards, and speaks to them.
//!
//! * [`Gateway`]: starts and drains it all
//! * `listener`: accept, and the limit of connections
//! * `shard`: a thread with its sockets and its hub
//! * `handshake`: the opening request, pure; `http`: what is not an upgrade
//! * `routes`: which dialect is spoken on which transport
//! * `websocket`: the native dialect's commands out of frames, and messages into them
//! * `socket`: one connection's two ends

mod capacity;
pub mod config;
mod counters;
mod gateway;
mod handshake;
mod http;
mod listener;
mod routes;
mod shard;
mod socket;
mod websocket;

pub use capacity::default_max_connections;
pub use config::Config;
pub use counters::Counters;
pub use gateway::{Gateway, StartError};
