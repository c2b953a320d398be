//! The fixture of Ullim's tests: real processes on loopback, and clients that talk to them.
//!
//! * [`Redis`], [`Node`], [`Cluster`]: servers, each on ports of its own, ended when dropped
//! * [`Authority`], [`CertificateFiles`]: certificates
//! * [`Proxy`]: a link to Redis that can be half open
//! * [`Link`], [`redis::server`], [`redis::sentinel`], [`redis::sharded`]: a slower or worse link, and Redis in all its forms
//! * [`chaos`]: faults under traffic, and whether anything was lost silently
//! * [`Client`]: a well-formed client (the WebSocket part is tungstenite, not ours)
//! * [`Raw`]: bytes as no client should send them
//! * [`stomp`]: a client over STOMP that believes nothing
//! * [`traffic`]: numbered publications, what was heard of them, and whether the gaps account for the rest
//! * [`Cli`], [`http`], [`token`]: the command line, the internal listener, tokens good and bad
//!
//! Nothing here waits for a fixed time: [`eventually`] waits for a condition.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fixture that does not work is a failed test")]

mod certificates;
#[path = "../chaos/harness.rs"]
pub mod chaos;
mod cli;
mod client;
mod cluster;
mod encoding;
pub mod http;
mod link;
mod node;
mod port;
mod process;
mod proxy;
mod raw;
pub mod redis;
pub mod stomp;
pub mod token;
pub mod traffic;
mod wait;

pub use certificates::{Authority, Certificate, CertificateFiles};
pub use cli::Cli;
pub use client::{Client, Closed};
pub use cluster::Cluster;
pub use encoding::Encoding;
pub use link::{Link, Way};
pub use node::{Node, NodeBuilder, TOKEN_SECRET, artifact, free_address};
pub use port::free_port;
pub use process::Process;
pub use proxy::Proxy;
pub use raw::{Frame, Raw, Request, Response};
pub use redis::Redis;
pub use wait::{PATIENCE, eventually, now_ms, within};
