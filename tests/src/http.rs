//! Plain HTTP/1.1, as much as the internal listener needs.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{Response, within};

/// `GET url`. A listener that is not there answers with status 0.
pub async fn get(url: &str) -> Response {
    send("GET", url, &[], b"").await
}

/// `POST url` with a JSON body.
pub async fn post(url: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
    send("POST", url, headers, body).await
}

/// The address in a URL.
pub fn address(url: &str) -> SocketAddr {
    split(url).0
}

async fn send(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
    let (address, path) = split(url);
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    if method == "POST" {
        request += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    }
    request += "\r\n";
    within(url, async {
        let Ok(mut stream) = TcpStream::connect(address).await else {
            return Response::default();
        };
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        Response::parse(&answer).unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&answer))).0
    })
    .await
}

fn split(url: &str) -> (SocketAddr, &str) {
    let (_, rest) = url.split_once("://").unwrap_or_else(|| panic!("no scheme in {url}"));
    let slash = rest.find('/').unwrap_or(rest.len());
    let path = if slash == rest.len() { "/" } else { &rest[slash..] };
    (rest[..slash].parse().unwrap(), path)
}

/// `POST url` with a JSON body, where nothing may be there to answer: `None` if no whole answer came. It waits as long
/// as the other side does.
pub async fn try_post(url: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Option<Response> {
    let (address, path) = split(url);
    let mut request = format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    request += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(&[request.as_bytes(), &body].concat()).await.ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    Response::parse(&answer).map(|(response, _)| response)
}
