//! What is spoken within TLS, and how it ends.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::{Client, Tls, UPGRADE, ask, ends_in_order, frame, soon};
use crate::running::{Pair, Running};

#[tokio::test]
async fn clients_of_both_versions_and_without_tls_hear_each_other() {
    let pair = Pair::new();
    let running = Running::with_tls(&pair, |_| {});
    let old = Tls::speaking(&pair, &[&rustls::version::TLS12]);
    let new = Tls::speaking(&pair, &[&rustls::version::TLS13]);
    let mut old = Client::tls(&old, running.tls_address()).await.subscribed("chat:1").await;
    let mut new = Client::tls(&new, running.tls_address()).await.subscribed("chat:1").await;
    let mut plain = Client::plain(running.address()).await.subscribed("chat:1").await;
    assert_eq!(old.stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(new.stream.get_ref().1.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    old.publish("chat:1", "a").await;
    for heard in [old.publication().await, new.publication().await, plain.publication().await] {
        assert_eq!(heard, "a");
    }
    plain.publish("chat:1", "b").await;
    for heard in [old.publication().await, new.publication().await, plain.publication().await] {
        assert_eq!(heard, "b");
    }
    let counters = running.counted("two handshakes", |counters| counters.tls.handshakes == 2).await;
    assert_eq!((counters.tls.failures, counters.handshake_duration.count()), (0, 3));
}

#[tokio::test]
async fn large_messages_go_both_ways_and_wait_for_their_reader() {
    let pair = Pair::new();
    let running = Running::with_tls(&pair, |_| {});
    let mut client = Client::tls(&Tls::trusting(&pair), running.tls_address()).await.subscribed("chat:1").await;
    let mut reader = Client::tls(&Tls::trusting(&pair), running.tls_address()).await.subscribed("chat:1").await;
    for size in [1, 16_000, 16_384, 16_385, 100_000, 1_000_000] {
        let data = "x".repeat(size);
        client.publish("chat:1", &data).await;
        assert!(client.publication().await == data, "{size} bytes");
    }
    // Nobody has read here: most of it waits in the node, where the first message that waits does not count.
    let lengths = [1, 16_000, 16_384, 16_385, 100_000, 1_000_000];
    for length in lengths {
        assert_eq!(reader.publication().await.len(), length);
    }
    reader.is_there().await;
}

#[tokio::test]
async fn many_commands_in_one_record_are_all_answered() {
    let pair = Pair::new();
    let running = Running::with_tls(&pair, |_| {});
    let mut client = Client::tls(&Tls::trusting(&pair), running.tls_address()).await.subscribed("chat:1").await;
    let data = "y".repeat(3000);
    let mut bytes = Vec::new();
    for number in 0..150 {
        let text = format!(r#"{{"id":{},"publish":{{"channel":"chat:1","data":"{number}{data}"}}}}"#, number + 100);
        bytes.extend(frame(0x81, text.as_bytes()));
    }
    let Client { stream, .. } = &mut client;
    stream.write_all(&bytes).await.unwrap();
    for number in 0..150 {
        assert!(client.publication().await.starts_with(&format!("{number}y")), "{number}");
    }
}

#[tokio::test]
async fn a_closed_connection_ends_in_order() {
    let pair = Pair::new();
    let running = Running::with_tls(&pair, |_| {});
    let tls = Tls::trusting(&pair);
    let mut client = Client::tls(&tls, running.tls_address()).await;
    client.stream.write_all(&frame(0x88, &[0x03, 0xe8])).await.unwrap();
    assert_eq!(client.frame().await, (8, vec![0x03, 0xe8]));
    assert!(ends_in_order(client.stream).await, "close_notify comes before the end");

    let mut client = Client::tls(&tls, running.tls_address()).await;
    client.stream.write_all(&frame(0x82, b"no binary here")).await.unwrap();
    assert_eq!(client.frame().await.0, 8);
    client.stream.write_all(&frame(0x88, &[0x03, 0xeb])).await.unwrap();
    assert!(ends_in_order(client.stream).await, "also where the node closes");
    running.counted("both ended", |counters| counters.hub.connections == 0).await;
}

#[tokio::test]
async fn an_abrupt_end_is_a_lost_connection() {
    let pair = Pair::new();
    let running = Running::with_tls(&pair, |_| {});
    let client = Client::tls(&Tls::trusting(&pair), running.tls_address()).await;
    // The socket is closed without a word of TLS.
    drop(client.stream.into_inner().0);
    running.counted("a lost connection", |counters| counters.hub.ended.get(&1006) == Some(&1)).await;
    let client = Client::tls(&Tls::trusting(&pair), running.tls_address()).await;
    let mut stream = client.stream;
    stream.shutdown().await.unwrap();
    running.counted("another, with close_notify", |counters| counters.hub.ended.get(&1006) == Some(&2)).await;
}

#[tokio::test]
async fn a_drain_tells_clients_within_tls_and_ends() {
    let pair = Pair::new();
    let running = Running::with_tls(&pair, |_| {});
    let mut client = Client::tls(&Tls::trusting(&pair), running.tls_address()).await;
    let mut silent = TcpStream::connect(running.tls_address()).await.unwrap();
    let goes = async {
        assert!(client.next().await["push"]["reconnect"]["delay"].is_u64());
        drop(client);
    };
    let drained = async { tokio::join!(running.gateway.drain(std::time::Duration::from_secs(60)), goes) };
    soon("the drain", drained).await;
    let mut nothing = Vec::new();
    soon("the end", silent.read_to_end(&mut nothing)).await.unwrap_or_default();
    assert!(nothing.is_empty());
}

#[tokio::test]
async fn what_is_not_tls_ends_at_once() {
    let pair = Pair::new();
    let running = Running::with_tls(&pair, |_| {});
    let mut stream = TcpStream::connect(running.tls_address()).await.unwrap();
    stream.write_all(format!("{UPGRADE}\r\n").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    soon("the end", stream.read_to_end(&mut answer)).await.unwrap_or_default();
    assert!(!answer.starts_with(b"HTTP"), "an alert at most: {answer:?}");
    running.counted("a failure", |counters| counters.tls.failures == 1).await;
    // And TLS where there is none.
    let mut stream = TcpStream::connect(running.address()).await.unwrap();
    stream.write_all(b"\x16\x03\x01\x02\x00\x01").await.unwrap();
    let answer = ask(stream, "").await;
    assert_eq!(answer.status, 400);
}
