//! Clients that do not finish what they have begun: with TLS, with a request, with reading.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, interval};

use crate::client::{Client, Hello, Tls, soon};
use crate::running::{Pair, Running};

/// The beginning of a hello that says that it is longer.
const HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";

#[tokio::test]
async fn half_a_hello_is_not_waited_for() {
    let pair = Pair::new();
    let running = Running::with_tls(&pair, |config| config.handshake_timeout = Duration::from_millis(100));
    let began = Instant::now();
    let mut silent = TcpStream::connect(running.tls_address()).await.unwrap();
    let mut dripping = TcpStream::connect(running.tls_address()).await.unwrap();
    dripping.write_all(HELLO).await.unwrap();
    let ended = async {
        let mut pace = interval(Duration::from_millis(5));
        let mut bytes = [0; 16];
        loop {
            tokio::select! {
                read = dripping.read(&mut bytes) => return read.unwrap_or_default(),
                _ = pace.tick() => drop(dripping.try_write(b"\0")),
            }
        }
    };
    assert_eq!(soon("the end of the one that drips", ended).await, 0);
    assert_eq!(soon("the end of the silent one", silent.read(&mut [0; 16])).await.unwrap(), 0);
    assert!(began.elapsed() >= Duration::from_millis(100));
    running.counted("both failures", |counters| counters.tls.failures == 2).await;
}

#[tokio::test]
async fn the_deadline_covers_the_handshake_and_the_request_together() {
    let pair = Pair::new();
    let running = Running::with_tls(&pair, |config| config.handshake_timeout = Duration::from_secs(1));
    let mut stream = Tls::trusting(&pair).connect(running.tls_address()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let mut answer = Vec::new();
    soon("the end", stream.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&answer));
}

/// How many handshakes begin at once: more than a shard has with the workers.
const BURST: usize = 200;

#[tokio::test]
async fn handshakes_that_wait_for_the_workers_have_their_turn() {
    let pair = Pair::slow();
    let running = Running::with_tls(&pair, |config| {
        config.shards = 1;
        config.handshake_timeout = Duration::from_secs(60);
    });
    let tls = Tls::trusting(&pair);
    let hellos: Vec<Hello> = (0..BURST).map(|_| Hello::new(&tls)).collect();
    let mut streams = Vec::new();
    for _ in &hellos {
        streams.push(TcpStream::connect(running.tls_address()).await.unwrap());
    }
    for (hello, stream) in hellos.iter().zip(&mut streams) {
        hello.send(stream).await;
    }
    for (hello, stream) in hellos.into_iter().zip(&mut streams) {
        assert!(soon("the rest of a handshake", hello.finish(stream)).await);
    }
    let counters = running.counted("all of them", |counters| counters.tls.handshakes == BURST as u64).await;
    assert_eq!(counters.tls.failures, 0);
}

#[tokio::test]
async fn those_who_are_halfway_keep_nobody_waiting() {
    let pair = Pair::new();
    let running = Running::with_tls(&pair, |config| config.handshake_timeout = Duration::from_secs(60));
    let mut client = Client::tls(&Tls::trusting(&pair), running.tls_address()).await.subscribed("chat:1").await;
    let mut halfway = Vec::new();
    for number in 0..200 {
        let (address, begin) = match number % 2 {
            0 => (running.tls_address(), HELLO),
            _ => (running.address(), &b"GET / HTTP/1.1\r\nHost: "[..]),
        };
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(begin).await.unwrap();
        halfway.push(stream);
    }
    client.round_trip("chat:1").await;
    Client::tls(&Tls::trusting(&pair), running.tls_address()).await.is_there().await;
    Client::plain(running.address()).await.is_there().await;
    for stream in &halfway {
        assert!(stream.try_read(&mut [0; 1]).is_err(), "it is waited for");
    }
}
