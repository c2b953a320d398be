//! Owns the opening handshake (RFC 6455, 4.1): an HTTP request out, a socket that speaks `ullim.v1.json` back.
//!
//! Over hyper itself, because fastwebsockets' own client hides the sentence with which a node refuses, does not look at
//! the accept key, and keeps hyper's buffers around the socket.

use std::io::Cursor;

use bytes::Bytes;
use fastwebsockets::handshake::generate_key;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::upgrade::Upgraded;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, BufWriter, Chain};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;

use super::{Ended, writer};
use crate::config::Endpoint;
use crate::wire::SUBPROTOCOL;

/// How much of a refusal is read, in bytes.
const REFUSAL: usize = 4096;

/// What came with the answer, then the rest.
pub(super) type Read = Chain<Cursor<Bytes>, OwnedReadHalf>;

pub(super) async fn shake(endpoint: &Endpoint) -> Result<(Read, writer::Socket), Ended> {
    let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port))
        .await
        .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
        .map_err(|error| Ended::broken(format!("cannot connect: {error}")))?;
    let upgraded = upgrade(endpoint, stream).await?;
    let parts = upgraded
        .downcast::<TokioIo<TcpStream>>()
        .map_err(|_| Ended::broken("the handshake gave back another stream"))?;
    let (read, write) = parts.io.into_inner().into_split();
    let read = Cursor::new(parts.read_buf).chain(read);
    Ok((read, BufWriter::new(write)))
}

async fn upgrade(endpoint: &Endpoint, stream: TcpStream) -> Result<Upgraded, Ended> {
    let failed = |error: hyper::Error| Ended::broken(format!("the handshake failed: {error}"));
    let key = generate_key();
    let request = Request::get(&endpoint.target)
        .header(header::HOST, &endpoint.authority)
        .header(header::UPGRADE, "websocket")
        .header(header::CONNECTION, "Upgrade")
        .header(header::SEC_WEBSOCKET_KEY, &key)
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL)
        .body(Empty::<Bytes>::new())
        .map_err(|error| Ended::broken(error.to_string()))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    // The sender goes with the exchange: without it the connection comes to an end, upgraded or not.
    let exchange = async move {
        let mut response = sender.send_request(request).await.map_err(failed)?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(refused(response).await);
        }
        check(&response, &key)?;
        hyper::upgrade::on(&mut response).await.map_err(failed)
    };
    let (upgraded, _) = tokio::join!(exchange, connection.with_upgrades());
    upgraded
}

/// A node refuses with a sentence that says why.
async fn refused(response: Response<Incoming>) -> Ended {
    let status = response.status();
    let body = Limited::new(response.into_body(), REFUSAL).collect().await;
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    let sentence = String::from_utf8_lossy(&body);
    Ended::broken(format!("the handshake was refused: {status}: {}", sentence.trim()))
}

fn check(response: &Response<Incoming>, key: &str) -> Result<(), Ended> {
    let header = |name| {
        let value = response.headers().get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or("")
    };
    if !header(header::UPGRADE).eq_ignore_ascii_case("websocket") {
        return Err(Ended::broken("the server upgraded to something else"));
    }
    let accept = accept(key)?;
    if response.headers().get(header::SEC_WEBSOCKET_ACCEPT) != Some(&accept) {
        return Err(Ended::broken("the server's accept key is wrong"));
    }
    if header(header::SEC_WEBSOCKET_PROTOCOL) != SUBPROTOCOL {
        return Err(Ended::broken(format!("the server does not speak {SUBPROTOCOL}")));
    }
    Ok(())
}

/// What a server has to make of `key`: fastwebsockets tells when it is asked to accept a request that holds it.
fn accept(key: &str) -> Result<HeaderValue, Ended> {
    let request =
        Request::get("/").header(header::SEC_WEBSOCKET_KEY, key).header(header::SEC_WEBSOCKET_VERSION, "13").body(());
    let request = request.map_err(|error| Ended::broken(error.to_string()))?;
    let (mut response, _) =
        fastwebsockets::upgrade::upgrade(request).map_err(|error| Ended::broken(error.to_string()))?;
    let accept = response.headers_mut().remove(header::SEC_WEBSOCKET_ACCEPT);
    accept.ok_or_else(|| Ended::broken("no accept key can be computed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455, 1.3.
    #[test]
    fn the_accept_key_is_the_one_of_the_specification() {
        let accept = accept("dGhlIHNhbXBsZSBub25jZQ==").unwrap();
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
