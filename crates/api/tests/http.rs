//! The internal listener as operators and backends meet it.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use ullim_api::{ApiState, ClientCounters, Config, CounterSource, Readiness};
use ullim_auth::Secret;
use ullim_broker::PayloadRules;
use ullim_broker::memory::MemoryBroker;
use ullim_hub::config::{NamespaceConfig, Namespaces};

struct Listener {
    address: SocketAddr,
    readiness: Readiness,
    shutdown: CancellationToken,
    task: JoinSet<std::io::Result<()>>,
}

async fn listener(api_key: Option<&str>) -> Listener {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let readiness = Readiness::default();
    let broker = Arc::new(MemoryBroker::new(&ullim_broker::Config::default(), PayloadRules::default()));
    let state = ApiState {
        config: Config { api_key: api_key.map(Secret::new), ..Config::default() },
        presence: broker.clone(),
        broker,
        config_hash: 7,
        namespaces: Arc::new(Namespaces(BTreeMap::from([("chat".to_owned(), NamespaceConfig::default())]))),
        body_bytes: 1000,
        readiness: readiness.clone(),
        counters: CounterSource::new(ClientCounters::default),
    };
    let shutdown = CancellationToken::new();
    let mut task = JoinSet::new();
    task.spawn(ullim_api::serve(socket, state, shutdown.clone()));
    Listener { address, readiness, shutdown, task }
}

impl Listener {
    /// The whole answer to one request.
    async fn ask(&self, method: &str, path: &str, key: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {key}");
        let request = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn publish(&self, key: &str, body: &str) -> String {
        self.ask("POST", "/api/publish", key, body).await
    }
}

#[tokio::test]
async fn a_node_lives_before_it_is_ready_and_while_it_drains() {
    let listener = listener(None).await;
    assert!(listener.ask("GET", "/health/live", "", "").await.starts_with("HTTP/1.1 200"));
    let starting = listener.ask("GET", "/health/ready", "", "").await;
    assert!(starting.starts_with("HTTP/1.1 503") && starting.contains("\"status\":\"starting\",\"reason\":"));
    listener.readiness.serving();
    let ready = listener.ask("GET", "/health/ready", "", "").await;
    assert!(ready.starts_with("HTTP/1.1 200") && ready.ends_with("{\"status\":\"ready\"}"));
    listener.readiness.draining();
    assert!(listener.ask("GET", "/health/ready", "", "").await.starts_with("HTTP/1.1 503"));
    assert!(listener.ask("GET", "/health/live", "", "").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_backend_publishes_with_the_key() {
    let listener = listener(Some("k")).await;
    let taken = listener.publish("k", r#"{"channel":"chat:1","data":{"a":1}}"#).await;
    assert!(taken.starts_with("HTTP/1.1 200") && taken.ends_with("{}"), "{taken}");
    let refused = listener.publish("other", r#"{"channel":"chat:1","text":"x"}"#).await;
    assert!(refused.starts_with("HTTP/1.1 401") && refused.contains("\"code\":103"), "{refused}");
    let unknown = listener.publish("k", r#"{"channel":"chatt:1","text":"x"}"#).await;
    assert!(unknown.starts_with("HTTP/1.1 404") && unknown.contains("unknown_namespace"), "{unknown}");
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused() {
    let listener = listener(Some("k")).await;
    let body = format!(r#"{{"channel":"chat:1","text":"{}"}}"#, "x".repeat(1000));
    let refused = listener.publish("k", &body).await;
    assert!(refused.starts_with("HTTP/1.1 413") && refused.contains("broker.payload_bytes"), "{refused}");
}

#[tokio::test]
async fn without_a_key_publishing_is_off() {
    let listener = listener(None).await;
    let refused = listener.publish("", r#"{"channel":"chat:1","text":"x"}"#).await;
    assert!(refused.starts_with("HTTP/1.1 403") && refused.contains("internal.api_key"), "{refused}");
}

#[tokio::test]
async fn metrics_are_openmetrics_and_the_listener_ends_when_told() {
    let mut listener = listener(None).await;
    let metrics = listener.ask("GET", "/metrics", "", "").await;
    assert!(metrics.contains("content-type: application/openmetrics-text") && metrics.contains("ullim_connections 0"));
    listener.shutdown.cancel();
    assert!(listener.task.join_next().await.unwrap().unwrap().is_ok());
}
