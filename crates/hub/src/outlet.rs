//! What the hub asks of a transport and of a dialect.

use std::io::{self, IoSlice};

use ullim_protocol::codes::CloseCode;
use ullim_protocol::command::Label;
use ullim_protocol::outgoing::{Outgoing, Push};

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
    pub const COUNT: usize = 16;
}

/// Turns messages into a wire's bytes.
///
/// Most messages are the same for all connections of a wire. Dialects that have to remember something of a connection
/// keep it in its outlet, which is handed to whatever writes for one connection alone.
///
/// On a wire with labels ([`has_labels`](Self::has_labels)) everything that comes for a subscription has a head, which is the
/// subscription's own, and a tail, which all subscribers share: [`shared`](Self::shared) writes the tail once,
/// [`head`](Self::head) the rest.
pub trait Encode<O> {
    /// Appends a message that is the same for all connections of the wire, framed for the transport; on a wire with
    /// labels, the tail of a push. What appends nothing is not sent.
    fn shared(&self, wire: Wire, message: &Outgoing<'_>, out: &mut Vec<u8>);

    /// Appends a message for one connection, framed for the transport.
    fn message(&self, wire: Wire, _outlet: &mut O, message: &Outgoing<'_>, out: &mut Vec<u8>) -> Then {
        self.shared(wire, message, out);
        Then::GoOn
    }

    /// Whether what comes for a subscription is labelled.
    fn has_labels(&self, _wire: Wire) -> bool {
        false
    }

    /// Appends what precedes the `tail` bytes of a push for the subscription with this label; whether it is for it at
    /// all. It is the `number`th message of the label.
    fn head(
        &self,
        _wire: Wire,
        _label: &Label,
        _number: u64,
        _push: &Push<'_>,
        _tail: usize,
        _out: &mut Vec<u8>,
    ) -> bool {
        false
    }

    /// Whether a refusal ends the connection. Who sends too fast there is read from later instead of being refused.
    fn refusals_end(&self, _wire: Wire) -> bool {
        false
    }

    /// Appends what provokes an answer from a peer that lives, or what it takes as a sign of life.
    fn heartbeat(&self, wire: Wire, outlet: &mut O, out: &mut Vec<u8>);

    /// How long a peer may give no sign of life.
    fn patience(&self, _wire: Wire, _outlet: &O) -> Patience {
        Patience::USUAL
    }

    /// Appends the last message: why the connection is closed.
    fn close(&self, wire: Wire, outlet: &mut O, code: &CloseCode, detail: &str, out: &mut Vec<u8>);
}

/// How long a peer may give no sign of life before it is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// For so many heartbeats.
    Heartbeats(u8),
    /// For ever.
    Endless,
}

impl Patience {
    /// Of two heartbeats one may have been lost.
    pub const USUAL: Self = Self::Heartbeats(2);
}

/// What follows from a message.
#[derive(Debug, Clone, Copy)]
pub enum Then {
    /// Nothing.
    GoOn,
    /// It was the last: the connection is to be closed, for this reason.
    Close(&'static CloseCode),
}
