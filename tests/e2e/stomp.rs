//! STOMP through the libraries that its users have: stompjs over WebSocket and TCP, stomp.py in three versions.

mod acknowledging;
mod beats;
mod logins;
mod meeting;
mod messages;
pub(crate) mod program;
mod refusals;
mod returning;
pub(crate) mod server;
mod transactions;
