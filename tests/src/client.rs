//! A well-formed client of the native protocol, over tungstenite.

use std::collections::VecDeque;
use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use crate::{Encoding, Node, token, within};

/// One connection.
pub struct Client {
    socket: WebSocketStream<Box<dyn Stream>>,
    encoding: Encoding,
    last_id: u64,
    pushes: VecDeque<Value>,
}

/// What a connection is made of.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// How the node closed a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// The code of the close frame.
    pub code: u16,
    /// The text of the close frame.
    pub reason: String,
}

impl Client {
    /// A connection that has said nothing yet.
    pub async fn open(node: &Node, encoding: Encoding) -> Self {
        let stream = TcpStream::connect(node.address()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(Box::new(stream), node, encoding).await
    }

    /// A connection over TLS to `address` that has said nothing yet, and the certificate (DER) that the node showed.
    pub async fn open_tls(
        node: &Node,
        address: SocketAddr,
        connector: &TlsConnector,
        encoding: Encoding,
    ) -> (Self, Vec<u8>) {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = within("the TLS handshake", connector.connect(name, stream)).await.unwrap();
        let shown = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
        (Self::over(Box::new(stream), node, encoding).await, shown)
    }

    async fn over(stream: Box<dyn Stream>, node: &Node, encoding: Encoding) -> Self {
        let mut request = node.addresses.ws.as_str().into_client_request().unwrap();
        let subprotocol = HeaderValue::from_static(encoding.subprotocol());
        request.headers_mut().insert("Sec-WebSocket-Protocol", subprotocol.clone());
        let handshake = tokio_tungstenite::client_async(request, stream);
        let (socket, response) = within("the handshake", handshake).await.unwrap();
        assert_eq!(response.headers().get("Sec-WebSocket-Protocol"), Some(&subprotocol));
        Self { socket, encoding, last_id: 0, pushes: VecDeque::new() }
    }

    /// A session with the token that the node printed.
    pub async fn connect(node: &Node, encoding: Encoding) -> Self {
        let mut client = Self::open(node, encoding).await;
        client.ok("connect", json!({"token": node.addresses.token})).await;
        client
    }

    /// A JSON session of `user`, and the reply to its `connect`.
    pub async fn of(node: &Node, user: &str) -> (Self, Value) {
        let mut client = Self::open(node, Encoding::Json).await;
        let reply = client.ok("connect", json!({"token": token::good(user)})).await;
        (client, reply)
    }

    /// A JSON session that is subscribed to `channel`.
    pub async fn subscribed(node: &Node, channel: &str) -> Self {
        let mut client = Self::connect(node, Encoding::Json).await;
        client.subscribe(channel).await;
        client
    }

    /// How this connection writes its messages.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Sends a WebSocket message as it is.
    pub async fn send(&mut self, message: Message) {
        within("room to write", self.socket.send(message)).await.unwrap();
    }

    /// Sends a value without expecting anything.
    pub async fn send_value(&mut self, message: &Value) {
        self.send(self.encoding.encode(message)).await;
    }

    /// Sends the command `name` and returns its whole reply, whatever it is.
    pub async fn call(&mut self, name: &str, body: Value) -> Value {
        self.last_id += 1;
        let id = self.last_id;
        self.send_value(&json!({"id": id, name: body})).await;
        let reply = self.reply().await;
        assert_eq!(reply["id"], id, "replies come in the order of the commands: {reply}");
        reply
    }

    /// Sends the command `name`, which is to succeed: what the reply says.
    pub async fn ok(&mut self, name: &str, body: Value) -> Value {
        let mut reply = self.call(name, body.clone()).await;
        assert!(reply.get(name).is_some(), "{name} {body}: {reply}");
        reply[name].take()
    }

    /// Sends the command `name`, which is to fail: the name of the error.
    pub async fn refused(&mut self, name: &str, body: Value) -> String {
        let reply = self.call(name, body.clone()).await;
        error_name(&reply)
    }

    /// Sends a WebSocket message as it is, which is to be answered with an error: its name.
    pub async fn refused_message(&mut self, message: Message) -> String {
        self.send(message).await;
        let reply = self.reply().await;
        error_name(&reply)
    }

    /// Subscribes to one channel.
    pub async fn subscribe(&mut self, channel: &str) {
        assert_eq!(self.ok("subscribe", json!({"channel": channel})).await, json!({}));
    }

    /// Publishes JSON.
    pub async fn publish(&mut self, channel: &str, data: Value) {
        assert_eq!(self.ok("publish", json!({"channel": channel, "data": data})).await, json!({}));
    }

    /// The next reply. Pushes before it are kept.
    pub async fn reply(&mut self) -> Value {
        loop {
            let message = self.next("a reply").await;
            match message.get("push") {
                Some(push) => self.pushes.push_back(push.clone()),
                None => return message,
            }
        }
    }

    /// The next push.
    pub async fn push(&mut self) -> Value {
        if let Some(push) = self.pushes.pop_front() {
            return push;
        }
        let mut message = self.next("a push").await;
        assert!(message.get("push").is_some(), "a push was awaited, not {message}");
        message["push"].take()
    }

    /// The next push, which is to be a publication of `channel`: its `pub`.
    pub async fn publication(&mut self, channel: &str) -> Value {
        let mut push = self.push().await;
        assert_eq!(push["channel"], channel, "{push}");
        assert!(push.get("pub").is_some(), "a publication was awaited, not {push}");
        push["pub"].take()
    }

    /// The next push of this kind (`pub`, `join`, `leave`, `gap` …): its content. Others before it are dropped.
    pub async fn push_of(&mut self, kind: &str) -> Value {
        loop {
            let mut push = self.push().await;
            if push.get(kind).is_some() {
                return push[kind].take();
            }
        }
    }

    /// The pushes that have come before the answer to a ping.
    pub async fn pushes_so_far(&mut self) -> Vec<Value> {
        self.ok("ping", json!({})).await;
        self.pushes.drain(..).collect()
    }

    /// Drops the pushes that came before a reply.
    pub fn forget_pushes(&mut self) {
        self.pushes.clear();
    }

    /// Asserts that no push has come before the answer to a ping.
    pub async fn heard_nothing(&mut self) {
        self.ok("ping", json!({})).await;
        assert_eq!(self.pushes, Vec::<Value>::new());
    }

    /// Waits until the node closes the connection. What it said before is dropped.
    pub async fn closed(&mut self) -> Closed {
        loop {
            match within("the connection to be closed", self.socket.next()).await {
                Some(Ok(Message::Close(Some(frame)))) => {
                    return Closed { code: frame.code.into(), reason: frame.reason.as_str().to_owned() };
                }
                Some(Ok(Message::Close(None))) => panic!("a close frame without a code"),
                Some(Ok(_)) => {}
                Some(Err(error)) => panic!("no close frame, but {error}"),
                None => panic!("no close frame before the end"),
            }
        }
    }

    /// Closes with a code, and returns what the node answers.
    pub async fn close(mut self, code: u16, reason: &str) -> Closed {
        use tokio_tungstenite::tungstenite::protocol::CloseFrame;
        self.send(Message::Close(Some(CloseFrame { code: code.into(), reason: reason.into() }))).await;
        self.closed().await
    }

    async fn next(&mut self, what: &str) -> Value {
        loop {
            match within(what, self.socket.next()).await {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(frame))) => {
                    panic!("{what} was awaited, but it was closed: {frame:?}")
                }
                Some(Ok(message)) => return self.encoding.decode(&message),
                Some(Err(error)) => panic!("{what} was awaited: {error}"),
                None => panic!("{what} was awaited, but the connection has ended"),
            }
        }
    }
}

/// The name of the error in a reply.
fn error_name(reply: &Value) -> String {
    let error = reply.get("error").unwrap_or_else(|| panic!("an error was awaited, not {reply}"));
    assert!(error["code"].is_u64() && error["message"].is_string() && error["retry"].is_boolean(), "{error}");
    error["name"].as_str().unwrap().to_owned()
}
