//! A client's byte stream: TCP, or TLS on it. Neither ever waits.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::Shutdown;

use mio::net::TcpStream;

use crate::tls::Session;

/// A client's byte stream. Small: it lies in the hub's table of connections.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<Session>),
}

/// What a read has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// So many bytes, perhaps none. `emptied`: nothing more is there, and what comes makes a new event.
    Bytes { count: usize, emptied: bool },
    /// Nothing is there.
    Nothing,
    /// The peer writes no more.
    End,
}

impl Stream {
    pub(crate) fn tcp(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(session) => session.tcp(),
        }
    }

    /// Reads what is there.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<Taken> {
        match self {
            Self::Plain(tcp) => Ok(match would_block(tcp.read(into))? {
                None => Taken::Nothing,
                Some(0) => Taken::End,
                Some(count) => Taken::Bytes { count, emptied: count < into.len() },
            }),
            Self::Tls(session) => session.read(into),
        }
    }

    /// Writes what the peer takes at once, and says how much of `buffers` that was.
    pub(crate) fn write(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => {
                let written = match buffers {
                    [buffer] => tcp.write(buffer),
                    _ => tcp.write_vectored(buffers),
                };
                would_block(written).map(Option::unwrap_or_default)
            }
            Self::Tls(session) => session.write(buffers),
        }
    }

    /// Sends what was taken by [`write`](Self::write) and is still here; whether it is all out.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        match self {
            Self::Plain(_) => Ok(true),
            Self::Tls(session) => session.flush(),
        }
    }

    /// Whether all that was taken by [`write`](Self::write) is out.
    pub(crate) fn is_flushed(&self) -> bool {
        match self {
            Self::Plain(_) => true,
            Self::Tls(session) => session.is_flushed(),
        }
    }

    /// Writes no more once everything is out.
    pub(crate) fn finish(&mut self) {
        match self {
            // Where this fails the connection is gone already, and the next read says so.
            Self::Plain(tcp) => drop(tcp.shutdown(Shutdown::Write)),
            Self::Tls(session) => session.finish(),
        }
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
