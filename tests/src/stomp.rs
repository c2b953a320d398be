//! A STOMP client on TCP that believes nothing: each frame of the server's is held against the specifications of 1.0, 1.1
//! and 1.2 and against what this client has said before. It shares no code with the node.
//!
//! * [`Frame`], [`Version`]: frames and their bytes
//! * [`Rules`]: what a server may say, and when (pure)
//! * [`Client`]: both on a connection

mod frame;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub use frame::{Frame, Parsed, Version};
pub use rules::Rules;

use crate::within;

/// One connection.
pub struct Client {
    stream: TcpStream,
    received: Vec<u8>,
    rules: Rules,
    /// Frames that came while another was awaited.
    kept: VecDeque<Frame>,
    last_receipt: u64,
    /// Heart-beats of the server's so far.
    pub heart_beats: usize,
}

/// Why nothing more comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The server closed the connection, or it broke.
    Closed,
    /// The server said what it must not say: which rule, and the frame.
    Broken(String),
}

impl Client {
    /// A connection on which nothing has been said.
    pub async fn dial(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            received: Vec::new(),
            rules: Rules::default(),
            kept: VecDeque::new(),
            last_receipt: 0,
            heart_beats: 0,
        })
    }

    /// A connection after `CONNECT` with these headers, in 1.2 unless they ask for another: what `CONNECTED` said.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn connect(address: SocketAddr, headers: &[(&str, &str)]) -> (Self, Frame) {
        let mut client = within("a connection", Self::dial(address)).await.unwrap();
        let mut connect = headers.iter().fold(Frame::new("CONNECT"), |frame, (name, value)| frame.with(name, value));
        for (name, value) in [("accept-version", "1.2"), ("host", "localhost")] {
            if connect.header(name).is_none() {
                connect = connect.with(name, value);
            }
        }
        client.say(&connect).await;
        let connected = client.await_frame("CONNECTED").await;
        (client, connected)
    }

    /// The version that was agreed upon; before that the newest that was offered.
    pub fn version(&self) -> Version {
        self.rules.version()
    }

    /// Sends a frame, and remembers what it asks for.
    pub async fn send(&mut self, frame: &Frame) -> io::Result<()> {
        let bytes = frame.bytes(self.rules.version());
        self.rules.say(frame);
        self.stream.write_all(&bytes).await
    }

    /// Sends bytes of which nothing is remembered: for what no client should send.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// The next frame. Safe to cancel.
    pub async fn next(&mut self) -> Result<Frame, End> {
        if let Some(frame) = self.kept.pop_front() {
            return Ok(frame);
        }
        loop {
            match Frame::parse(&self.received, self.rules.reading()).map_err(End::Broken)? {
                Some((Parsed::Frame(frame), length)) => {
                    self.received.drain(..length);
                    self.rules.hear(&frame).map_err(|rule| End::Broken(format!("{rule}: {frame:?}")))?;
                    return Ok(frame);
                }
                Some((Parsed::HeartBeat, length)) => {
                    self.received.drain(..length);
                    self.heart_beats += 1;
                }
                None => {
                    let count = self.stream.read_buf(&mut self.received).await.unwrap_or(0);
                    if count == 0 {
                        return Err(match self.received.is_empty() {
                            true => End::Closed,
                            false => End::Broken(format!("half a frame at the end: {:?}", self.received)),
                        });
                    }
                }
            }
        }
    }
}

/// For tests of which each step must succeed: what does not is a failed test.
impl Client {
    /// Sends a frame. That the server may have closed the connection is no error.
    pub async fn say(&mut self, frame: &Frame) {
        let _closed = within("room to write", self.send(frame)).await;
    }

    /// The next frame, which is to be of this command.
    pub async fn await_frame(&mut self, command: &str) -> Frame {
        match within(command, self.next()).await {
            Ok(frame) if frame.command == command => frame,
            other => panic!("{command} was awaited, not {other:?}"),
        }
    }

    /// Sends a frame with a receipt of its own, and waits for that: the RECEIPT. Messages before it are kept.
    pub async fn done(&mut self, frame: Frame) -> Frame {
        self.last_receipt += 1;
        let receipt = format!("receipt-{}", self.last_receipt);
        self.say(&frame.with("receipt", &receipt)).await;
        let mut kept = VecDeque::new();
        loop {
            match within("a receipt", self.next()).await {
                Ok(frame) if frame.header("receipt-id") == Some(&receipt) && frame.command == "RECEIPT" => {
                    self.kept = kept;
                    return frame;
                }
                Ok(frame) if frame.command == "MESSAGE" => kept.push_back(frame),
                other => panic!("the receipt {receipt} was awaited, not {other:?}"),
            }
        }
    }

    /// Subscribes, and waits until it stands: the RECEIPT.
    pub async fn subscribe(&mut self, id: &str, destination: &str) -> Frame {
        self.done(Frame::new("SUBSCRIBE").with("id", id).with("destination", destination)).await
    }

    /// The next MESSAGE.
    pub async fn message(&mut self) -> Frame {
        self.await_frame("MESSAGE").await
    }

    /// Waits for an ERROR, and that the connection ends behind it. Messages before it are dropped.
    pub async fn refused(&mut self) -> Frame {
        let error = loop {
            match within("an ERROR", self.next()).await {
                Ok(frame) if frame.command == "ERROR" => break frame,
                Ok(frame) if frame.command == "MESSAGE" => {}
                other => panic!("an ERROR was awaited, not {other:?}"),
            }
        };
        self.ended().await;
        error
    }

    /// Waits until the connection has ended, without another word.
    pub async fn ended(&mut self) {
        let end = within("the end", self.next()).await;
        assert_eq!(end, Err(End::Closed));
    }
}
