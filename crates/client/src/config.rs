//! Owns what a client is told before it starts: where to connect, as whom, and how patiently.

use std::fmt;
use std::time::Duration;

use hyper::Uri;

/// How to reach a cluster. [`Config::new`] fills in the defaults.
#[derive(Clone)]
pub struct Config {
    /// The nodes, as `ws://host[:port][/path]`. They are tried in turn, from a random one on; at least one is needed.
    pub urls: Vec<String>,
    /// The JWT of the session; `None` connects anonymously. It is never logged.
    pub token: Option<String>,
    /// The longest wait before the second attempt; it doubles with each further one. 100 ms.
    pub backoff_base: Duration,
    /// The longest wait before any attempt. 20 s.
    pub backoff_cap: Duration,
    /// How long one attempt may take, from the TCP connection to the reply to `connect`. 10 s.
    pub connect_timeout: Duration,
    /// How long a command may take, the wait for a connection included. 10 s.
    pub command_timeout: Duration,
    /// How many events may wait to be read before the socket is no longer read. 1024; 0 is taken as 1.
    pub events: usize,
}

impl Config {
    /// The defaults, for the nodes at `urls`.
    pub fn new(urls: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            urls: urls.into_iter().map(Into::into).collect(),
            token: None,
            backoff_base: Duration::from_millis(100),
            backoff_cap: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(10),
            command_timeout: Duration::from_secs(10),
            events: 1024,
        }
    }
}

/// Shows everything but the token.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("urls", &self.urls)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("backoff_base", &self.backoff_base)
            .field("backoff_cap", &self.backoff_cap)
            .field("connect_timeout", &self.connect_timeout)
            .field("command_timeout", &self.command_timeout)
            .field("events", &self.events)
            .finish()
    }
}

/// Why a [`Config`] cannot be used. None of these gets better by trying again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// There is no URL.
    #[error("there is no URL to connect to")]
    NoUrls,
    /// A URL asks for TLS, which this client does not speak yet.
    #[error("{url:?}: wss:// is not supported yet, only ws://")]
    Tls {
        /// The URL as it was given.
        url: String,
    },
    /// A URL cannot be understood.
    #[error("{url:?}: {problem}")]
    BadUrl {
        /// The URL as it was given.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// A URL, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
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
}

impl Endpoint {
    pub(crate) fn parse(url: &str) -> Result<Self, ConfigError> {
        let bad = |problem: &str| ConfigError::BadUrl { url: url.to_owned(), problem: problem.to_owned() };
        let uri: Uri = url.parse().map_err(|error: hyper::http::uri::InvalidUri| bad(&error.to_string()))?;
        match uri.scheme_str() {
            Some("ws") => {}
            Some("wss") => {
                return Err(ConfigError::Tls { url: url.to_owned() });
            }
            _ => return Err(bad("it does not begin with ws://")),
        }
        let authority = uri.authority().ok_or_else(|| bad("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(bad("it holds credentials: use the token"));
        }
        let host = authority.host().trim_matches(['[', ']']);
        if host.is_empty() {
            return Err(bad("it names no host"));
        }
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        Ok(Self {
            url: url.to_owned(),
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(80),
            authority: authority.as_str().to_owned(),
            target: target.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let endpoint = Endpoint::parse("ws://[::1]:8000/ws?a=b").unwrap();
        assert_eq!((endpoint.host.as_str(), endpoint.port), ("::1", 8000));
        assert_eq!(endpoint.authority, "[::1]:8000");
        assert_eq!(endpoint.target, "/ws?a=b");
        let endpoint = Endpoint::parse("ws://example.org").unwrap();
        assert_eq!((endpoint.port, endpoint.target.as_str()), (80, "/"));
    }

    #[test]
    fn urls_that_cannot_work_are_refused() {
        assert!(matches!(Endpoint::parse("wss://example.org"), Err(ConfigError::Tls { .. })));
        for url in ["", "example.org", "http://example.org", "ws://a:b@example.org"] {
            assert!(matches!(Endpoint::parse(url), Err(ConfigError::BadUrl { .. })), "{url}");
        }
    }

    #[test]
    fn the_token_is_not_shown() {
        let mut config = Config::new(["ws://localhost"]);
        config.token = Some("secret".to_owned());
        assert!(!format!("{config:?}").contains("secret"));
    }
}
