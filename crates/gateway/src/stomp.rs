//! The STOMP dialect (`docs/stomp.md`): a client's frames become commands of the hub, the hub's messages become frames.
//!
//! * [`Session`]: what is known of one connection; `connecting`, `subscribing`, `transactions`: what its frames ask for
//! * `telling`: answers to that, in the order of the frames
//! * `fanout`: messages in a head of the subscription's own and a tail for all

mod connecting;
mod fanout;
mod session;
mod subscribing;
mod telling;
mod transactions;

pub(crate) use fanout::{head, tail};
pub(crate) use session::{Fault, Rules, Session};

#[cfg(test)]
mod tests;
