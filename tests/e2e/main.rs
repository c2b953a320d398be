//! Real nodes, a real Redis server, real clients. Names are behaviours; nothing waits for a fixed time.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what does not work is a failed test")]

mod absent_redis;
mod addresses;
mod algorithms;
mod api;
mod bad_frames;
mod bad_messages;
mod bad_publications;
mod browser;
mod bystander;
mod channel_names;
mod command_line;
mod control;
mod dev_orders;
mod drain;
mod encodings;
mod faults;
mod foreign_clients;
mod handshake;
mod identity;
mod jwks;
mod limits;
mod members;
mod memory;
mod native;
mod openapi;
mod overload;
mod presence;
mod presence_faults;
mod pressure;
mod recovery;
mod relay;
mod rust_client;
mod scene;
mod slow_consumers;
mod spring;
mod stomp;
mod subscribing;
mod timeouts;
mod tls;
mod tokens;
mod turn;
