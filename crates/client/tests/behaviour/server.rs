//! A node without a mind of its own: it accepts WebSockets and says what the test tells it to.

use std::convert::Infallible;
use std::future::Future;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fastwebsockets::{FragmentCollector, Frame, OpCode, upgrade};
use hyper::header::{HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper::{Request, body::Incoming};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;
use ullim_client::{Client, Config, Event, Events};

/// Fails the test if `what` does not happen in time.
pub(crate) async fn within<F: Future>(what: &str, future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(10), future).await.unwrap_or_else(|_| panic!("{what} did not happen"))
}

pub(crate) struct Server {
    pub(crate) url: String,
    peers: mpsc::Receiver<Peer>,
    _tasks: JoinSet<()>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::speaking("ullim.v1.json").await
    }

    /// A server that chooses `subprotocol`, whatever is offered.
    pub(crate) async fn speaking(subprotocol: &'static str) -> Self {
        Self::listening("127.0.0.1", subprotocol, None).await
    }

    /// A server with TLS, which is known as `host`.
    pub(crate) async fn secured(host: &str, tls: TlsAcceptor) -> Self {
        Self::listening(host, "ullim.v1.json", Some(tls)).await
    }

    async fn listening(host: &str, subprotocol: &'static str, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if tls.is_some() { "wss" } else { "ws" };
        let url = format!("{scheme}://{host}:{}", listener.local_addr().unwrap().port());
        let (accepted, peers) = mpsc::channel(16);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let (tls, accepted) = (tls.clone(), accepted.clone());
                connections.spawn(async move {
                    match tls {
                        None => accept(stream, subprotocol, accepted).await,
                        Some(tls) => {
                            // A client that does not trust this server hangs up.
                            if let Ok(stream) = tls.accept(stream).await {
                                accept(stream, subprotocol, accepted).await;
                            }
                        }
                    }
                });
            }
        });
        Self { url, peers, _tasks: tasks }
    }

    /// The next connection, which has said nothing yet.
    pub(crate) async fn peer(&mut self) -> Peer {
        within("a connection", self.peers.recv()).await.unwrap()
    }

    /// The next connection, with a session on it.
    pub(crate) async fn session(&mut self) -> Peer {
        let mut peer = self.peer().await;
        peer.greet().await;
        peer
    }

    /// A client of this server that is in a hurry.
    pub(crate) fn client(&self) -> (Client, Events) {
        ullim_client::connect(quick(&[&self.url])).unwrap()
    }
}

/// A configuration that is in a hurry.
pub(crate) fn quick(urls: &[&str]) -> Config {
    let mut config = Config::new(urls.iter().copied());
    config.backoff_base = Duration::from_millis(5);
    config.backoff_cap = Duration::from_millis(50);
    config
}

async fn accept<S>(stream: S, subprotocol: &'static str, accepted: mpsc::Sender<Peer>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    // An upgrade completes after its response, outside of the service.
    let upgrades = TaskTracker::new();
    let service = service_fn(|mut request: Request<Incoming>| {
        let offered = request.headers().get(SEC_WEBSOCKET_PROTOCOL);
        assert_eq!(offered, Some(&HeaderValue::from_static("ullim.v1.json")));
        let (mut response, upgraded) = upgrade::upgrade(&mut request).unwrap();
        let chosen = HeaderValue::from_static(subprotocol);
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, chosen);
        let accepted = accepted.clone();
        upgrades.spawn(async move {
            // The client may have gone away again.
            if let Ok(socket) = upgraded.await {
                let socket = FragmentCollector::new(socket);
                let _ = accepted.send(Peer { socket }).await;
            }
        });
        async move { Ok::<_, Infallible>(response) }
    });
    let http = hyper::server::conn::http1::Builder::new();
    let _ = http.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
}

/// The node's end of one connection. Dropping it drops the connection.
pub(crate) struct Peer {
    socket: FragmentCollector<TokioIo<Upgraded>>,
}

impl Peer {
    pub(crate) async fn frame(&mut self) -> (OpCode, Vec<u8>) {
        let frame = within("a frame", self.socket.read_frame()).await.unwrap();
        (frame.opcode, frame.payload.into())
    }

    /// The next command.
    pub(crate) async fn command(&mut self) -> Value {
        let (opcode, payload) = self.frame().await;
        assert_eq!(opcode, OpCode::Text);
        serde_json::from_slice(&payload).unwrap()
    }

    pub(crate) async fn send(&mut self, message: Value) {
        self.send_frame(Frame::text(message.to_string().into_bytes().into())).await;
    }

    pub(crate) async fn send_frame(&mut self, frame: Frame<'static>) {
        within("a write", self.socket.write_frame(frame)).await.unwrap();
    }

    /// Tells of the session with `body` beside what every session has; gives what the client said.
    pub(crate) async fn greet_as(&mut self, body: Value) -> Value {
        let command = self.command().await;
        let mut connected = json!({"session": "s", "ping": 25_000});
        connected.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        self.send(json!({"id": command["id"], "connect": connected})).await;
        command["connect"].clone()
    }

    /// Answers the next command, which must be `name`, with `body`; gives what the client said.
    pub(crate) async fn answer(&mut self, name: &str, body: Value) -> Value {
        let command = self.command().await;
        assert!(command[name].is_object(), "{command}");
        self.send(json!({"id": command["id"], name: body})).await;
        command[name].clone()
    }

    /// Pushes `body` on `channel`.
    pub(crate) async fn push(&mut self, channel: &str, mut body: Value) {
        body["channel"] = channel.into();
        self.send(json!({"push": body})).await;
    }

    pub(crate) async fn greet(&mut self) {
        self.greet_with(json!({"session": "s", "user": "alice", "ping": 25_000})).await;
    }

    pub(crate) async fn greet_with(&mut self, body: Value) {
        let command = self.command().await;
        assert!(command["connect"].is_object(), "{command}");
        self.send(json!({"id": command["id"], "connect": body})).await;
    }

    /// Refuses the next command.
    pub(crate) async fn refuse(&mut self, code: u16, name: &str, retry: bool) -> Value {
        let command = self.command().await;
        let error = error(code, name, retry);
        self.send(json!({"id": command["id"], "error": error})).await;
        command
    }

    /// Answers the next command, which must be `name`.
    pub(crate) async fn grant(&mut self, name: &str) -> Value {
        let command = self.command().await;
        assert!(command[name].is_object(), "{command}");
        self.send(json!({"id": command["id"], name: {}})).await;
        command
    }

    /// Answers the next subscribe command for many channels; gives the channels.
    pub(crate) async fn resubscribe(&mut self) -> Vec<String> {
        let command = self.command().await;
        let channels = command["subscribe"]["channels"].as_array().unwrap();
        self.send(json!({"id": command["id"], "subscribe": {"channels": channels}})).await;
        let names = channels.iter().map(|channel| channel["channel"].as_str().unwrap());
        names.map(str::to_owned).collect()
    }

    pub(crate) async fn publish(&mut self, channel: &str, text: &str) {
        let publication = json!({"text": text, "time": 7});
        self.send(json!({"push": {"channel": channel, "pub": publication}})).await;
    }

    pub(crate) async fn close(mut self, code: u16, reason: &str) {
        self.send_frame(Frame::close(code, reason.as_bytes())).await;
        while within("the close", self.socket.read_frame()).await.is_ok_and(|frame| frame.opcode != OpCode::Close) {}
    }
}

pub(crate) fn error(code: u16, name: &str, retry: bool) -> Value {
    json!({"code": code, "name": name, "message": "because", "retry": retry})
}

/// The next event that is not about connecting.
pub(crate) async fn next(events: &mut Events) -> Event {
    loop {
        let event = within("an event", events.next()).await.unwrap();
        if !matches!(event, Event::Connecting { .. } | Event::Connected { .. }) {
            return event;
        }
    }
}

/// Subscribes `client` to `channel` at `peer`.
pub(crate) async fn subscribe(client: &Client, peer: &mut Peer, channel: &str) {
    let (outcome, command) = tokio::join!(client.subscribe(channel), peer.grant("subscribe"));
    outcome.unwrap();
    assert_eq!(command["subscribe"]["channel"], channel);
}

pub(crate) fn text_of(event: Event) -> String {
    match event {
        Event::Publication {
            publication: ullim_client::Publication { data: ullim_client::Data::Text(text), .. },
            ..
        } => text,
        other => panic!("{other:?} is not a text"),
    }
}

/// The time in `seconds`, in Unix seconds.
pub(crate) fn seconds_from_now(seconds: u64) -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_secs() + seconds
}
