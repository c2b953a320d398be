//! Bytes ⇄ meaning: Ullim's vocabulary and its wire formats, pure. No clock, no I/O, no task.
//!
//! * [`channel`], [`session`], [`publication`], [`position`], [`presence`], [`user`]: what is spoken of
//! * [`command`], [`outgoing`]: what clients say and hear, whatever their dialect
//! * [`native`]: the native dialect in JSON and MessagePack (`docs/protocol.md`)
//! * [`stomp`]: STOMP 1.0, 1.1 and 1.2
//! * [`websocket`]: RFC 6455 frames
//! * [`envelope`]: publications with metadata in Redis (`docs/redis.md`)
//! * [`codes`]: every error and close code

pub mod channel;
pub mod codes;
pub mod command;
pub mod envelope;
pub mod json;
pub mod native;
pub mod outgoing;
pub mod position;
pub mod presence;
pub mod publication;
pub mod session;
pub mod stomp;
pub mod user;
pub mod websocket;
