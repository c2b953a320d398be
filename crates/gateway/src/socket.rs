//! One connection's two ends: what is written, and what is left of what was read.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::Shutdown;

use mio::net::TcpStream;
use ullim_hub::Outlet;
use ullim_protocol::websocket::Decoder;

use crate::capacity::Permit;

/// A client's socket. Small: it lies in the hub's table of connections.
pub(crate) struct Socket {
    stream: TcpStream,
    /// `None` between messages.
    input: Option<Box<Input>>,
    _permit: Permit,
}

/// What of a client's bytes has not become a command yet.
#[derive(Debug, Default)]
pub(crate) struct Input {
    pub(crate) decoder: Decoder,
    /// Bytes that were read but not decoded, because commands wait.
    pub(crate) unread: Vec<u8>,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream, permit: Permit) -> Self {
        Self { stream, input: None, _permit: permit }
    }

    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Reads what is there; `None` if nothing is.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<Option<usize>> {
        would_block(self.stream.read(into))
    }

    /// Takes out what is left of the input, to be put back with [`keep`](Self::keep).
    pub(crate) fn take_input(&mut self) -> Input {
        self.input.take().map_or_else(Input::default, |input| *input)
    }

    /// Takes out the bytes that were read and not decoded. They come before any that are read from now on.
    pub(crate) fn take_unread(&mut self) -> Vec<u8> {
        self.input.as_mut().map(|input| std::mem::take(&mut input.unread)).unwrap_or_default()
    }

    /// Keeps what is left of the input, if there is anything.
    pub(crate) fn keep(&mut self, input: Input) {
        self.input = (input.decoder.is_midway() || !input.unread.is_empty()).then(|| Box::new(input));
    }
}

impl Outlet for Socket {
    fn write(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let written = match buffers {
            [buffer] => self.stream.write(buffer),
            _ => self.stream.write_vectored(buffers),
        };
        would_block(written).map(Option::unwrap_or_default)
    }

    fn finish(&mut self) {
        // Where this fails the connection is gone already, and the next read says so.
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}

/// Distinguishes "not now" from an error.
pub(crate) fn would_block(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
