//! What one address may take, on either listener and behind a proxy.

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use ullim_gateway::Config;
use ullim_gateway::config::PerAddress;

use crate::client::{Client, Tls, UPGRADE, ask, soon};
use crate::running::{Pair, Running};

const NO_LIMITS: PerAddress =
    PerAddress { connections: 0, unauthenticated: 0, handshakes_per_second: 0, loopback: true };

fn limited(running: &Running, limit: &str) -> u64 {
    running.gateway.counters().address_limited[limit]
}

async fn dial(running: &Running) -> TcpStream {
    TcpStream::connect(running.address()).await.unwrap()
}

#[tokio::test]
async fn too_many_connections_of_an_address_are_refused_until_one_goes() {
    let running = Running::plain(|config| config.per_address = PerAddress { connections: 2, ..NO_LIMITS });
    let first = Client::plain(running.address()).await;
    let mut second = Client::plain(running.address()).await;
    let refused = ask(dial(&running).await, &format!("{UPGRADE}\r\n")).await;
    assert_eq!(refused.status, 429);
    assert!(refused.head.contains("\r\nRetry-After: "), "{refused:?}");
    assert_eq!(limited(&running, "connections"), 1);
    second.is_there().await;
    drop(first);
    running.counted("one has gone", |counters| counters.hub.connections == 1).await;
    Client::plain(running.address()).await.is_there().await;
    running.counted("the refusal", |counters| counters.handshakes_refused.get(&429) == Some(&1)).await;
}

#[tokio::test]
async fn with_tls_they_are_closed_before_the_handshake() {
    let pair = Pair::new();
    let running = Running::with_tls(&pair, |config| config.per_address = PerAddress { connections: 1, ..NO_LIMITS });
    let mut first = Client::tls(&Tls::trusting(&pair), running.tls_address()).await;
    let mut second = TcpStream::connect(running.tls_address()).await.unwrap();
    assert_eq!(soon("the end", second.read(&mut [0; 1])).await.unwrap_or_default(), 0);
    assert_eq!(limited(&running, "connections"), 1);
    first.is_there().await;
}

#[tokio::test]
async fn handshakes_that_come_too_fast_are_refused() {
    let limit = |config: &mut Config| config.per_address = PerAddress { handshakes_per_second: 2, ..NO_LIMITS };
    let running = Running::plain(limit);
    // The burst may be used up more slowly than it recovers, but not for ever.
    let refused = soon("a refusal", async {
        loop {
            let answer = ask(dial(&running).await, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            if answer.status != 426 {
                return answer;
            }
        }
    });
    assert_eq!(refused.await.status, 429);
    assert_eq!(limited(&running, "handshakes"), 1);
}

#[tokio::test]
async fn those_who_never_say_who_they_are_are_few() {
    let limit = |config: &mut Config| config.per_address = PerAddress { unauthenticated: 2, ..NO_LIMITS };
    let running = Running::plain(limit);
    let silent = [dial(&running).await, dial(&running).await];
    assert_eq!(ask(dial(&running).await, &format!("{UPGRADE}\r\n")).await.status, 429);
    assert_eq!(limited(&running, "unauthenticated"), 1);
    drop(silent);
    // Their places come back.
    soon("a place", async { while ask(dial(&running).await, "GET / HTTP/1.1\r\n\r\n").await.status == 429 {} }).await;
}

#[tokio::test]
async fn behind_a_proxy_each_client_has_limits_of_its_own() {
    let pair = Pair::new();
    let running = Running::with_tls(&pair, |config| {
        config.per_address = PerAddress { connections: 1, ..NO_LIMITS };
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    });
    let request = |client: &str| format!("{UPGRADE}X-Forwarded-For: 198.51.100.1, {client}\r\n\r\n");
    let mut open = Vec::new();
    for client in ["203.0.113.1", "203.0.113.2", "2001:db8::1"] {
        let mut stream = dial(&running).await;
        let mut answer = [0; 12];
        tokio::io::AsyncWriteExt::write_all(&mut stream, request(client).as_bytes()).await.unwrap();
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 101", "{client}");
        open.push(stream);
    }
    assert_eq!(ask(dial(&running).await, &request("203.0.113.1")).await.status, 429);
    let within_tls = Tls::trusting(&pair).connect(running.tls_address()).await.unwrap();
    assert_eq!(ask(within_tls, &request("2001:db8::2")).await.status, 429, "the same /64");
    let page = "GET / HTTP/1.1\r\nX-Forwarded-For: 203.0.113.2\r\n\r\n";
    assert_eq!(ask(dial(&running).await, page).await.status, 429, "whatever is asked for");
    assert_eq!(limited(&running, "connections"), 3);
    assert_eq!(ask(dial(&running).await, &request("what?")).await.status, 400);
    // A health check: the proxy speaks for nobody.
    let mut checks = Vec::new();
    for _ in 0..3 {
        checks.push(Client::plain(running.address()).await);
    }
    assert_eq!(limited(&running, "connections"), 3);
}
