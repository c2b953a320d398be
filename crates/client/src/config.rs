//! Owns what a client is told before it starts: where to connect, as whom, and how patiently.

use std::path::PathBuf;
use std::time::Duration;

use crate::token::Token;

/// How to reach a cluster. [`Config::new`] fills in the defaults.
#[derive(Debug, Clone)]
pub struct Config {
    /// The nodes, as `ws://host[:port][/path]`, or `wss://` with TLS. They are tried in turn, from a random one on; at
    /// least one is needed.
    pub urls: Vec<String>,
    /// The JWT of the session, or a callback that fetches one: it is asked at every connect, and before the token
    /// expires. `None` connects anonymously.
    pub token: Option<Token>,
    /// A file with certificates in PEM, of authorities that are trusted besides those of the system. It is read once,
    /// and only if a URL is `wss://`.
    pub ca_file: Option<PathBuf>,
    /// The longest wait before the second attempt; it doubles with each further one. 100 ms.
    pub backoff_base: Duration,
    /// The longest wait before any attempt. 20 s.
    pub backoff_cap: Duration,
    /// How long one attempt may take, from the callback for the token to the reply to `connect`. 10 s.
    pub connect_timeout: Duration,
    /// How long a command may take, the wait for a connection included. A callback for a token to refresh with, or to
    /// subscribe with, may take as long. 10 s.
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
            ca_file: None,
            backoff_base: Duration::from_millis(100),
            backoff_cap: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(10),
            command_timeout: Duration::from_secs(10),
            events: 1024,
        }
    }
}

/// Why a [`Config`] cannot be used. None of these gets better by trying again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// There is no URL.
    #[error("there is no URL to connect to")]
    NoUrls,
    /// A URL cannot be understood.
    #[error("{url:?}: {problem}")]
    BadUrl {
        /// The URL as it was given.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The file with further certificate authorities cannot be used.
    #[error("the CA file {}: {problem}", path.display())]
    BadCaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A URL asks for TLS, but neither the system nor the configuration names an authority to trust.
    #[error("no certificate authority is known: install those of the system, or give a CA file")]
    NoAuthorities,
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_not_shown() {
        let mut config = Config::new(["ws://localhost"]);
        config.token = Some("secret".into());
        assert!(!format!("{config:?}").contains("secret"));
    }
}
