//! Limits per address, and proxies that speak for others.

use serde_json::json;
use tokio::task::JoinSet;
use ullim_tests::{Client, Encoding, Node, Raw, Request, eventually};

use crate::bystander::Bystander;
use crate::turn;

async fn status(node: &Node, request: &Request) -> u16 {
    Raw::dial(node.address()).await.ask(request).await.status
}

fn from(address: &str) -> Request {
    Request::default().with("X-Forwarded-For", address)
}

#[tokio::test]
async fn an_address_holds_only_so_many_connections() {
    let node =
        Node::builder().set("client.per_address.loopback", "true").set("client.per_address.connections", "3").start();
    let node = node.await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(Client::connect(&node, Encoding::Json).await);
    }
    let refused = Raw::dial(node.address()).await.ask(&Request::default()).await;
    assert_eq!(refused.status, 429, "{refused:?}");
    assert!(refused.header("Retry-After").is_some() && refused.body.contains(' '), "{refused:?}");
    clients.pop();
    eventually("room for another", async || (status(&node, &Request::default()).await == 101).then_some(())).await;
    for client in &mut clients {
        client.ok("ping", json!({})).await;
    }
}

#[tokio::test]
async fn an_address_has_only_so_many_connections_that_have_not_shown_who_they_are() {
    let node = Node::builder()
        .set("client.per_address.loopback", "true")
        .set("client.per_address.unauthenticated", "2")
        .start()
        .await;
    let mut first = Client::open(&node, Encoding::Json).await;
    let _second = Raw::upgraded(&node).await;
    assert_eq!(status(&node, &Request::default()).await, 429);
    first.ok("connect", json!({"token": node.addresses.token})).await;
    let _third = Raw::upgraded(&node).await;
    assert_eq!(status(&node, &Request::default()).await, 429);
    first.ok("ping", json!({})).await;
}

#[tokio::test]
async fn an_address_opens_only_so_many_connections_a_second() {
    let node = Node::builder()
        .set("client.per_address.loopback", "true")
        .set("client.per_address.handshakes_per_second", "5")
        .start()
        .await;
    let mut statuses = Vec::new();
    for _ in 0..20 {
        statuses.push(status(&node, &Request::default()).await);
    }
    let refused = statuses.iter().filter(|status| **status == 429).count();
    assert!((10..=15).contains(&refused), "{statuses:?}");
    eventually("another second", async || (status(&node, &Request::default()).await == 101).then_some(())).await;
}

#[tokio::test]
async fn a_trusted_proxy_speaks_for_its_clients_and_nobody_else_does() {
    let node = Node::builder()
        .set("client.trusted_proxies", "127.0.0.0/8,10.0.0.0/8")
        .set("client.per_address.connections", "1")
        .start()
        .await;
    let mut raw = Raw::dial(node.address()).await;
    assert_eq!(raw.ask(&from("203.0.113.7")).await.status, 101);
    for same in ["203.0.113.7", "198.51.100.1, 203.0.113.7", "1.2.3.4, 203.0.113.7, 10.1.2.3", " 203.0.113.7 "] {
        assert_eq!(status(&node, &from(same)).await, 429, "{same}");
    }
    for other in ["203.0.113.8", "203.0.113.7, 203.0.113.9", "2001:db8:1::1"] {
        let mut other_raw = Raw::dial(node.address()).await;
        assert_eq!(other_raw.ask(&from(other)).await.status, 101, "{other}");
        let again = if other.contains(':') { "2001:db8:1::2" } else { other };
        assert_eq!(status(&node, &from(again)).await, 429, "{again}");
    }
    for rubbish in ["unknown", "203.0.113.7, x", "1.2.3", "<script>"] {
        assert_eq!(status(&node, &from(rubbish)).await, 400, "{rubbish}");
    }

    let untrusting =
        Node::builder().set("client.per_address.loopback", "true").set("client.per_address.connections", "1").start();
    let untrusting = untrusting.await;
    let mut raw = Raw::dial(untrusting.address()).await;
    assert_eq!(raw.ask(&from("203.0.113.7")).await.status, 101);
    assert_eq!(status(&untrusting, &from("203.0.113.8")).await, 429, "the header of a stranger changes nothing");
}

#[tokio::test]
async fn loopback_is_exempt_unless_configured() {
    let node = Node::with("client.per_address.connections", "1").await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(Client::connect(&node, Encoding::Json).await);
    }
}

#[tokio::test]
async fn ten_thousand_half_open_handshakes_delay_nobody() {
    const HALF_OPEN: usize = 10_000;
    const KIB_EACH: u64 = 4;
    let _turn = turn::take().await;
    let node = Node::with("client.handshake_timeout", "20s").await;
    let mut bystander = Bystander::of(&node).await;
    let before = node.process.resident_kib();
    let mut half_open = Vec::with_capacity(HALF_OPEN);
    let mut dialling = JoinSet::new();
    for lane in 0..20 {
        let address = node.address();
        dialling.spawn(async move {
            let mut dialled = Vec::new();
            for _ in 0..HALF_OPEN / 20 {
                let mut raw = Raw::dial(address).await;
                raw.send(b"GET /ws HTTP/1.1\r\nHost: localhost\r\n").await;
                dialled.push(raw);
            }
            (lane, dialled)
        });
    }
    while let Some(dialled) = dialling.join_next().await {
        half_open.extend(dialled.unwrap().1);
        bystander.is_undisturbed().await;
    }
    let grown = node.process.resident_kib().saturating_sub(before);
    assert!(grown < HALF_OPEN as u64 * KIB_EACH, "{grown} KiB for {HALF_OPEN} half-open handshakes");
    bystander.is_undisturbed().await;
    let mut client = Client::connect(&node, Encoding::Json).await;
    client.ok("ping", json!({})).await;
    let first = half_open[0].response().await;
    assert_eq!(first.status, 408, "{first:?}");
}
