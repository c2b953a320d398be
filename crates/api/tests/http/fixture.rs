//! A listener, and a client that sends it whatever a test wants.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use ullim_api::{ApiState, ClientCounters, Config, CounterSource, Readiness};
use ullim_auth::Secret;
use ullim_hub::config::{NamespaceConfig, Namespaces};

use crate::fake::FakeBroker;

pub(crate) const KEY: &str = "a key for backends";

pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    pub(crate) readiness: Readiness,
    pub(crate) broker: Arc<FakeBroker>,
    /// Whether a backend wants the node to end.
    pub(crate) end: CancellationToken,
    pub(crate) shutdown: CancellationToken,
    pub(crate) task: JoinSet<std::io::Result<()>>,
}

/// With the key, a body of 1000 bytes at most, and the namespaces `chat`, `people`, which keeps presence, and
/// `orders`, which is recoverable.
pub(crate) async fn listener() -> Listener {
    listener_with(with_key()).await
}

pub(crate) fn with_key() -> Config {
    Config { api_key: Some(Secret::new(KEY)), ..Config::default() }
}

pub(crate) async fn listener_with(config: Config) -> Listener {
    listener_for(config, 1000).await
}

pub(crate) async fn listener_for(config: Config, body_bytes: usize) -> Listener {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let readiness = Readiness::default();
    let broker = Arc::new(FakeBroker::default());
    let people = NamespaceConfig { presence: true, ..NamespaceConfig::default() };
    let orders = NamespaceConfig { recoverable: true, ..NamespaceConfig::default() };
    let namespaces = [("chat", NamespaceConfig::default()), ("people", people), ("orders", orders)];
    let namespaces = namespaces.map(|(name, namespace)| (name.to_owned(), namespace));
    let end = CancellationToken::new();
    let state = ApiState {
        config,
        body_bytes,
        broker: broker.clone(),
        presence: broker.clone(),
        history: broker.clone(),
        namespaces: Arc::new(Namespaces(BTreeMap::from(namespaces))),
        readiness: readiness.clone(),
        end: end.clone(),
        counters: CounterSource::new(ClientCounters::default),
        config_hash: 7,
    };
    let shutdown = CancellationToken::new();
    let mut task = JoinSet::new();
    task.spawn(ullim_api::serve(socket, state, shutdown.clone()));
    Listener { address, readiness, broker, end, shutdown, task }
}

impl Listener {
    /// The answer to one request without a body.
    pub(crate) async fn get(&self, path: &str) -> String {
        self.ask("GET", path, "", "").await
    }

    /// The answer to one request with the key.
    pub(crate) async fn post(&self, path: &str, body: &str) -> String {
        self.ask("POST", path, KEY, body).await
    }

    /// The whole answer to one request.
    pub(crate) async fn ask(&self, method: &str, path: &str, key: &str, body: &str) -> String {
        let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {key}");
        self.raw(format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes()).await
    }

    /// What is answered to these bytes until the connection ends.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // Who is refused early may not be read to the end.
        let _ = stream.write_all(bytes).await;
        rest(&mut stream).await
    }
}

/// What comes until the connection ends.
pub(crate) async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await;
    read.expect("the connection stays open").unwrap();
    String::from_utf8(answer).unwrap()
}

/// The status and the JSON of an answer.
pub(crate) fn parts(answer: &str) -> (u16, serde_json::Value) {
    let status = answer.split(' ').nth(1).unwrap_or_else(|| panic!("no status in {answer:?}")).parse().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-type: application/json"), "{answer}");
    (status, serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}")))
}

/// Asserts that a refusal has this status and this name, and says why in a sentence.
pub(crate) fn assert_refused(answer: &str, status: u16, name: &str) {
    let (found, body) = parts(answer);
    assert_eq!((found, body["error"]["name"].as_str()), (status, Some(name)), "{answer}");
    assert!(body["error"]["message"].as_str().unwrap().contains(' '), "{answer}");
}
