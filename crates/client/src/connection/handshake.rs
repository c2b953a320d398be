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
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, BufWriter, Chain};
use tokio::net::TcpStream;

use super::{Ended, writer};
use crate::endpoint::Endpoint;
use crate::tls;
use crate::wire::SUBPROTOCOL;

/// How much of a refusal is read, in bytes.
const REFUSAL: usize = 4096;

/// What came with the answer, then the rest.
pub(super) type Read = Chain<Cursor<Bytes>, Box<dyn AsyncRead + Send + Unpin>>;

pub(super) async fn shake(endpoint: &Endpoint) -> Result<(Read, writer::Socket), Ended> {
    let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port))
        .await
        .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
        .map_err(|error| Ended::broken(format!("cannot connect: {error}")))?;
    let Some(tls) = &endpoint.tls else {
        let (begun, stream) = upgrade(endpoint, stream).await?;
        let (read, write) = stream.into_split();
        return Ok(halves(begun, read, write));
    };
    let stream = tls::encrypt(tls, &endpoint.host, stream).await.map_err(Ended::retried)?;
    let (begun, stream) = upgrade(endpoint, stream).await?;
    let (read, write) = tokio::io::split(stream);
    Ok(halves(begun, read, write))
}

fn halves(
    begun: Bytes,
    read: impl AsyncRead + Send + Unpin + 'static,
    write: impl AsyncWrite + Send + Unpin + 'static,
) -> (Read, writer::Socket) {
    let read: Box<dyn AsyncRead + Send + Unpin> = Box::new(read);
    (Cursor::new(begun).chain(read), BufWriter::new(Box::new(write)))
}

/// Gives what came behind the answer, and the stream.
async fn upgrade<S>(endpoint: &Endpoint, stream: S) -> Result<(Bytes, S), Ended>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let upgraded = exchange(endpoint, stream).await?;
    let parts =
        upgraded.downcast::<TokioIo<S>>().map_err(|_| Ended::broken("the handshake gave back another stream"))?;
    Ok((parts.read_buf, parts.io.into_inner()))
}

async fn exchange<S>(endpoint: &Endpoint, stream: S) -> Result<Upgraded, Ended>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
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
