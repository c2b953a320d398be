//! The listeners for STOMP: who gets in, without a request before it.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use ullim_gateway::config::PerAddress;
use ullim_gateway::{Config, StartError};

use crate::client::{Client, Tls, soon};
use crate::running::{Pair, Running};

const NO_LIMITS: PerAddress =
    PerAddress { connections: 0, unauthenticated: 0, handshakes_per_second: 0, loopback: true };

fn any() -> Option<SocketAddr> {
    Some("127.0.0.1:0".parse().unwrap())
}

fn plain(change: impl FnOnce(&mut Config)) -> Running {
    Running::plain(|config| {
        config.stomp.listen = any();
        change(config);
    })
}

fn with_tls(pair: &Pair, change: impl FnOnce(&mut Config)) -> Running {
    Running::with_tls(pair, |config| {
        config.tls.listen = None;
        config.stomp.tls_listen = any();
        change(config);
    })
}

async fn dial(address: Option<SocketAddr>) -> TcpStream {
    TcpStream::connect(address.unwrap()).await.unwrap()
}

/// Waits for the end, before which nothing may come.
async fn ends_without_a_word(mut stream: impl AsyncRead + Unpin) {
    let mut heard = Vec::new();
    soon("the end", stream.read_to_end(&mut heard)).await.unwrap_or_default();
    assert!(heard.is_empty(), "{}", String::from_utf8_lossy(&heard));
}

async fn has_connections(running: &Running, count: u64) {
    running.counted("connections", |counters| counters.hub.connections == count).await;
}

#[tokio::test]
async fn who_comes_is_a_connection_at_once() {
    let running = plain(|_| {});
    assert_eq!(running.gateway.stomp_tls_local_addr(), None);
    let silent = [dial(running.gateway.stomp_local_addr()).await, dial(running.gateway.stomp_local_addr()).await];
    has_connections(&running, 2).await;
    drop(silent);
    has_connections(&running, 0).await;
    Client::plain(running.address()).await.is_there().await;
}

#[tokio::test]
async fn who_comes_with_tls_is_one_after_the_handshake() {
    let pair = Pair::new();
    let running = with_tls(&pair, |_| {});
    assert_eq!((running.gateway.tls_local_addr(), running.gateway.stomp_local_addr()), (None, None));
    let address = running.gateway.stomp_tls_local_addr().unwrap();
    let halfway = TcpStream::connect(address).await.unwrap();
    let mut tls = Tls::trusting(&pair);
    tls.name_no_protocol();
    let mut stream = tls.connect(address).await.unwrap();
    let counters = running.counted("one connection", |counters| counters.hub.connections == 1).await;
    assert_eq!((counters.tls.handshakes, counters.tls.failures), (1, 0));
    stream.shutdown().await.unwrap();
    drop(halfway);
    has_connections(&running, 0).await;
}

#[tokio::test]
async fn a_browser_that_was_led_astray_is_not_heard() {
    let pair = Pair::new();
    let running = with_tls(&pair, |_| {});
    let astray = Tls::trusting(&pair).connect(running.gateway.stomp_tls_local_addr().unwrap()).await;
    assert!(astray.is_err(), "it names http/1.1");
    running.counted("a failure", |counters| counters.tls.failures == 1).await;
}

/// Subscribes and sends, and hears what was sent.
async fn speaks_stomp(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let frames = "STOMP\naccept-version:1.2\nhost:localhost\n\n\0\
                  SUBSCRIBE\nid:7\ndestination:/topic/chat:1\n\n\0\
                  SEND\ndestination:/topic/chat:1\ncontent-type:text/plain\n\nhello\0";
    stream.write_all(frames.as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    let all = async {
        while heard.iter().filter(|byte| **byte == 0).count() < 2 {
            assert_ne!(stream.read_buf(&mut heard).await.unwrap(), 0, "{}", String::from_utf8_lossy(&heard));
        }
    };
    soon("two frames", all).await;
    let heard = String::from_utf8(heard).unwrap();
    assert!(heard.starts_with("CONNECTED\nversion:1.2\n"), "{heard}");
    assert!(heard.contains("MESSAGE\n") && heard.contains("subscription:7\n"), "{heard}");
    assert!(heard.contains("\n\nhello\0"), "{heard}");
}

#[tokio::test]
async fn stomp_is_spoken_with_tls_and_without() {
    let pair = Pair::new();
    let running = with_tls(&pair, |config| config.stomp.listen = any());
    speaks_stomp(dial(running.gateway.stomp_local_addr()).await).await;
    let mut tls = Tls::trusting(&pair);
    tls.name_no_protocol();
    speaks_stomp(tls.connect(running.gateway.stomp_tls_local_addr().unwrap()).await.unwrap()).await;
}

#[tokio::test]
async fn half_a_handshake_is_not_waited_for() {
    let pair = Pair::new();
    let running = with_tls(&pair, |config| config.handshake_timeout = Duration::from_millis(100));
    ends_without_a_word(dial(running.gateway.stomp_tls_local_addr()).await).await;
    running.counted("a failure", |counters| counters.tls.failures == 1).await;
}

#[tokio::test]
async fn who_is_over_an_address_limit_is_closed_and_counted() {
    let running = plain(|config| config.per_address = PerAddress { connections: 1, ..NO_LIMITS });
    let first = dial(running.gateway.stomp_local_addr()).await;
    has_connections(&running, 1).await;
    ends_without_a_word(dial(running.gateway.stomp_local_addr()).await).await;
    assert_eq!(running.gateway.counters().address_limited["connections"], 1);
    drop(first);
    has_connections(&running, 0).await;
    let _second = dial(running.gateway.stomp_local_addr()).await;
    has_connections(&running, 1).await;
}

#[tokio::test]
async fn a_trusted_peer_that_sends_no_request_has_no_address_limits() {
    let running = plain(|config| {
        config.per_address = PerAddress { connections: 1, ..NO_LIMITS };
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    });
    let mut relayed = Vec::new();
    for _ in 0..5 {
        relayed.push(dial(running.gateway.stomp_local_addr()).await);
    }
    has_connections(&running, 5).await;
}

#[tokio::test]
async fn who_is_over_the_nodes_limit_is_closed_and_counted() {
    let running = plain(|config| config.max_connections = Some(1));
    let _first = dial(running.gateway.stomp_local_addr()).await;
    has_connections(&running, 1).await;
    ends_without_a_word(dial(running.gateway.stomp_local_addr()).await).await;
    assert_eq!(running.gateway.counters().handshakes_refused.get(&503), Some(&1));
}

#[tokio::test]
async fn a_drain_ends_everybody_and_refuses_the_next() {
    let pair = Pair::new();
    let running = with_tls(&pair, |config| {
        config.stomp.listen = any();
        config.handshake_timeout = Duration::from_secs(60);
    });
    let (address, tls_address) = (running.gateway.stomp_local_addr(), running.gateway.stomp_tls_local_addr());
    let silent = dial(address).await;
    has_connections(&running, 1).await;
    let halfway = dial(tls_address).await;
    let ended = async {
        let mut said = Vec::new();
        let mut silent = silent;
        soon("the end", silent.read_to_end(&mut said)).await.unwrap_or_default();
        drop(silent);
        ends_without_a_word(halfway).await;
    };
    let drained = async { tokio::join!(running.gateway.drain(Duration::ZERO), ended) };
    soon("the drain", drained).await;
    for address in [address, tls_address] {
        assert!(TcpStream::connect(address.unwrap()).await.is_err());
    }
}

#[tokio::test]
async fn what_cannot_be_listened_at_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let pair = Pair::new();
    let problem = |change: &dyn Fn(&mut Config)| match Running::try_with_tls(&pair, change) {
        Ok(_) => panic!("it has started"),
        Err(error) => error,
    };
    let error = problem(&|config| config.stomp.listen = taken.local_addr().ok());
    assert!(matches!(&error, StartError::ListenStomp(..)) && error.to_string().contains("client.stomp.listen"));
    let error = problem(&|config| config.stomp.tls_listen = taken.local_addr().ok());
    assert!(matches!(&error, StartError::ListenStompTls(..)) && error.to_string().contains("client.stomp.tls_listen"));
    let error = problem(&|config| {
        config.tls.listen = None;
        config.tls.certificate = None;
        config.stomp.tls_listen = any();
    });
    assert_eq!(error.to_string(), "client.tls.certificate is not set, but client.stomp.tls_listen is");
}
