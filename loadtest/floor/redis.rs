//! The subscription in Redis: a connection of its own, and as much of RESP2 as messages need.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use anyhow::{Context as _, bail};

/// How much is read at once.
pub(crate) const SINGLE: usize = 64 * 1024;
/// How much is read at once where messages are batched.
pub(crate) const BATCH: usize = 256 * 1024;
/// The most bytes of one message, its channel and the rest included.
const MESSAGE_BYTES: usize = 64 * 1024 * 1024;

/// A connection on which messages arrive.
#[derive(Debug)]
pub(crate) struct Subscription {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// What of `buffer` has been received and not been taken yet.
    start: usize,
    end: usize,
}

/// One message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    /// The channel that it was published on.
    pub(crate) channel: &'a [u8],
    /// What was published.
    pub(crate) payload: &'a [u8],
}

impl Subscription {
    /// Connects and subscribes. Blocks until Redis has confirmed it; does not block from then on.
    pub(crate) fn open(address: &str, room: usize) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(b"*2\r\n$10\r\nPSUBSCRIBE\r\n$7\r\nfloor:*\r\n")?;
        let mut this = Self { stream, buffer: vec![0; room], start: 0, end: 0 };
        loop {
            let mut reply = Reader { bytes: &this.buffer[..this.end], at: 0 };
            if reply.subscribed()?.is_some() {
                this.start = reply.at;
                break;
            }
            if !this.read()? {
                bail!("Redis closed the connection");
            }
        }
        this.stream.set_nonblocking(true)?;
        Ok(this)
    }

    /// The socket, to wait on.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Reads what is there, with one call, or with `all` until the buffer is full or nothing is left. An error if Redis
    /// has gone.
    pub(crate) fn receive(&mut self, all: bool) -> anyhow::Result<()> {
        self.make_room()?;
        loop {
            match self.read() {
                Ok(true) if all && self.end < self.buffer.len() => {}
                Ok(true) => return Ok(()),
                Ok(false) => bail!("Redis closed the connection"),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("cannot read from Redis"),
            }
        }
    }

    /// The next message that is wholly there.
    pub(crate) fn next(&mut self) -> anyhow::Result<Option<Message<'_>>> {
        let mut reader = Reader { bytes: &self.buffer[self.start..self.end], at: 0 };
        let message = reader.message()?;
        if message.is_some() {
            self.start += reader.at;
        }
        Ok(message)
    }

    /// One read. `false` at the end of the stream.
    fn read(&mut self) -> std::io::Result<bool> {
        loop {
            match self.stream.read(&mut self.buffer[self.end..]) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    self.end += count;
                    return Ok(true);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Moves the beginning of a message to the front, and doubles the buffer for one that does not fit.
    fn make_room(&mut self) -> anyhow::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.end == self.buffer.len() {
            if self.buffer.len() >= MESSAGE_BYTES {
                bail!("a message of more than {MESSAGE_BYTES} bytes");
            }
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        Ok(())
    }
}

/// Reads replies from bytes of which the last may still be missing: then everything is `None`.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// `["psubscribe", pattern, count]`.
    fn subscribed(&mut self) -> anyhow::Result<Option<()>> {
        if self.bytes.first() == Some(&b'-') {
            bail!("Redis refuses: {}", String::from_utf8_lossy(self.bytes).trim_end());
        }
        let Some(3) = self.number(b'*')? else { return Ok(None) };
        if self.bulk()?.is_none() || self.bulk()?.is_none() {
            return Ok(None);
        }
        Ok(self.number(b':')?.map(drop))
    }

    /// `["pmessage", pattern, channel, payload]`.
    fn message(&mut self) -> anyhow::Result<Option<Message<'a>>> {
        match self.number(b'*')? {
            Some(4) => {}
            Some(_) => bail!("Redis sent something that is no message"),
            None => return Ok(None),
        }
        if self.bulk()?.is_none() || self.bulk()?.is_none() {
            return Ok(None);
        }
        let Some(channel) = self.bulk()? else { return Ok(None) };
        Ok(self.bulk()?.map(|payload| Message { channel, payload }))
    }

    fn bulk(&mut self) -> anyhow::Result<Option<&'a [u8]>> {
        let Some(length) = self.number(b'$')? else { return Ok(None) };
        let Some(bytes) = self.bytes.get(self.at..self.at + length) else { return Ok(None) };
        self.at += length + 2;
        Ok((self.at <= self.bytes.len()).then_some(bytes))
    }

    fn number(&mut self, kind: u8) -> anyhow::Result<Option<usize>> {
        let rest = &self.bytes[self.at..];
        let Some(end) = memchr::memchr(b'\n', &rest[..rest.len().min(32)]) else {
            if rest.len() >= 32 {
                bail!("Redis sent a number without an end");
            }
            return Ok(None);
        };
        let (Some(&first), Some(digits)) = (rest.first(), rest.get(1..end.saturating_sub(1))) else {
            bail!("Redis sent an empty line");
        };
        if first != kind {
            bail!("Redis sent {:?} where {:?} was due", char::from(first), char::from(kind));
        }
        let mut number = 0_usize;
        for &digit in digits {
            if !digit.is_ascii_digit() || number > MESSAGE_BYTES {
                bail!("Redis sent a number that is none");
            }
            number = number * 10 + usize::from(digit - b'0');
        }
        self.at += end + 1;
        Ok(Some(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &[u8] = b"*4\r\n$8\r\npmessage\r\n$7\r\nfloor:*\r\n$8\r\nfloor:c7\r\n$2\r\nhi\r\n";

    #[test]
    fn a_message_is_read_once_its_last_byte_is_there() {
        for length in 0..MESSAGE.len() {
            assert_eq!(Reader { bytes: &MESSAGE[..length], at: 0 }.message().unwrap(), None, "{length}");
        }
        let mut reader = Reader { bytes: MESSAGE, at: 0 };
        assert_eq!(reader.message().unwrap(), Some(Message { channel: b"floor:c7", payload: b"hi" }));
        assert_eq!(reader.at, MESSAGE.len());
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        for bytes in [&b"-ERR no\r\n"[..], b"*3\r\n", b"*x\r\n", b"\n", b"*99999999999999999999\r\n", &[b'*'; 40]] {
            assert!(Reader { bytes, at: 0 }.message().is_err(), "{}", bytes.escape_ascii());
        }
    }
}
