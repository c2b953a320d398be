//! Names: of servers, of ourselves there, and of channels and keys.

use redis::{ConnectionAddr, IntoConnectionInfo};

use crate::config::redacted;

/// Why a configuration for Redis cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// A file for TLS cannot be used.
    #[error("TLS to Redis: {0}")]
    Tls(String),
    /// A unix socket.
    #[error("unix sockets (\"{0}\") are not supported yet: use redis://host:port")]
    UnixSocket(String),
    /// Not a URL, or not one of Redis.
    #[error("\"{url}\" is not a Redis URL like redis://user:password@host:6379: {reason}")]
    Malformed {
        /// The URL without its password.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A sentinel or a node of a Cluster is not named by host and port.
    #[error("\"{0}\" is not a server like host:port")]
    Server(String),
    /// Sentinels and a Cluster at once, or sentinels without the name of a master.
    #[error("{0}")]
    Form(&'static str),
    /// A prefix that would break the names of the channels.
    #[error("the prefix \"{0}\" must have 1 to 64 bytes, without braces, *, ?, [, ], \\ and white space")]
    Prefix(String),
}

/// A server.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
}

/// Who we are at a server.
#[derive(Clone, Default)]
pub(super) struct Credentials {
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
}

/// What a URL says.
pub(super) struct Url {
    pub(super) address: Address,
    pub(super) credentials: Credentials,
    pub(super) is_tls: bool,
}

impl Url {
    /// Reads a URL. A database number in it means nothing to pub/sub.
    pub(super) fn parse(url: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = url.split_once(':').unwrap_or_default();
        let is_tls = match scheme.to_ascii_lowercase().as_str() {
            "rediss" | "valkeys" => true,
            "unix" | "redis+unix" | "valkey+unix" => return Err(AddressError::UnixSocket(redacted(url))),
            _ => false,
        };
        let malformed = |reason: String| AddressError::Malformed { url: redacted(url), reason };
        // TLS is our own: redis-rs is compiled without.
        let plain = if is_tls { format!("redis:{rest}") } else { url.to_owned() };
        let info = plain.into_connection_info().map_err(|error| malformed(error.to_string()))?;
        let ConnectionAddr::Tcp(host, port) = info.addr() else {
            return Err(malformed("it names no host".to_owned()));
        };
        let settings = info.redis_settings();
        let credentials = Credentials {
            username: settings.username().map(str::to_owned),
            password: settings.password().map(str::to_owned),
        };
        Ok(Self { address: Address { host: host.clone(), port: *port }, credentials, is_tls })
    }
}

impl Address {
    /// Reads `host:port`, or `[address]:port`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let forbidden = |c: char| c.is_control() || c.is_whitespace() || "/@[]".contains(c);
        let port = port.parse().ok().filter(|port| *port > 0)?;
        (!host.is_empty() && host.len() <= 255 && !host.contains(forbidden))
            .then(|| Self { host: host.to_owned(), port })
    }
}

impl Credentials {
    /// For redis-rs, without its defaults.
    pub(super) fn settings(&self) -> redis::RedisConnectionInfo {
        let mut settings =
            redis::RedisConnectionInfo::default().set_protocol(redis::ProtocolVersion::RESP3).set_skip_set_lib_name();
        if let Some(username) = &self.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &self.password {
            settings = settings.set_password(password);
        }
        settings
    }
}

/// Without what is secret.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// What the names of channels begin and end with in Redis.
#[derive(Debug, Clone)]
pub(super) struct WireNames {
    /// What precedes a channel's name.
    head: String,
    prefix: String,
    control: String,
}

impl WireNames {
    pub(super) fn new(prefix: &str) -> Result<Self, AddressError> {
        let forbidden = |c: char| c.is_control() || c.is_whitespace() || "{}*?[]\\".contains(c);
        if prefix.is_empty() || prefix.len() > 64 || prefix.contains(forbidden) {
            return Err(AddressError::Prefix(prefix.to_owned()));
        }
        Ok(Self { head: format!("{prefix}:{{"), prefix: prefix.to_owned(), control: format!("{prefix}:control") })
    }

    /// The name of a channel in Redis.
    pub(super) fn write(&self, channel: &str) -> String {
        format!("{}{channel}}}", self.head)
    }

    /// The channel of the orders between nodes.
    pub(super) fn control(&self) -> &str {
        &self.control
    }

    /// A channel that probes a link. Its slot is that of `tag`. It is none that the pattern of all channels matches, so
    /// that whoever listens to all of them does not hear it.
    pub(super) fn canary(&self, tag: &str) -> String {
        format!("{}:canary:{{{tag}}}", self.prefix)
    }

    pub(super) fn is_canary(&self, name: &str) -> bool {
        name.strip_prefix(&*self.prefix).is_some_and(|name| name.starts_with(":canary:{"))
    }

    /// What all channels' names match, and nothing else of ours.
    pub(super) fn pattern(&self) -> String {
        // Neither the prefix nor the braces mean anything in a pattern.
        format!("{}*}}", self.head)
    }

    /// The hash of the nodes' leases.
    pub(super) fn nodes(&self) -> String {
        format!("{}:nodes", self.prefix)
    }

    /// The set of the channels that a node has members in.
    pub(super) fn node_channels(&self, node: &str) -> String {
        format!("{}:node:{node}:channels", self.prefix)
    }

    /// A channel's keys: presence, users, leaving.
    pub(super) fn presence(&self, channel: &str) -> [String; 3] {
        ["presence", "users", "leaving"].map(|key| format!("{}{channel}}}:{key}", self.head))
    }

    /// The channel that a name in Redis means; `None` if it cannot be one of ours.
    pub(super) fn read<'a>(&self, wire: &'a [u8]) -> Option<&'a str> {
        let name = wire.strip_prefix(self.head.as_bytes())?.strip_suffix(b"}")?;
        std::str::from_utf8(name).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_host_port_and_credentials() {
        let url = Url::parse("redis://u:p%40ss@db.example:6380/7").unwrap();
        assert_eq!((url.address.host.as_str(), url.address.port, url.is_tls), ("db.example", 6380, false));
        assert_eq!(url.credentials.username.as_deref(), Some("u"));
        assert_eq!(url.credentials.password.as_deref(), Some("p@ss"));
        let url = Url::parse("redis://[::1]").unwrap();
        assert_eq!(url.address.to_string(), "[::1]:6379");
        assert!(url.credentials.password.is_none());
        let url = Url::parse("rediss://u:p@db:6390").unwrap();
        assert_eq!((url.address.to_string().as_str(), url.is_tls), ("db:6390", true));
    }

    #[test]
    fn what_is_not_supported_is_said_without_the_password() {
        let refusal = |url: &str| Url::parse(url).err().unwrap().to_string();
        assert!(refusal("unix:///run/redis.sock").contains("unix sockets"));
        for url in ["http://:secret@db", "redis://:secret@", "rediss://:secret@", "secret"] {
            assert!(!refusal(url).contains("secret"), "{url}");
        }
        let credentials = Credentials { username: Some("u".to_owned()), password: Some("secret".to_owned()) };
        assert!(!format!("{credentials:?}").contains("secret"));
    }

    #[test]
    fn servers_are_named_by_host_and_port() {
        for (text, host, port) in
            [("db:1", "db", 1), ("[::1]:7000", "::1", 7000), ("10.0.0.1:65535", "10.0.0.1", 65535)]
        {
            assert_eq!(Address::parse(text), Some(Address { host: host.to_owned(), port }), "{text}");
        }
        for text in ["", "db", ":1", "db:0", "db:x", "db:65536", "redis://db:1", "u@db:1", "a b:1"] {
            assert_eq!(Address::parse(text), None, "{text}");
        }
    }

    #[test]
    fn names_go_there_and_back() {
        let names = WireNames::new("ullim").unwrap();
        assert_eq!(names.write("chat:42"), "ullim:{chat:42}");
        assert_eq!(names.read(b"ullim:{chat:42}"), Some("chat:42"));
        for other in ["ullim:chat", "other:{a}", "ullim:{a", "ullim:{a}:ids", ""] {
            assert_eq!(names.read(other.as_bytes()), None, "{other}");
        }
        for prefix in ["", "a{b", "a b", "a*", &"x".repeat(65)] {
            assert!(WireNames::new(prefix).is_err(), "{prefix}");
        }
    }
}
