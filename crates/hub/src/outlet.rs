//! What the hub asks of a transport and of a dialect.

use std::io::{self, IoSlice};

use ullim_protocol::codes::CloseCode;
use ullim_protocol::outgoing::Outgoing;

/// The writing side of one connection. Dropping it closes the connection.
pub trait Outlet {
    /// Writes as much of `buffers` as the peer takes at once. Less than all means that the peer takes no more until
    /// [`Hub::writable`](crate::Hub::writable) is called.
    fn write(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Whether all that [`write`](Self::write) took has left this process, as far as the outlet knows.
    /// [`Hub::writable`](crate::Hub::writable) is called when the rest has.
    fn is_flushed(&self) -> bool {
        true
    }

    /// The client has shown who it is, or that it may be anonymous. Called once, when its session opens.
    fn admitted(&mut self) {}

    /// Nothing more will be written. What the peer still sends is read away until it ends.
    fn finish(&mut self);
}

/// A way in which messages are written: a dialect in an encoding on a transport. Connections with the same wire are
/// sent the same bytes. Below [`Wire::COUNT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wire(pub u8);

impl Wire {
    /// How many wires a hub can tell apart.
    pub const COUNT: usize = 8;
}

/// Turns messages into a wire's bytes.
pub trait Encode {
    /// Appends a message, framed for the transport.
    fn message(&self, wire: Wire, message: &Outgoing<'_>, out: &mut Vec<u8>);

    /// Appends what provokes an answer from a peer that lives.
    fn heartbeat(&self, wire: Wire, out: &mut Vec<u8>);

    /// Appends the last message: why the connection is closed.
    fn close(&self, wire: Wire, code: &CloseCode, detail: &str, out: &mut Vec<u8>);
}
