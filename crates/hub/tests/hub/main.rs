//! The hub as its neighbours see it: a transport, a dialect and a broker, all of them fakes.
#![allow(clippy::unwrap_used)]

mod fakes;
mod fanout;
mod order;
mod time;
