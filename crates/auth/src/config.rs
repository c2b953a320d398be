//! The `auth` section of the configuration.

use serde::{Deserialize, Serialize};

use crate::secret::Secret;

/// The fewest bytes of an HS256 secret (RFC 7518, 3.2: as many as the hash has).
pub(crate) const MIN_SECRET_BYTES: usize = 32;

/// How clients prove who they are.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The secret of HS256 tokens, at least 32 bytes. Without one no token is accepted.
    pub hs256_secret: Option<Secret>,
    /// Whether clients without a token are let in.
    pub anonymous: bool,
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
