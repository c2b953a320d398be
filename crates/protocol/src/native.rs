//! The native dialect (`docs/protocol.md`): commands in, replies and pushes out, in two encodings of the same shapes.

mod epochs;
pub mod json;
pub mod msgpack;
mod wire;

/// How the native dialect is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `ullim.v1.json`
    Json,
    /// `ullim.v1.msgpack`
    MessagePack,
}
