//! Owns what a URL says: `ws://` or `wss://`, a host, a port and a path.

use hyper::Uri;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::config::ConfigError;
use crate::tls::Tls;

/// A URL, taken apart.
#[derive(Clone)]
pub(crate) struct Endpoint {
    /// As the user wrote it, for events and logs.
    pub(crate) url: String,
    /// The name or address to resolve, an IPv6 address without its brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// What the `Host` header says.
    pub(crate) authority: String,
    /// The target of the request line.
    pub(crate) target: String,
    /// `None` for `ws://`.
    pub(crate) tls: Option<Tls>,
}

impl Endpoint {
    /// Asks `connector` only if the URL wants TLS.
    pub(crate) fn parse(
        url: &str,
        connector: impl FnOnce() -> Result<TlsConnector, ConfigError>,
    ) -> Result<Self, ConfigError> {
        let bad = |problem: &str| ConfigError::BadUrl { url: url.to_owned(), problem: problem.to_owned() };
        let uri: Uri = url.parse().map_err(|error: hyper::http::uri::InvalidUri| bad(&error.to_string()))?;
        let is_secure = match uri.scheme_str() {
            Some("ws") => false,
            Some("wss") => true,
            _ => return Err(bad("it does not begin with ws:// or wss://")),
        };
        let authority = uri.authority().ok_or_else(|| bad("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(bad("it holds credentials: use the token"));
        }
        let host = authority.host().trim_matches(['[', ']']);
        if host.is_empty() {
            return Err(bad("it names no host"));
        }
        let tls = if is_secure {
            let name = ServerName::try_from(host.to_owned())
                .map_err(|_| bad("no certificate can be for a host of this name"))?;
            Some(Tls { connector: connector()?, name })
        } else {
            None
        };
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        Ok(Self {
            url: url.to_owned(),
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(if is_secure { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
            target: target.to_owned(),
            tls,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Endpoint, ConfigError> {
        Endpoint::parse(url, || Err(ConfigError::NoAuthorities))
    }

    #[test]
    fn urls_are_taken_apart() {
        let endpoint = parse("ws://[::1]:8000/ws?a=b").unwrap();
        assert_eq!((endpoint.host.as_str(), endpoint.port), ("::1", 8000));
        assert_eq!(endpoint.authority, "[::1]:8000");
        assert_eq!(endpoint.target, "/ws?a=b");
        let endpoint = parse("ws://example.org").unwrap();
        assert_eq!((endpoint.port, endpoint.target.as_str()), (80, "/"));
    }

    #[test]
    fn only_wss_asks_for_authorities() {
        assert!(parse("ws://example.org").is_ok());
        assert_eq!(parse("wss://example.org").err(), Some(ConfigError::NoAuthorities));
    }

    #[test]
    fn urls_that_cannot_work_are_refused() {
        for url in ["", "example.org", "http://example.org", "ws://a:b@example.org", "wss://a_b!c"] {
            assert!(matches!(parse(url), Err(ConfigError::BadUrl { .. })), "{url}");
        }
    }
}
