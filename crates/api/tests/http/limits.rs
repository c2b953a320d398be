//! What bounds connections and requests.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use ullim_api::Config;

use crate::fixture::{KEY, assert_refused, listener_with, parts, rest, with_key};

const PUBLISH: &str = r#"{"channel":"chat:1","text":"x"}"#;

fn head(length: usize) -> String {
    format!("POST /api/publish HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ncontent-length: {length}\r\n\r\n")
}

#[tokio::test]
async fn a_body_that_drips_is_given_up() {
    let listener = listener_with(Config { request_timeout: Duration::from_millis(100), ..with_key() }).await;
    let mut stream = TcpStream::connect(listener.address).await.unwrap();
    stream.write_all(head(PUBLISH.len()).as_bytes()).await.unwrap();
    stream.write_all(&PUBLISH.as_bytes()[..5]).await.unwrap();
    let answer = rest(&mut stream).await;
    assert_refused(&answer, 408, "bad_message");
    assert!(answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn a_connection_that_sends_no_whole_head_is_closed() {
    let listener = listener_with(Config { idle_timeout: Duration::from_millis(100), ..with_key() }).await;
    for sent in ["", "GET /health/li", "GET /health/live HTTP/1.1\r\nhost: x\r\n"] {
        let mut stream = TcpStream::connect(listener.address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let answer = rest(&mut stream).await;
        assert!(!answer.contains("200"), "{answer}");
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_answers() {
    let listener = listener_with(Config { idle_timeout: Duration::from_millis(100), ..with_key() }).await;
    let mut stream = TcpStream::connect(listener.address).await.unwrap();
    let request = format!("{}{PUBLISH}", head(PUBLISH.len()));
    stream.write_all(format!("{request}{request}").as_bytes()).await.unwrap();
    assert_eq!(rest(&mut stream).await.matches("HTTP/1.1 200").count(), 2);
}

#[tokio::test]
async fn beyond_the_limit_of_connections_an_operator_still_sees_the_node() {
    let listener = listener_with(Config { max_connections: 1, ..with_key() }).await;
    let mut first = TcpStream::connect(listener.address).await.unwrap();
    first.write_all(b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answered = [0; 12];
    first.read_exact(&mut answered).await.unwrap();
    assert_eq!(&answered, b"HTTP/1.1 200");
    assert_eq!(parts(&listener.get("/health/live").await).0, 200);
    let refused = listener.post("/api/publish", PUBLISH).await;
    assert_refused(&refused, 503, "unavailable");
    assert!(refused.contains("internal.max_connections") && refused.contains("retry-after: 1"), "{refused}");
    assert!(listener.broker.channels_heard().is_empty());
}

#[tokio::test]
async fn beyond_the_limit_of_requests_a_backend_is_told_to_come_again() {
    let listener = listener_with(Config { max_requests: 1, ..with_key() }).await;
    let held = listener.broker.answers.clone().lock_owned().await;
    let mut first = TcpStream::connect(listener.address).await.unwrap();
    first.write_all(format!("{}{PUBLISH}", head(PUBLISH.len())).as_bytes()).await.unwrap();
    while listener.broker.channels_heard().is_empty() {
        tokio::task::yield_now().await;
    }
    let refused = listener.post("/api/publish", PUBLISH).await;
    assert_refused(&refused, 503, "unavailable");
    assert!(refused.contains("internal.max_requests") && refused.contains("retry-after: 1"), "{refused}");
    assert_eq!(parts(&listener.get("/health/live").await).0, 200);
    drop(held);
    let mut answered = [0; 12];
    first.read_exact(&mut answered).await.unwrap();
    assert_eq!(&answered, b"HTTP/1.1 200");
    assert_eq!(parts(&listener.post("/api/publish", PUBLISH).await).0, 200);
}

#[tokio::test]
async fn a_request_that_is_under_way_is_ended_before_the_listener() {
    let mut listener = listener_with(with_key()).await;
    let held = listener.broker.answers.clone().lock_owned().await;
    let mut idle = TcpStream::connect(listener.address).await.unwrap();
    let mut busy = TcpStream::connect(listener.address).await.unwrap();
    busy.write_all(format!("{}{PUBLISH}", head(PUBLISH.len())).as_bytes()).await.unwrap();
    while listener.broker.channels_heard().is_empty() {
        tokio::task::yield_now().await;
    }
    listener.shutdown.cancel();
    assert_eq!(rest(&mut idle).await, "");
    drop(held);
    assert!(rest(&mut busy).await.starts_with("HTTP/1.1 200"));
    assert!(listener.task.join_next().await.unwrap().unwrap().is_ok());
}
