//! Plain HTTP on the clients' listeners.

use tokio::net::TcpStream;
use ullim_gateway::{Page, Pages};

use crate::client::{Client, Tls, ask};
use crate::running::{Pair, Running};

const LARGE: usize = 3 << 20;

fn pages() -> Pages {
    Pages::new(|path, query| match path {
        "/" => Some(Page::new("text/html; charset=utf-8", &b"<h1>hello</h1>"[..])),
        "/large" => Some(Page::new("text/plain", vec![b'z'; LARGE])),
        "/query" => Some(Page { status: 404, ..Page::new("text/plain", query.unwrap_or("none").as_bytes().to_vec()) }),
        _ => None,
    })
}

async fn get(running: &Running, request: &str) -> crate::client::Answer {
    let stream = TcpStream::connect(running.address()).await.unwrap();
    ask(stream, &format!("{request} HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n")).await
}

#[tokio::test]
async fn pages_are_served_on_both_listeners_beside_websockets() {
    let pair = Pair::new();
    let running = Running::start(Some(&pair), pages(), |_| {}).unwrap();
    let page = get(&running, "GET /").await;
    assert_eq!((page.status, page.body.as_slice()), (200, &b"<h1>hello</h1>"[..]));
    for line in [
        "Content-Type: text/html; charset=utf-8",
        "Content-Length: 14",
        "Connection: close",
        "X-Content-Type-Options: nosniff",
        "Cache-Control: no-store",
        "Referrer-Policy: no-referrer",
        "Content-Security-Policy: default-src 'self'; connect-src 'self' ws: wss:; base-uri 'none'; \
         frame-ancestors 'none'",
    ] {
        assert!(page.head.contains(&format!("\r\n{line}\r\n")) || page.head.ends_with(line), "{line}: {}", page.head);
    }
    let tls = Tls::trusting(&pair);
    let large = ask(tls.connect(running.tls_address()).await.unwrap(), "GET /large HTTP/1.1\r\n\r\n").await;
    assert_eq!((large.status, large.body.len()), (200, LARGE));
    assert!(large.body.iter().all(|byte| *byte == b'z'));
    Client::tls(&tls, running.tls_address()).await.is_there().await;
    Client::plain(running.address()).await.is_there().await;
}

#[tokio::test]
async fn a_page_has_a_query_a_status_and_a_head() {
    let running = Running::start(None, pages(), |_| {}).unwrap();
    let page = get(&running, "GET /query?a=%20b?c").await;
    assert_eq!((page.status, page.body.as_slice()), (404, &b"a=%20b?c"[..]));
    assert_eq!(get(&running, "GET /query").await.body, b"none");
    let head = get(&running, "HEAD /large").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(head.head.contains(&format!("Content-Length: {LARGE}\r\n")), "{}", head.head);
    let post = get(&running, "POST /").await;
    assert_eq!(post.status, 405);
    assert!(post.head.contains("\r\nAllow: GET"), "{}", post.head);
    assert_eq!(get(&running, "GET /other").await.status, 404);
}

#[tokio::test]
async fn without_pages_a_sentence_says_what_this_is() {
    let running = Running::plain(|_| {});
    for (request, status) in [("GET /", 426), ("HEAD /ws", 426), ("POST /ws", 405), ("GET /x", 404)] {
        let answer = get(&running, request).await;
        assert_eq!(answer.status, status, "{request}");
        assert_eq!(answer.body.is_empty(), request.starts_with("HEAD"), "{request}");
        assert!(!answer.head.contains("Content-Security-Policy"));
    }
    assert!(get(&running, "GET /").await.head.contains("\r\nUpgrade: websocket\r\n"));
}
