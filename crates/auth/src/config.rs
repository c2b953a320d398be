//! The `auth` section of the configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::secret::Secret;

/// The fewest bytes of a secret (RFC 7518, 3.2: as many as the hash has).
pub(crate) const MIN_SECRET_BYTES: usize = 32;

/// How clients prove who they are.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The secret of HS256 tokens that name no key, at least 32 bytes.
    pub hs256_secret: Option<Secret>,
    /// Whether clients without a token are let in.
    pub anonymous: bool,
    /// Whom tokens must be for: `aud` must hold one of these. Where there is none, `aud` is not looked at.
    pub audience: Vec<String>,
    /// Who may have issued tokens: `iss` must be one of these. Where there is none, `iss` is not looked at.
    pub issuer: Vec<String>,
    /// What resume tokens are sealed with, at least 32 bytes, the same on all nodes. Without it it is derived from
    /// `hs256_secret`; without that too it is random, and a session can only be resumed on its own node.
    pub resume_secret: Option<Secret>,
    /// How long after its `connect` a session can be resumed, at most; never longer than its token.
    #[serde(with = "humantime_serde")]
    pub resume_ttl: Duration,
    /// Users with a passcode, by their login.
    pub users: BTreeMap<String, UserConfig>,
    /// Keys by the `kid` with which tokens name them.
    pub keys: BTreeMap<String, KeyConfig>,
    /// Further keys, from a file or an identity provider.
    pub jwks: JwksConfig,
}

/// A user who comes with a passcode instead of a token.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UserConfig {
    /// The argon2id hash of the passcode, in the PHC format. It must be given.
    pub passcode: Option<Secret>,
}

/// One key. Tokens never choose its algorithm.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeyConfig {
    /// The only algorithm that it checks. It must be given.
    pub algorithm: Option<Algorithm>,
    /// For HS256: the secret, at least 32 bytes.
    pub secret: Option<Secret>,
    /// For the others: the public key in PEM.
    pub public_key: Option<String>,
    /// Or the file that holds it.
    pub file: Option<PathBuf>,
}

/// How a token is signed (RFC 7518, 3.1; RFC 8037, 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    #[serde(rename = "HS256")]
    Hs256,
    /// RSA (PKCS #1 v1.5) with SHA-256, from 2048 bits.
    #[serde(rename = "RS256")]
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

/// Where a JWK Set (RFC 7517, 5) comes from, and how often.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JwksConfig {
    /// A file.
    pub file: Option<PathBuf>,
    /// Or an `https` URL.
    pub url: Option<String>,
    /// The certificates (PEM) that the URL's server is trusted by, instead of the public authorities.
    pub ca_file: Option<PathBuf>,
    /// How often it is read again.
    #[serde(with = "humantime_serde")]
    pub refresh_interval: Duration,
    /// How much time there is at least between two reads that unknown keys cause, and before a failed one is repeated.
    #[serde(with = "humantime_serde")]
    pub min_refresh_interval: Duration,
    /// How long a read may take, redirects included.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// The most bytes of the document.
    pub bytes: usize,
    /// Whether the URL may lead to addresses that are not public.
    pub allow_private_addresses: bool,
    /// Whether redirects are followed.
    pub allow_redirects: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hs256_secret: None,
            anonymous: false,
            audience: Vec::new(),
            issuer: Vec::new(),
            resume_secret: None,
            resume_ttl: Duration::from_secs(24 * 60 * 60),
            users: BTreeMap::new(),
            keys: BTreeMap::new(),
            jwks: JwksConfig::default(),
        }
    }
}

impl Default for JwksConfig {
    fn default() -> Self {
        Self {
            file: None,
            url: None,
            ca_file: None,
            refresh_interval: Duration::from_secs(10 * 60),
            min_refresh_interval: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            bytes: 256 << 10,
            allow_private_addresses: false,
            allow_redirects: false,
        }
    }
}

/// A configuration that cannot work.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A secret is too short.
    #[error("{key} has {bytes} bytes; it needs at least {MIN_SECRET_BYTES}: openssl rand -hex 32")]
    ShortSecret {
        /// Where it stands.
        key: String,
        /// How long it is.
        bytes: usize,
    },
    /// Nobody could ever connect.
    #[error("nobody could connect: set auth.hs256_secret, auth.keys, auth.jwks, auth.users, or auth.anonymous = true")]
    Nobody,
    /// A value cannot be used.
    #[error("{key}: {problem}")]
    Unusable {
        /// Where it stands.
        key: String,
        /// What is wrong with it; no secret is shown.
        problem: String,
    },
}

impl ConfigError {
    pub(crate) fn unusable(key: impl Into<String>, problem: impl ToString) -> Self {
        Self::Unusable { key: key.into(), problem: problem.to_string() }
    }
}
