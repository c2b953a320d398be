//! Owns the JSON of `ullim.v1.json`: commands out, replies and pushes in. Pure.
//!
//! What is not known is ignored, as the protocol asks; a known field of the wrong type is an error, because a
//! publication might hide behind it.

mod command;
mod message;
mod position;
mod published;

pub(crate) use command::{Body, Command, Publish, Subscribe, Wanted};
pub(crate) use message::{
    Connected, Gap, History, Limits, Message, Place, Push, Refreshed, Refusal, Standing, Subscribed, Unsubscribed,
};
pub(crate) use position::Position;
pub(crate) use published::{Published, Undecodable};

/// The subprotocol that all of this is.
pub(crate) const SUBPROTOCOL: &str = "ullim.v1.json";
