//! One connection, which reports whatever happens to it instead of failing: native on WebSocket over tungstenite, or STOMP.

pub(crate) mod line;
pub(crate) mod stomp;

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;

/// How long a step of connecting may take.
const DEADLINE: Duration = Duration::from_secs(4);

/// A connection with a session.
pub(crate) struct Wire {
    socket: WebSocketStream<TcpStream>,
    last_id: u64,
    /// The secret to resume the session with.
    pub(crate) resume: String,
    /// Whether it was resumed.
    pub(crate) resumed: bool,
}

/// What comes.
#[derive(Debug)]
pub(crate) enum Coming {
    /// A message, and its bytes.
    Message(Value, String),
    /// The end, with the code of the close frame or of the ERROR, or 0.
    End(u16),
    /// Something that the protocol does not allow.
    Broken(String),
}

impl Wire {
    /// Connects, as whom the token says; `None` if that fails.
    pub(crate) async fn open(address: SocketAddr, token: &str, resume: Option<&str>) -> Option<Self> {
        Self::open_with(address, token, resume, false).await
    }

    /// The same; a narrow one is soon felt by the node when nobody reads.
    pub(crate) async fn open_with(
        address: SocketAddr,
        token: &str,
        resume: Option<&str>,
        narrow: bool,
    ) -> Option<Self> {
        let socket = timeout(DEADLINE, Self::handshake(address, narrow)).await.ok()??;
        let mut wire = Self { socket, last_id: 0, resume: String::new(), resumed: false };
        let mut connect = json!({"token": token});
        if let Some(resume) = resume {
            connect["resume"] = resume.into();
        }
        timeout(DEADLINE, async {
            wire.send("connect", connect).await?;
            match wire.next().await {
                Coming::Message(message, _) => {
                    wire.resume = message["connect"]["resume"].as_str()?.to_owned();
                    wire.resumed = message["connect"]["resumed"] == true;
                    Some(wire)
                }
                Coming::End(_) | Coming::Broken(_) => None,
            }
        })
        .await
        .ok()?
    }

    async fn handshake(address: SocketAddr, narrow: bool) -> Option<WebSocketStream<TcpStream>> {
        let socket = TcpSocket::new_v4().ok()?;
        if narrow {
            socket.set_recv_buffer_size(16 << 10).ok()?;
        }
        let stream = socket.connect(address).await.ok()?;
        stream.set_nodelay(true).ok()?;
        let mut request = format!("ws://{address}/ws").into_client_request().ok()?;
        request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("ullim.v1.json"));
        tokio_tungstenite::client_async(request, stream).await.ok().map(|(socket, _)| socket)
    }

    /// Sends a command: its id, if it could be written in time.
    pub(crate) async fn send(&mut self, name: &str, body: Value) -> Option<u64> {
        self.last_id += 1;
        let message = json!({"id": self.last_id, name: body}).to_string();
        timeout(DEADLINE, self.socket.send(Message::text(message))).await.ok()?.ok()?;
        Some(self.last_id)
    }

    /// The next message. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Coming {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => match serde_json::from_str(text.as_str()) {
                    Ok(value) => return Coming::Message(value, text.as_str().to_owned()),
                    Err(_) => return Coming::Broken(format!("no JSON: {}", text.as_str())),
                },
                Some(Ok(Message::Close(frame))) => return Coming::End(frame.map_or(0, |frame| frame.code.into())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Coming::End(0),
            }
        }
    }
}
