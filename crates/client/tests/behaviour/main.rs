//! The client against a scripted node: each test plays the node's part by hand.
#![allow(clippy::unwrap_used)]

mod commands;
mod events;
mod lifecycle;
mod reconnect;
mod server;
