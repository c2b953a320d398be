//! STOMP on the wire: golden frames in both directions and every version, every rule that a hostile client can break,
//! that no way of cutting the bytes changes what is read, and that nothing published can forge a frame or a header.

#![allow(clippy::unwrap_used)]

mod client;
mod forgery;
mod golden;
mod memory;
mod pieces;
mod violations;
