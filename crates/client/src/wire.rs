//! Owns the JSON of `ullim.v1.json`: commands out, replies and pushes in. Pure.
//!
//! What is not known is ignored, as the protocol asks; a known field of the wrong type is an error, because a
//! publication might hide behind it.

mod command;
mod message;
mod published;

pub(crate) use command::{Body, Command, Publish, Subscribe, Wanted};
pub(crate) use message::{Connected, Limits, Message, Outcome, Push, Refreshed, Refusal, Subscribed, Unsubscribed};
pub(crate) use published::Undecodable;

/// The subprotocol that all of this is.
pub(crate) const SUBPROTOCOL: &str = "ullim.v1.json";
