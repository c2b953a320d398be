//! Client-facing: accepts connections, deals them out to the shards, and speaks to them.
//!
//! * [`Gateway`]: starts and drains it all
//! * `listener`: accept; `capacity`, `address`: how many connections there may be, in all and from one address
//! * `door`: which listeners there are, and what is spoken there
//! * `shard`: a thread with its sockets and its hub
//! * `tls`: handshakes, sessions, certificates
//! * `handshake`: the opening request, pure; `forwarded`: whom a proxy speaks for
//! * `answer`: answers in plain HTTP; [`Pages`]: what there is to be read
//! * `routes`: which dialect is spoken on which transport
//! * `encode`: the hub's messages in each dialect; `websocket`: the native dialect's commands; `stomp`: that dialect
//! * `socket`: one connection's two ends; `stream`: its bytes, with TLS or without

mod address;
mod answer;
mod capacity;
pub mod config;
mod counters;
mod door;
mod encode;
mod forwarded;
mod gateway;
mod handshake;
mod listener;
mod pages;
mod routes;
mod shard;
mod socket;
mod stomp;
mod stream;
mod tls;
mod websocket;

pub use capacity::default_max_connections;
pub use config::Config;
pub use counters::{Counters, TlsCounters};
pub use gateway::{Gateway, StartError};
pub use pages::{Page, Pages};
pub use tls::{CertificateError, check as check_certificate};
