//! The client against a scripted node: each test plays the node's part by hand.
#![allow(clippy::unwrap_used)]

mod commands;
mod events;
mod lifecycle;
mod presence;
mod reconnect;
mod recovery;
mod resume;
mod server;
mod subscription_tokens;
mod tls;
mod tokens;
