//! The `auth` section of the configuration.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::secret::Secret;

/// The fewest bytes of an HS256 secret (RFC 7518, 3.2: as many as the hash has).
pub(crate) const MIN_SECRET_BYTES: usize = 32;

/// How clients prove who they are.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The secret of HS256 tokens, at least 32 bytes. Without one no token is accepted.
    pub hs256_secret: Option<Secret>,
    /// Whether clients without a token are let in.
    pub anonymous: bool,
    /// What resume tokens are sealed with, at least 32 bytes, the same on all nodes. Without it it is derived from
    /// `hs256_secret`; without that too it is random, and a session can only be resumed on its own node.
    pub resume_secret: Option<Secret>,
    /// How long after its `connect` a session can be resumed, at most; never longer than its token.
    #[serde(with = "humantime_serde")]
    pub resume_ttl: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hs256_secret: None,
            anonymous: false,
            resume_secret: None,
            resume_ttl: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// A configuration that cannot work.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The HS256 secret is too short.
    #[error("auth.hs256_secret has {0} bytes; it needs at least {MIN_SECRET_BYTES}: openssl rand -hex 32")]
    ShortSecret(usize),
    /// Nobody could ever connect.
    #[error("nobody could connect: set auth.hs256_secret, or auth.anonymous = true")]
    Nobody,
}
