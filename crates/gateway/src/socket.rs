//! One connection's two ends: what is written, and what is left of what was read.

use std::io::{self, IoSlice};

use mio::net::TcpStream;
use ullim_hub::{Outlet, Patience};
use ullim_protocol::websocket::Decoder;

use crate::listener::Place;
use crate::stomp;
use crate::stream::{Stream, Taken};

/// A client's socket. Small: it lies in the hub's table of connections, where fan-out walks.
pub(crate) struct Socket {
    stream: Stream,
    rest: Box<Rest>,
}

const _: () = assert!(size_of::<Socket>() <= 24, "a connection's entry is one cache line with it");

/// What fan-out does not look at.
struct Rest {
    /// `None` between messages.
    input: Option<Box<Input>>,
    place: Place,
    /// None in other dialects.
    stomp: Option<Box<stomp::Session>>,
}

/// What of a client's bytes has not become a command yet.
#[derive(Debug, Default)]
pub(crate) struct Input {
    pub(crate) websocket: Decoder,
    pub(crate) stomp: ullim_protocol::stomp::Decoder,
    /// What of a WebSocket's message has not become STOMP frames yet, because commands wait.
    pub(crate) message: Vec<u8>,
    /// Bytes that were read but not decoded, because commands wait.
    pub(crate) unread: Vec<u8>,
}

impl Socket {
    pub(crate) fn new(stream: Stream, place: Place, stomp: Option<stomp::Session>) -> Self {
        Self { stream, rest: Box::new(Rest { input: None, place, stomp: stomp.map(Box::new) }) }
    }

    /// What its dialect knows of it, if that is STOMP.
    pub(crate) fn stomp(&mut self) -> Option<&mut stomp::Session> {
        self.rest.stomp.as_deref_mut()
    }

    /// How long its client may be silent.
    pub(crate) fn patience(&self) -> Patience {
        self.rest.stomp.as_ref().map_or(Patience::USUAL, |session| session.patience())
    }

    pub(crate) fn tcp(&mut self) -> &mut TcpStream {
        self.stream.tcp()
    }

    /// Reads what is there.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<Taken> {
        self.stream.read(into)
    }

    /// Sends what was written and is still here; whether it is all out.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        self.stream.flush()
    }

    /// Takes out what is left of the input, to be put back with [`keep`](Self::keep).
    pub(crate) fn take_input(&mut self) -> Input {
        self.rest.input.take().map_or_else(Input::default, |input| *input)
    }

    /// Takes out the bytes that were read and not decoded. They come before any that are read from now on.
    pub(crate) fn take_unread(&mut self) -> Vec<u8> {
        self.rest.input.as_mut().map(|input| std::mem::take(&mut input.unread)).unwrap_or_default()
    }

    /// Whether a part of a message waits that comes before them.
    pub(crate) fn has_begun_message(&self) -> bool {
        self.rest.input.as_ref().is_some_and(|input| !input.message.is_empty())
    }

    /// Keeps what is left of the input, if there is anything.
    pub(crate) fn keep(&mut self, input: Input) {
        let is_midway = input.websocket.is_midway() || input.stomp.is_midway();
        let is_needed = is_midway || !input.message.is_empty() || !input.unread.is_empty();
        self.rest.input = is_needed.then(|| Box::new(input));
    }
}

impl Outlet for Socket {
    fn write(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        self.stream.write(buffers)
    }

    fn is_flushed(&self) -> bool {
        self.stream.is_flushed()
    }

    fn admitted(&mut self) {
        self.rest.place.admitted();
    }

    fn finish(&mut self) {
        self.stream.finish();
    }
}
