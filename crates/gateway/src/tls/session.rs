//! One connection's TLS. It reads and writes until the socket would block, and never waits.

use std::io::{self, IoSlice, Read};
use std::net::Shutdown;
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::{HandshakeKind, ServerConfig, ServerConnection};

use crate::stream::{Taken, would_block};

/// The most bytes that wait in a session to be sent. They come on top of what waits in the connection's outbox.
const WAITING_BYTES: usize = 16 << 10;

/// The most reads from the socket for one read of the session: a peer may send records that hold nothing.
const READS: usize = 16;

/// A TLS connection and its socket.
pub(crate) struct Session {
    tcp: TcpStream,
    tls: ServerConnection,
    /// Decrypted bytes that have not been read.
    decrypted: usize,
    /// The last read has found fewer bytes than it could have taken.
    emptied: bool,
    finishing: Finishing,
    /// How many answers its handshake has made.
    answers: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finishing {
    No,
    /// When all is out.
    Soon,
    Done,
}

/// How far a handshake has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The peer's next bytes have to come.
    Waits,
    /// Bytes have come: [`Session::calculate`] is next.
    HasWork,
    /// It is over.
    Established,
}

impl Session {
    pub(crate) fn new(tcp: TcpStream, config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        let mut tls = ServerConnection::new(config)?;
        tls.set_buffer_limit(Some(WAITING_BYTES));
        Ok(Self { tcp, tls, decrypted: 0, emptied: false, finishing: Finishing::No, answers: 0 })
    }

    pub(crate) fn tcp(&mut self) -> &mut TcpStream {
        &mut self.tcp
    }

    /// Whether a ticket of an earlier connection was good.
    pub(crate) fn is_resumed(&self) -> bool {
        self.tls.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Whether the expensive part of the handshake is done. That a hello has to be sent again (RFC 8446, section 4.1.4)
    /// is an answer, but a cheap one.
    pub(crate) fn is_begun(&self) -> bool {
        let retried = self.tls.handshake_kind() == Some(HandshakeKind::FullWithHelloRetryRequest);
        self.answers > u8::from(retried)
    }

    /// Moves a handshake's bytes, without looking at them.
    pub(crate) fn shake_hands(&mut self) -> io::Result<Progress> {
        self.flush()?;
        if !self.tls.is_handshaking() {
            return Ok(Progress::Established);
        }
        match self.receive()? {
            None => Ok(Progress::Waits),
            Some(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Some(_) => Ok(Progress::HasWork),
        }
    }

    /// Works on what has come: in a handshake the expensive part.
    pub(crate) fn calculate(&mut self) -> Result<(), rustls::Error> {
        self.decrypted = self.tls.process_new_packets()?.plaintext_bytes_to_read();
        if self.tls.is_handshaking() && self.tls.wants_write() {
            self.answers = self.answers.saturating_add(1);
        }
        Ok(())
    }

    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<Taken> {
        for _ in 0..READS {
            match would_block(self.tls.reader().read(into)) {
                Ok(None) => {}
                Ok(Some(0)) => return Ok(Taken::End),
                Ok(Some(count)) => {
                    self.decrypted -= count.min(self.decrypted);
                    return Ok(Taken::Bytes { count, emptied: self.emptied && self.decrypted == 0 });
                }
                // The peer has ended without saying so. Nothing is cut off unseen: messages have lengths.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Taken::End),
                Err(error) => return Err(error),
            }
            match self.receive()? {
                None => return Ok(Taken::Nothing),
                Some(0) => return Ok(Taken::End),
                Some(_) => {}
            }
            let calculated = self.calculate();
            // An answer to a record, or an alert that says what was wrong with it.
            self.flush()?;
            calculated.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
        Ok(Taken::Bytes { count: 0, emptied: false })
    }

    /// Encrypts and sends what the peer takes; a record more than that waits here.
    pub(crate) fn write(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let all: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        let mut taken = 0;
        while self.flush()? && taken < all {
            taken += match taken {
                0 => write_to(&mut self.tls, buffers)?,
                _ => {
                    let mut rest = buffers.to_vec();
                    let mut rest = rest.as_mut_slice();
                    IoSlice::advance_slices(&mut rest, taken);
                    write_to(&mut self.tls, rest)?
                }
            };
        }
        Ok(taken)
    }

    /// Sends what waits here; whether it is all out.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        while self.tls.wants_write() {
            match would_block(self.tls.write_tls(&mut self.tcp))? {
                None => return Ok(false),
                Some(0) => return Err(io::ErrorKind::WriteZero.into()),
                Some(_) => {}
            }
        }
        if self.finishing == Finishing::Soon {
            self.finishing = Finishing::Done;
            self.tcp.shutdown(Shutdown::Write)?;
        }
        Ok(true)
    }

    /// Whether nothing waits here to be sent.
    pub(crate) fn is_flushed(&self) -> bool {
        !self.tls.wants_write()
    }

    /// Says that nothing more will come, and closes this direction once that is out.
    pub(crate) fn finish(&mut self) {
        if self.finishing == Finishing::No {
            self.finishing = Finishing::Soon;
            self.tls.send_close_notify();
            // Where this fails the connection is gone already, and the next read says so.
            let _ = self.flush();
        }
    }

    fn receive(&mut self) -> io::Result<Option<usize>> {
        let mut source = Watched { tcp: &mut self.tcp, emptied: false };
        let received = would_block(self.tls.read_tls(&mut source));
        self.emptied = source.emptied;
        received
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The last words of a connection that ends well are often still here: the answer to a close frame.
        if !self.tls.is_handshaking() {
            self.finish();
        }
    }
}

fn write_to(tls: &mut ServerConnection, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
    io::Write::write_vectored(&mut tls.writer(), buffers)
}

/// Notes whether a read has emptied the socket.
struct Watched<'s> {
    tcp: &'s mut TcpStream,
    emptied: bool,
}

impl Read for Watched<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.tcp.read(into)?;
        self.emptied = count < into.len();
        Ok(count)
    }
}
