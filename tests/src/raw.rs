//! A client that sends any bytes: for input that no library would produce.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{Closed, Node, within};

/// One TCP connection.
pub struct Raw {
    stream: TcpStream,
    received: Vec<u8>,
    /// What the socket has not taken of the last [`Raw::try_send`].
    unsent: Vec<u8>,
}

/// An HTTP answer.
#[derive(Debug, Default, Clone)]
pub struct Response {
    /// 0 if nobody answered.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

/// A handshake, good until it is changed.
#[derive(Clone)]
pub struct Request {
    /// `GET /ws HTTP/1.1`
    pub line: String,
    headers: Vec<(String, String)>,
}

/// A WebSocket frame, good until it is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The first byte: FIN, three reserved bits, opcode.
    pub first: u8,
    /// Whether a client's mask is set.
    pub masked: bool,
    /// The data.
    pub payload: Vec<u8>,
}

impl Raw {
    /// A connection on which nothing has been said.
    pub async fn dial(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, received: Vec::new(), unsent: Vec::new() }
    }

    /// A connection after the handshake, in JSON.
    pub async fn upgraded(node: &Node) -> Self {
        let mut raw = Self::dial(node.address()).await;
        let response = raw.ask(&Request::default()).await;
        assert_eq!(response.status, 101, "{response:?}");
        raw
    }

    /// A session, in JSON.
    pub async fn connected(node: &Node) -> Self {
        let mut raw = Self::upgraded(node).await;
        raw.send_text(&format!(r#"{{"id":1,"connect":{{"token":"{}"}}}}"#, node.addresses.token)).await;
        let reply = raw.text().await;
        assert!(reply.contains(r#""connect""#), "{reply}");
        raw
    }

    /// Sends bytes. That the node may have closed the connection is no error.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _closed = within("room to write", self.stream.write_all(bytes)).await;
    }

    /// Sends a good text frame.
    pub async fn send_text(&mut self, text: &str) {
        self.send(&Frame::text(text).bytes()).await;
    }

    /// Sends `bytes`, or what the socket takes of it now and the rest before anything else: whether it took anything.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        if self.unsent.is_empty() {
            self.unsent.extend_from_slice(bytes);
        }
        let taken = self.stream.try_write(&self.unsent).unwrap_or(0);
        self.unsent.drain(..taken);
        taken > 0
    }

    /// Sends a request and returns what is answered.
    pub async fn ask(&mut self, request: &Request) -> Response {
        self.send(request.bytes().as_slice()).await;
        self.response().await
    }

    /// The next HTTP answer.
    pub async fn response(&mut self) -> Response {
        loop {
            if let Some((response, length)) = Response::parse(&self.received) {
                self.received.drain(..length);
                return response;
            }
            assert!(self.receive().await, "no HTTP answer: {}", String::from_utf8_lossy(&self.received));
        }
    }

    /// The next frame; `None` when the connection has ended.
    pub async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, length)) = Frame::parse(&self.received) {
                self.received.drain(..length);
                return Some(frame);
            }
            if !self.receive().await {
                assert!(self.received.is_empty(), "half a frame at the end: {:?}", self.received);
                return None;
            }
        }
    }

    /// The next text message.
    pub async fn text(&mut self) -> String {
        let frame = self.frame().await.expect("a text frame, not the end");
        assert_eq!(frame.first, 0x81, "{frame:?}");
        String::from_utf8(frame.payload).unwrap()
    }

    /// Waits for the close frame, and that the connection ends after it. Messages before it are dropped.
    pub async fn closed(&mut self) -> Closed {
        let closed = self.close_frame().await;
        self.send(&Frame::close(closed.code, "").bytes()).await;
        while self.receive().await {}
        closed
    }

    /// Waits for the close frame. Messages before it are dropped.
    pub async fn close_frame(&mut self) -> Closed {
        loop {
            let frame = self.frame().await.expect("a close frame before the end");
            if frame.first == 0x88 {
                assert!(frame.payload.len() <= 125, "{frame:?}");
                let code = frame.payload.first_chunk().expect("a code in the close frame");
                let reason = String::from_utf8(frame.payload[2..].to_vec()).unwrap();
                return Closed { code: u16::from_be_bytes(*code), reason };
            }
        }
    }

    /// Waits until the connection has ended, whatever is said before.
    pub async fn ended(&mut self) {
        while self.receive().await {}
    }

    /// Takes what has arrived. `false` at the end of the connection.
    async fn receive(&mut self) -> bool {
        let reading = self.stream.read_buf(&mut self.received);
        within("something to read", reading).await.is_ok_and(|count| count > 0)
    }
}

impl Default for Request {
    fn default() -> Self {
        Self { line: "GET /ws HTTP/1.1".to_owned(), headers: Vec::new() }
            .with("Host", "localhost")
            .with("Connection", "Upgrade")
            .with("Upgrade", "websocket")
            .with("Sec-WebSocket-Version", "13")
            .with("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
    }
}

impl Request {
    /// With another first line.
    pub fn line(mut self, line: &str) -> Self {
        line.clone_into(&mut self.line);
        self
    }

    /// With this value of this header, instead of its values so far.
    pub fn with(self, name: &str, value: &str) -> Self {
        self.without(name).and(name, value)
    }

    /// With one more header.
    pub fn and(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Without this header.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self
    }

    /// As it goes over the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.line);
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        text += "\r\n";
        text.into_bytes()
    }
}

impl Response {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let name = name.to_ascii_lowercase();
        self.headers.iter().find(|(other, _)| *other == name).map(|(_, value)| value.as_str())
    }

    /// The first answer in `bytes` and its length, if it is complete.
    pub(crate) fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let head_length = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = std::str::from_utf8(&bytes[..head_length]).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        let headers: Vec<_> = lines.map(header).collect();
        let mut response = Self { status, headers, body: String::new() };
        let body_length = response.header("content-length").map_or(0, |length| length.parse().unwrap());
        let body = bytes.get(head_length..head_length + body_length)?;
        response.body = String::from_utf8(body.to_vec()).unwrap();
        Some((response, head_length + body_length))
    }
}

impl Frame {
    /// A final, masked frame.
    pub fn new(opcode: u8, payload: &[u8]) -> Self {
        Self { first: 0x80 | opcode, masked: true, payload: payload.to_vec() }
    }

    /// A text message.
    pub fn text(text: &str) -> Self {
        Self::new(1, text.as_bytes())
    }

    /// A binary message.
    pub fn binary(bytes: &[u8]) -> Self {
        Self::new(2, bytes)
    }

    /// A close frame.
    pub fn close(code: u16, reason: &str) -> Self {
        Self::new(8, &[&code.to_be_bytes(), reason.as_bytes()].concat())
    }

    /// Without FIN: more fragments follow.
    pub fn unfinished(mut self) -> Self {
        self.first &= 0x7F;
        self
    }

    /// Without a mask.
    pub fn unmasked(mut self) -> Self {
        self.masked = false;
        self
    }

    /// With reserved bits: 0x40, 0x20, 0x10.
    pub fn reserved(mut self, bits: u8) -> Self {
        self.first |= bits;
        self
    }

    /// As it goes over the wire, with the shortest length.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.header(self.payload.len() as u64);
        let mask = [0x37, 0xFA, 0x21, 0x3D];
        if self.masked {
            bytes.extend_from_slice(&mask);
        }
        let key = |index: usize| if self.masked { mask[index % 4] } else { 0 };
        bytes.extend(self.payload.iter().enumerate().map(|(index, byte)| byte ^ key(index)));
        bytes
    }

    /// The header alone, without the mask, claiming `length` bytes.
    pub fn header(&self, length: u64) -> Vec<u8> {
        let mask = if self.masked { 0x80 } else { 0 };
        let mut bytes = vec![self.first];
        match length {
            0..=125 => bytes.push(mask | length as u8),
            126..=0xFFFF => {
                bytes.push(mask | 126);
                bytes.extend_from_slice(&(length as u16).to_be_bytes());
            }
            _ => {
                bytes.push(mask | 127);
                bytes.extend_from_slice(&length.to_be_bytes());
            }
        }
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let (&first, &second) = (bytes.first()?, bytes.get(1)?);
        assert_eq!(second & 0x80, 0, "a server's frame is never masked");
        let (length, start) = match second {
            126 => (u64::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)), 4),
            127 => (u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?), 10),
            short => (u64::from(short), 2),
        };
        let end = start + usize::try_from(length).unwrap();
        let payload = bytes.get(start..end)?.to_vec();
        Some((Self { first, masked: false, payload }, end))
    }
}
