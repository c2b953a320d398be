//! Where Redis is, and who we are there: the URL, read without connecting.

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

use crate::config::redacted;

/// Why a configuration for Redis cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// `rediss://`.
    #[error("TLS to Redis (\"{0}\") is not supported yet: use redis://host:port")]
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
    /// A prefix that would break the names of the channels.
    #[error("the prefix \"{0}\" must have 1 to 64 bytes, without braces, *, ?, [, ], \\ and white space")]
    Prefix(String),
}

/// A server and the credentials for it.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
}

impl Address {
    /// Reads a URL. A database number in it means nothing to pub/sub.
    pub(super) fn parse(url: &str) -> Result<Self, AddressError> {
        match url.split_once(':').map_or("", |(scheme, _)| scheme).to_ascii_lowercase().as_str() {
            "rediss" | "valkeys" => return Err(AddressError::Tls(redacted(url))),
            "unix" | "redis+unix" | "valkey+unix" => {
                return Err(AddressError::UnixSocket(redacted(url)));
            }
            _ => {}
        }
        let malformed = |reason: String| AddressError::Malformed { url: redacted(url), reason };
        let info = url.into_connection_info().map_err(|error| malformed(error.to_string()))?;
        let ConnectionAddr::Tcp(host, port) = info.addr() else {
            return Err(malformed("it names no host".to_owned()));
        };
        let credentials = info.redis_settings();
        Ok(Self {
            host: host.clone(),
            port: *port,
            username: credentials.username().map(str::to_owned),
            password: credentials.password().map(str::to_owned),
        })
    }

    /// For redis-rs, without its defaults.
    pub(super) fn connection_info(&self) -> redis::RedisResult<ConnectionInfo> {
        let mut settings =
            redis::RedisConnectionInfo::default().set_protocol(redis::ProtocolVersion::RESP3).set_skip_set_lib_name();
        if let Some(username) = &self.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &self.password {
            settings = settings.set_password(password);
        }
        let info = (self.host.clone(), self.port).into_connection_info()?;
        Ok(info.set_redis_settings(settings))
    }
}

/// Without the credentials.
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
        let address = Address::parse("redis://u:p%40ss@db.example:6380/7").unwrap();
        assert_eq!((address.host.as_str(), address.port), ("db.example", 6380));
        assert_eq!(address.username.as_deref(), Some("u"));
        assert_eq!(address.password.as_deref(), Some("p@ss"));
        let address = Address::parse("redis://[::1]").unwrap();
        assert_eq!(address.to_string(), "[::1]:6379");
        assert!(address.password.is_none());
    }

    #[test]
    fn what_is_not_supported_is_said_without_the_password() {
        let refusal = |url: &str| Address::parse(url).err().unwrap().to_string();
        assert!(refusal("rediss://:secret@db").contains("TLS to Redis"));
        assert!(refusal("unix:///run/redis.sock").contains("unix sockets"));
        for url in ["http://:secret@db", "redis://:secret@", "rediss://:secret@db", "secret"] {
            assert!(!refusal(url).contains("secret"), "{url}");
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
