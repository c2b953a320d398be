//! The native dialect (`docs/protocol.md`): commands in, replies and pushes out, in two encodings of the same shapes.

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

impl Encoding {
    /// The encoding that a WebSocket subprotocol names.
    pub fn of_subprotocol(name: &str) -> Option<Self> {
        match name {
            "ullim.v1.json" => Some(Self::Json),
            "ullim.v1.msgpack" => Some(Self::MessagePack),
            _ => None,
        }
    }

    /// The WebSocket subprotocol that names it.
    pub fn subprotocol(self) -> &'static str {
        match self {
            Self::Json => "ullim.v1.json",
            Self::MessagePack => "ullim.v1.msgpack",
        }
    }
}
