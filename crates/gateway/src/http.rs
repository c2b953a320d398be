//! What is not an upgrade: plain HTTP, served by hyper with the bytes already read.

use std::convert::Infallible;
use std::io::Cursor;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::capacity::Permit;
use crate::routes::WEBSOCKET_PATHS;

/// How long one connection is served.
const SERVED: Duration = Duration::from_secs(10);

/// Answers the request that begins with `read`.
pub(crate) async fn serve(stream: std::net::TcpStream, read: Vec<u8>, permit: Permit) {
    let stream = match TcpStream::from_std(stream) {
        Ok(stream) => stream,
        Err(error) => return tracing::debug!(%error, "a connection was lost before it was served"),
    };
    let (reader, writer) = stream.into_split();
    let io = TokioIo::new(tokio::io::join(Cursor::new(read).chain(reader), writer));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).keep_alive(false);
    let connection = builder.serve_connection(io, service_fn(answer));
    match tokio::time::timeout(SERVED, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a request was not served"),
        Err(_) => tracing::debug!("a request took too long"),
    }
    drop(permit);
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, text) = if !WEBSOCKET_PATHS.contains(&request.uri().path()) {
        (StatusCode::NOT_FOUND, "there is nothing here; WebSockets are served at / and /ws\n")
    } else if request.method() != Method::GET && request.method() != Method::HEAD {
        (StatusCode::METHOD_NOT_ALLOWED, "a WebSocket is opened with GET\n")
    } else {
        (StatusCode::UPGRADE_REQUIRED, "this is a WebSocket endpoint: connect with a WebSocket client\n")
    };
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain; charset=utf-8"));
    if status == StatusCode::UPGRADE_REQUIRED {
        headers.insert(header::UPGRADE, header::HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_VERSION, header::HeaderValue::from_static("13"));
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(header::ALLOW, header::HeaderValue::from_static("GET"));
    }
    Ok(response)
}
