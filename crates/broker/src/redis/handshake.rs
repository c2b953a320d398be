//! How a subscription link begins: `HELLO 3`, a name, Redis' time, and whether the server is a master.

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;

use super::Shared;
use super::address::{Address, Credentials};
use super::resp::{Malformed, Reader, Value};
use super::socket::{self, Stream};

/// How many bytes are read at once.
const READ_BYTES: usize = 64 << 10;

/// A connection that speaks RESP3 and has nothing outstanding.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: Stream,
    pub(super) input: Input,
    /// This user may ask for the server's role.
    pub(super) tells_role: bool,
    /// When its first byte was sent.
    pub(super) since: Instant,
}

/// What was read, as values.
#[derive(Debug)]
pub(super) struct Input {
    reader: Reader,
    pub(super) buffer: Box<[u8]>,
    /// What of the buffer is yet to be read.
    start: usize,
    end: usize,
}

/// Why a link cannot be set up, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("redis closed the connection")]
    Closed,
    #[error("what redis sent is not RESP3: {0}")]
    Malformed(#[from] Malformed),
    #[error("redis refused {command}: {text}")]
    Refused { command: &'static str, text: String },
    #[error("redis answered {0} with something else")]
    Unexpected(&'static str),
    #[error("no answer to {0} in time")]
    Silent(&'static str),
    #[error("{0}")]
    Unknown(String),
    #[error("another server is the master")]
    Moved,
    #[error("this server is a replica")]
    Replica,
    #[error("what the command link publishes does not come: it is another server")]
    Deaf,
}

impl LinkError {
    pub(super) fn refused(command: &'static str, text: &Bytes) -> Self {
        Self::Refused { command, text: String::from_utf8_lossy(text).escape_debug().to_string() }
    }
}

impl Input {
    fn new(limit: usize) -> Self {
        let buffer = vec![0; READ_BYTES].into_boxed_slice();
        Self { reader: Reader::new(limit), buffer, start: 0, end: 0 }
    }

    /// The first `length` bytes of the buffer were read from the connection.
    pub(super) fn filled(&mut self, length: usize) -> Result<(), LinkError> {
        self.start = 0;
        self.end = length;
        if length == 0 { Err(LinkError::Closed) } else { Ok(()) }
    }

    /// What was read and not looked at, and the reader for all of it.
    pub(super) fn unread(&mut self) -> (&mut Reader, &[u8]) {
        let start = std::mem::replace(&mut self.start, self.end);
        (&mut self.reader, &self.buffer[start..self.end])
    }

    /// The next value, if all of it has been read.
    fn next(&mut self) -> Result<Option<Value>, Malformed> {
        let mut rest = &self.buffer[self.start..self.end];
        let value = self.reader.next(&mut rest)?;
        self.start = self.end - rest.len();
        Ok(value)
    }
}

/// Connects to a master, and sets the clock by the way.
pub(super) async fn connect(shared: &Shared, address: &Address) -> Result<Connection, LinkError> {
    let access = &shared.place.access;
    let stream = socket::connect(address, access.tls.as_ref(), shared.config.ping_timeout).await?;
    let since = Instant::now();
    let input = Input::new(shared.reply_bytes());
    let mut connection = Connection { stream, input, tells_role: true, since };
    connection.stream.write_all(&greeting(&access.credentials)).await?;
    connection.stream.flush().await?;
    let hello = connection.answer("HELLO").await?;
    let named = connection.answer("CLIENT SETNAME").await?;
    if !matches!((hello, named), (Value::List(_), Value::Text(_))) {
        return Err(LinkError::Unexpected("HELLO"));
    }
    let time = connection.answer("TIME").await?;
    let (seconds, micros) = read_time(&time).ok_or(LinkError::Unexpected("TIME"))?;
    // In a Cluster the clock is that of one master, which the command link asks.
    if !shared.place.is_sharded() {
        shared.clock.learn(seconds, micros, since, Instant::now());
    }
    match connection.answer("ROLE").await {
        Ok(role) => check_role(&role)?,
        // A user that may not ask is not told.
        Err(LinkError::Refused { .. }) => connection.tells_role = false,
        Err(error) => return Err(error),
    }
    Ok(connection)
}

/// Fails if a server is no master.
pub(super) fn check_role(role: &Value) -> Result<(), LinkError> {
    match role {
        Value::List(parts) => match parts.first() {
            Some(Value::Text(role)) if role == "master" => Ok(()),
            Some(Value::Text(_)) => Err(LinkError::Replica),
            _ => Err(LinkError::Unexpected("ROLE")),
        },
        _ => Err(LinkError::Unexpected("ROLE")),
    }
}

impl Connection {
    async fn answer(&mut self, command: &'static str) -> Result<Value, LinkError> {
        loop {
            match self.input.next()? {
                Some(Value::Error(text)) => return Err(LinkError::refused(command, &text)),
                Some(Value::Push(_)) => {}
                Some(value) => return Ok(value),
                None => {
                    let length = self.stream.read(&mut self.input.buffer).await?;
                    self.input.filled(length)?;
                }
            }
        }
    }
}

/// Appends a command and its arguments.
pub(super) fn write_command(out: &mut Vec<u8>, command: &str, arguments: &[impl AsRef<str>]) {
    out.extend_from_slice(format!("*{}\r\n", arguments.len() + 1).as_bytes());
    for part in std::iter::once(command).chain(arguments.iter().map(AsRef::as_ref)) {
        out.extend_from_slice(format!("${}\r\n{part}\r\n", part.len()).as_bytes());
    }
}

fn greeting(credentials: &Credentials) -> Vec<u8> {
    let mut hello = vec!["3"];
    if let Some(password) = &credentials.password {
        hello.extend(["AUTH", credentials.username.as_deref().unwrap_or("default"), password]);
    }
    let name = format!("ullim-sub-{}", std::process::id());
    let mut out = Vec::new();
    write_command(&mut out, "HELLO", &hello);
    write_command(&mut out, "CLIENT", &["SETNAME", &name]);
    write_command(&mut out, "TIME", &[""; 0]);
    write_command(&mut out, "ROLE", &[""; 0]);
    out
}

fn read_time(answer: &Value) -> Option<(u64, u64)> {
    let Value::List(parts) = answer else {
        return None;
    };
    let number = |part: &Value| match part {
        Value::Text(digits) => std::str::from_utf8(digits).ok()?.parse().ok(),
        _ => None,
    };
    match &parts[..] {
        [seconds, micros] => Some((number(seconds)?, number(micros)?)),
        _ => None,
    }
}
