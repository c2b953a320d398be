//! The hub as its neighbours see it: a transport, a dialect and a broker, all of them fakes.
#![allow(clippy::unwrap_used)]

mod catching_up;
mod connecting;
mod control;
mod counting;
mod dense;
mod draining;
mod fakes;
mod fanout;
mod labels;
mod order;
mod permission;
mod presence;
mod recovering;
mod repair;
mod resetting;
mod slow;
mod time;
