//! A small WebSocket client on any byte stream, and ways to get one.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::running::{PATIENCE, Pair};

pub(crate) const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

/// Whatever should happen, it happens soon.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} did not happen"))
}

/// Knows how to secure a stream. Its clones resume each other's sessions.
#[derive(Clone)]
pub(crate) struct Tls(Arc<ClientConfig>);

impl Tls {
    /// Trusts `pair`, and nobody else.
    pub(crate) fn trusting(pair: &Pair) -> Self {
        Self::speaking(pair, rustls::ALL_VERSIONS)
    }

    pub(crate) fn speaking(pair: &Pair, versions: &[&'static SupportedProtocolVersion]) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self(Arc::new(config))
    }

    /// As clients that are no browsers do.
    pub(crate) fn name_no_protocol(&mut self) {
        Arc::make_mut(&mut self.0).alpn_protocols.clear();
    }

    pub(crate) async fn connect(&self, address: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
        // What the peer sends has to wait for a reader soon.
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(8 << 10)?;
        let stream = socket.connect(address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        soon("a TLS handshake", TlsConnector::from(Arc::clone(&self.0)).connect(name, stream)).await
    }
}

/// The beginning of a handshake that is made before anything is connected, so that many can begin at once.
pub(crate) struct Hello {
    tls: ClientConnection,
    bytes: Vec<u8>,
}

impl Hello {
    pub(crate) fn new(tls: &Tls) -> Self {
        let mut tls = ClientConnection::new(Arc::clone(&tls.0), ServerName::try_from("localhost").unwrap()).unwrap();
        let mut bytes = Vec::new();
        tls.write_tls(&mut bytes).unwrap();
        Self { tls, bytes }
    }

    pub(crate) async fn send(&self, stream: &mut TcpStream) {
        stream.write_all(&self.bytes).await.unwrap();
    }

    /// The rest of the handshake; whether it came to its end.
    pub(crate) async fn finish(mut self, stream: &mut TcpStream) -> bool {
        let mut bytes = [0; 4096];
        while self.tls.is_handshaking() {
            let Ok(count @ 1..) = stream.read(&mut bytes).await else { return false };
            let mut read = &bytes[..count];
            while !read.is_empty() {
                self.tls.read_tls(&mut read).unwrap();
                self.tls.process_new_packets().unwrap();
            }
            let mut answer = Vec::new();
            while self.tls.wants_write() {
                self.tls.write_tls(&mut answer).unwrap();
            }
            if stream.write_all(&answer).await.is_err() {
                return false;
            }
        }
        true
    }
}

/// What a request was answered, up to the end of the connection.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// Sends bytes and reads the answer and the end.
pub(crate) async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> Answer {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    soon("an answer", stream.read_to_end(&mut bytes)).await.unwrap();
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or_else(|| panic!("{bytes:?}"));
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    Answer { status: head[9..12].parse().unwrap(), head, body: bytes[end + 4..].to_vec() }
}

/// Reads until the peer has ended; whether it did so in order.
pub(crate) async fn ends_in_order(mut stream: impl AsyncRead + Unpin) -> bool {
    let mut bytes = Vec::new();
    match soon("the end", stream.read_to_end(&mut bytes)).await {
        Ok(_) => true,
        Err(error) if [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset].contains(&error.kind()) => false,
        Err(error) => panic!("{error}"),
    }
}

/// A WebSocket with the native protocol in JSON.
pub(crate) struct Client<S> {
    pub(crate) stream: S,
    next_id: u64,
}

impl Client<TcpStream> {
    pub(crate) async fn plain(address: SocketAddr) -> Self {
        Self::open(TcpStream::connect(address).await.unwrap()).await
    }

    /// With another dialect: nothing is said yet.
    pub(crate) async fn opened(address: SocketAddr, path: &str, headers: &str) -> Self {
        let mut client = Self { stream: TcpStream::connect(address).await.unwrap(), next_id: 0 };
        let request = UPGRADE.replacen("GET / ", &format!("GET {path} "), 1);
        client.stream.write_all(format!("{request}{headers}\r\n").as_bytes()).await.unwrap();
        client.upgraded().await;
        client
    }
}

impl Client<TlsStream<TcpStream>> {
    pub(crate) async fn tls(tls: &Tls, address: SocketAddr) -> Self {
        Self::open(tls.connect(address).await.unwrap()).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Sends the request and `connect` at once, and waits for both answers.
    pub(crate) async fn open(stream: S) -> Self {
        let mut client = Self { stream, next_id: 2 };
        let mut bytes = format!("{UPGRADE}\r\n").into_bytes();
        bytes.extend(frame(0x81, br#"{"id":1,"connect":{}}"#));
        client.stream.write_all(&bytes).await.unwrap();
        client.upgraded().await;
        assert!(client.next().await["connect"]["session"].is_string());
        client
    }

    async fn upgraded(&mut self) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(soon("the answer to an upgrade", self.stream.read_u8()).await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    }

    pub(crate) async fn subscribed(mut self, channel: &str) -> Self {
        let answer = self.command(&format!(r#""subscribe":{{"channel":"{channel}"}}"#)).await;
        assert!(answer["subscribe"].is_object(), "{answer}");
        self
    }

    /// Sends a command and waits for its answer.
    pub(crate) async fn command(&mut self, command: &str) -> Value {
        let id = self.send(command).await;
        loop {
            let message = self.next().await;
            if message["id"] == id {
                return message;
            }
        }
    }

    /// Sends a command; its number.
    pub(crate) async fn send(&mut self, command: &str) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.stream.write_all(&frame(0x81, format!(r#"{{"id":{id},{command}}}"#).as_bytes())).await.unwrap();
        id
    }

    /// Sends a message to a channel; the command's number.
    pub(crate) async fn publish(&mut self, channel: &str, data: &str) -> u64 {
        self.send(&format!(r#""publish":{{"channel":"{channel}","data":"{data}"}}"#)).await
    }

    /// The data of the next publication.
    pub(crate) async fn publication(&mut self) -> String {
        loop {
            let message = self.next().await;
            assert!(message["push"]["gap"].is_null(), "{message}");
            if let Some(data) = message["push"]["pub"]["data"].as_str() {
                return data.to_owned();
            }
        }
    }

    /// The next message.
    pub(crate) async fn next(&mut self) -> Value {
        loop {
            let (opcode, payload) = soon("a message", self.frame()).await;
            match opcode {
                1 => return serde_json::from_slice(&payload).unwrap(),
                // A ping, which may come at any time.
                9 => {}
                _ => panic!("{opcode}: {payload:?}"),
            }
        }
    }

    /// The next frame, whole: its opcode and what is in it.
    pub(crate) async fn frame(&mut self) -> (u8, Vec<u8>) {
        let first = self.stream.read_u8().await.unwrap();
        let length = match self.stream.read_u8().await.unwrap() {
            126 => self.stream.read_u16().await.unwrap().into(),
            127 => self.stream.read_u64().await.unwrap(),
            short => short.into(),
        };
        let mut payload = vec![0; length as usize];
        self.stream.read_exact(&mut payload).await.unwrap();
        (first & 0x0f, payload)
    }

    /// Asserts that the node still answers.
    pub(crate) async fn is_there(&mut self) {
        let answer = self.command(r#""ping":{}"#).await;
        assert!(answer["ping"].is_object(), "{answer}");
    }

    /// How long a publication of its own takes to come back.
    pub(crate) async fn round_trip(&mut self, channel: &str) -> Duration {
        let began = tokio::time::Instant::now();
        self.publish(channel, "there and back").await;
        self.publication().await;
        began.elapsed()
    }
}

/// A client's frame, whose mask changes nothing.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}
