//! Reading a document over HTTP: one GET, from an address that was looked at before it is connected to.
//!
//! There is no proxy, no compression, and no redirect that is not allowed. The name is resolved here, and what was
//! checked is what is connected to: a name that means another address the next time wins nothing.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, HOST, LOCATION, USER_AGENT};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::config::{ConfigError, JwksConfig};
use crate::jwks::address;

/// The most bytes of an answer's head.
const MAX_HEAD_BYTES: usize = 16 << 10;

/// The most redirects in a row, where they are allowed.
const MAX_REDIRECTS: usize = 3;

/// Where a document is, and what may be done to get it.
pub(crate) struct Fetcher {
    target: Target,
    tls: TlsConnector,
    bytes: usize,
    timeout: Duration,
    allow_private_addresses: bool,
    allow_redirects: bool,
}

/// Why a document could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("its host cannot be resolved: {0}")]
    Resolve(io::Error),
    #[error("its host has no public address (auth.jwks.allow_private_addresses)")]
    Private,
    #[error("it cannot be connected to: {0}")]
    Connect(io::Error),
    #[error("{0}")]
    Tls(io::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("the answer's status is {0}, not 200")]
    Status(StatusCode),
    #[error("it redirects to another place (auth.jwks.allow_redirects)")]
    Redirected,
    #[error("it redirects more than {MAX_REDIRECTS} times")]
    Redirects,
    #[error("it redirects to what cannot be followed: {0}")]
    RedirectedTo(#[from] UrlError),
    #[error("the answer is compressed, though it was asked not to be")]
    Compressed,
    #[error("the answer has more than {0} bytes (auth.jwks.bytes)")]
    TooLarge(usize),
}

/// Why a URL is not gone to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UrlError {
    #[error("it is no https URL")]
    Malformed,
    #[error("a URL with a user or a password is not taken")]
    Credentials,
    #[error("it must be https; plain http is for loopback addresses, with auth.jwks.allow_private_addresses")]
    Plain,
}

/// A URL that may be gone to, as far as its text says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    is_https: bool,
    authority: String,
    host: String,
    port: u16,
    path: String,
}

enum Answer {
    Document(Vec<u8>),
    Redirect(String),
}

impl Fetcher {
    pub(crate) fn new(url: &str, config: &JwksConfig) -> Result<Self, ConfigError> {
        let target = Target::parse(url, config.allow_private_addresses);
        let target = target.map_err(|error| ConfigError::unusable("auth.jwks.url", error))?;
        Ok(Self {
            target,
            tls: connector(config.ca_file.as_deref())?,
            bytes: config.bytes,
            timeout: config.timeout,
            allow_private_addresses: config.allow_private_addresses,
            allow_redirects: config.allow_redirects,
        })
    }

    /// The document. The caller sets the deadline.
    pub(crate) async fn fetch(&self) -> Result<Vec<u8>, FetchError> {
        let mut target = self.target.clone();
        for _ in 0..=MAX_REDIRECTS {
            match self.ask(&target).await? {
                Answer::Document(document) => return Ok(document),
                Answer::Redirect(location) => target = target.redirected(&location, self.allow_private_addresses)?,
            }
        }
        Err(FetchError::Redirects)
    }

    async fn ask(&self, target: &Target) -> Result<Answer, FetchError> {
        let stream = self.connect(target).await?;
        if !target.is_https {
            return self.get(stream, target).await;
        }
        let name = ServerName::try_from(target.host.clone()).map_err(|_| UrlError::Malformed)?;
        let stream = self.tls.connect(name, stream).await.map_err(FetchError::Tls)?;
        self.get(stream, target).await
    }

    /// A connection to one of the host's addresses that may be connected to.
    async fn connect(&self, target: &Target) -> Result<TcpStream, FetchError> {
        let found = tokio::net::lookup_host((target.host.as_str(), target.port)).await.map_err(FetchError::Resolve)?;
        let allowed: Vec<SocketAddr> = found.filter(|address| self.allows(target, address)).collect();
        let mut problem = FetchError::Private;
        for address in &allowed {
            // One that does not answer leaves time for the others.
            let patience = self.timeout / u32::try_from(allowed.len()).unwrap_or(u32::MAX);
            match tokio::time::timeout(patience, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => problem = FetchError::Connect(error),
                Err(_) => problem = FetchError::Connect(io::ErrorKind::TimedOut.into()),
            }
        }
        Err(problem)
    }

    fn allows(&self, target: &Target, address: &SocketAddr) -> bool {
        let is_private_allowed = target.is_https || address::is_loopback(address.ip());
        address::is_public(address.ip()) && target.is_https || self.allow_private_addresses && is_private_allowed
    }

    async fn get<S>(&self, stream: S, target: &Target) -> Result<Answer, FetchError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(MAX_HEAD_BYTES);
        let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        let exchange = async {
            let response = sender.send_request(target.request()?).await?;
            self.answer(response).await
        };
        // The connection is driven beside the exchange, which knows best when it is over.
        let driven = async {
            drop(connection.await);
            std::future::pending().await
        };
        tokio::select! {
            answer = exchange => answer,
            answer = driven => answer,
        }
    }

    async fn answer(&self, response: Response<Incoming>) -> Result<Answer, FetchError> {
        let (head, mut body) = response.into_parts();
        let status = head.status;
        if let Some(location) = head.headers.get(LOCATION).filter(|_| status.is_redirection()) {
            if !self.allow_redirects {
                return Err(FetchError::Redirected);
            }
            return Ok(Answer::Redirect(location.to_str().map_err(|_| UrlError::Malformed)?.to_owned()));
        }
        if status != StatusCode::OK {
            return Err(FetchError::Status(status));
        }
        if head.headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
            return Err(FetchError::Compressed);
        }
        let mut document = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            if document.len() + data.len() > self.bytes {
                return Err(FetchError::TooLarge(self.bytes));
            }
            document.extend_from_slice(&data);
        }
        Ok(Answer::Document(document))
    }
}

impl Target {
    fn parse(url: &str, is_plain_allowed: bool) -> Result<Self, UrlError> {
        let uri: Uri = url.parse().map_err(|_| UrlError::Malformed)?;
        let is_https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") if is_plain_allowed => false,
            Some("http") => return Err(UrlError::Plain),
            _ => return Err(UrlError::Malformed),
        };
        let authority = uri.authority().ok_or(UrlError::Malformed)?;
        if authority.as_str().contains('@') {
            return Err(UrlError::Credentials);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(UrlError::Malformed);
        }
        Ok(Self {
            is_https,
            authority: authority.as_str().to_owned(),
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(if is_https { 443 } else { 80 }),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        })
    }

    /// Where `location` leads: a URL, or a path on the same host.
    fn redirected(&self, location: &str, is_plain_allowed: bool) -> Result<Self, UrlError> {
        if !location.starts_with('/') || location.starts_with("//") {
            return Self::parse(location, is_plain_allowed);
        }
        let scheme = if self.is_https { "https" } else { "http" };
        Self::parse(&format!("{scheme}://{}{location}", self.authority), is_plain_allowed)
    }

    fn request(&self) -> Result<Request<Empty<Bytes>>, UrlError> {
        let request = Request::get(&self.path)
            .header(HOST, &self.authority)
            .header(ACCEPT, "application/jwk-set+json, application/json")
            .header(ACCEPT_ENCODING, "identity")
            .header(USER_AGENT, "ullim");
        request.body(Empty::new()).map_err(|_| UrlError::Malformed)
    }
}

/// TLS that trusts the certificates of `ca_file`, or the public authorities. The latter are built in: an image that
/// holds the binary alone has no list of its own.
fn connector(ca_file: Option<&Path>) -> Result<TlsConnector, ConfigError> {
    let unusable = |problem: String| ConfigError::unusable("auth.jwks.ca_file", problem);
    let mut roots = RootCertStore::empty();
    match ca_file {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(file) => {
            for certificate in CertificateDer::pem_file_iter(file).map_err(|error| unusable(error.to_string()))? {
                let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
                roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(unusable("it holds no CERTIFICATE in PEM".to_owned()));
            }
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string()))?;
    Ok(TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Result<Target, UrlError> {
        Target::parse(url, false)
    }

    #[test]
    fn a_url_says_where_to_go() {
        let found = target("https://id.example/keys?a=b").unwrap();
        assert_eq!((found.host.as_str(), found.port, found.path.as_str()), ("id.example", 443, "/keys?a=b"));
        let found = target("https://[2606:4700::1]:8443").unwrap();
        assert_eq!((found.host.as_str(), found.port, found.path.as_str()), ("2606:4700::1", 8443, "/"));
    }

    #[test]
    fn only_https_without_credentials_is_gone_to() {
        assert_eq!(target("http://127.0.0.1/"), Err(UrlError::Plain));
        assert!(Target::parse("http://127.0.0.1/", true).is_ok());
        assert_eq!(target("https://a:b@id.example/"), Err(UrlError::Credentials));
        for url in ["", "id.example", "/keys", "ftp://id.example/", "file:///etc/passwd", "https://", "https:///x"] {
            assert_eq!(target(url), Err(UrlError::Malformed), "{url}");
        }
    }

    #[test]
    fn a_redirect_leads_to_a_url_or_a_path() {
        let from = target("https://id.example:8443/a/b").unwrap();
        let to = |location| from.redirected(location, false).map(|target| (target.authority, target.path));
        assert_eq!(to("/keys"), Ok(("id.example:8443".to_owned(), "/keys".to_owned())));
        assert_eq!(to("https://other.example/keys"), Ok(("other.example".to_owned(), "/keys".to_owned())));
        assert_eq!(to("http://other.example/keys"), Err(UrlError::Plain));
        assert_eq!(to("//other.example/keys"), Err(UrlError::Malformed));
        assert_eq!(to("keys"), Err(UrlError::Malformed));
    }
}
