//! JSON Web Tokens (RFC 7519), HS256: checking them, and making them for tools and tests.

use std::pin::Pin;
use std::sync::Arc;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, TokenData, Validation};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use ullim_protocol::presence::Info;

use crate::config::{Config, ConfigError, MIN_SECRET_BYTES};
use crate::secret::Secret;

/// A longer token is refused before it is parsed.
const MAX_TOKEN_BYTES: usize = 8192;

/// The most bytes of a user's name.
const MAX_USER_BYTES: usize = 255;

/// Who a client is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// The token's `sub`; `None` for an anonymous client.
    pub user: Option<Arc<str>>,
    /// The token's `info`: what the application says of the user to others.
    pub info: Option<Info>,
    /// The token's `exp`, in Unix seconds; `None` for an anonymous client.
    pub expires: Option<u64>,
}

/// What a subscription token allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The token's `sub`: for whom; `None` for anonymous clients.
    pub user: Option<Arc<str>>,
    /// The token's `channel`: where.
    pub channel: String,
    /// The token's `exp`, in Unix seconds.
    pub expires: u64,
    /// The token's `info`: what presence says of the member, instead of the identity's.
    pub info: Option<Info>,
}

/// A verdict that is there at once, or later: when a key has to be fetched first.
pub enum Verified<T> {
    /// Now.
    Now(Result<T, Rejection>),
    /// When the future ends. It ends within the time that a fetch may take.
    Later(Pin<Box<dyn Future<Output = Result<T, Rejection>> + Send>>),
}

impl<T> Verified<T> {
    /// The verdict, waited for where it has to be.
    pub async fn verdict(self) -> Result<T, Rejection> {
        match self {
            Self::Now(verdict) => verdict,
            Self::Later(verdict) => verdict.await,
        }
    }

    /// The verdict if it is there; a rejection where a key would have to be fetched first.
    pub fn at_once(self) -> Result<T, Rejection> {
        match self {
            Self::Now(verdict) => verdict,
            Self::Later(_) => Err(Rejection::Invalid("the token's key is not known yet")),
        }
    }
}

/// Why a token, or the lack of one, was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// No token, and anonymous clients are not let in.
    #[error("a token is needed: send it as \"token\" in connect")]
    Missing,
    /// A token that was good once.
    #[error("the token has expired")]
    Expired,
    /// Anything else; the text says what, never the token.
    #[error("{0}")]
    Invalid(&'static str),
}

#[derive(Serialize)]
struct Minted<'a> {
    sub: &'a str,
    exp: u64,
}

/// What is read of a token beside what the library checks: `exp`, and `nbf` where there is one.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: u64,
    info: Option<Box<RawValue>>,
}

/// Checks tokens. The algorithm is fixed by the key, never by the token.
pub struct Verifier {
    key: Option<DecodingKey>,
    validation: Validation,
    anonymous: bool,
}

impl Verifier {
    /// A verifier with the configured keys.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        let key = match &config.hs256_secret {
            Some(secret) if secret.expose().len() < MIN_SECRET_BYTES => {
                return Err(ConfigError::ShortSecret(secret.expose().len()));
            }
            Some(secret) => Some(DecodingKey::from_secret(secret.expose().as_bytes())),
            None if config.anonymous => None,
            None => return Err(ConfigError::Nobody),
        };
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_required_spec_claims(&["exp", "sub"]);
        validation.leeway = 0;
        validation.validate_aud = false;
        validation.validate_nbf = true;
        Ok(Self { key, validation, anonymous: config.anonymous })
    }

    /// The identity behind `token`. A token that is given is always checked, also where anonymous clients are let in.
    pub fn verify(&self, token: Option<&str>) -> Verified<Identity> {
        Verified::Now(match token {
            Some(token) => self.identity(token),
            None if self.anonymous => Ok(Identity::default()),
            None => Err(Rejection::Missing),
        })
    }

    /// What a subscription token allows. Whether it is this client's and this channel's is for the caller to say.
    pub fn verify_subscription(&self, _token: &str) -> Verified<Grant> {
        Verified::Now(Err(Rejection::Invalid("this node takes no subscription tokens")))
    }

    fn identity(&self, token: &str) -> Result<Identity, Rejection> {
        let key = self.key.as_ref().ok_or(Rejection::Invalid("this node takes no tokens: connect without one"))?;
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Rejection::Invalid("the token is longer than 8192 bytes"));
        }
        let TokenData { header, claims, .. } =
            jsonwebtoken::decode::<Claims>(token, key, &self.validation).map_err(rejection)?;
        if header.crit.is_some() {
            return Err(Rejection::Invalid("the token has critical headers (\"crit\"), and none is known"));
        }
        if claims.sub.is_empty() || claims.sub.len() > MAX_USER_BYTES {
            return Err(Rejection::Invalid("the token's \"sub\" must have 1 to 255 bytes"));
        }
        if claims.sub.starts_with('~') || claims.sub.chars().any(char::is_control) {
            return Err(Rejection::Invalid("the token's \"sub\" begins with \"~\" or holds a control character"));
        }
        let info = claims
            .info
            .map(|info| Info::parse(info.get()).ok_or(Rejection::Invalid("the token's \"info\" is too large")));
        Ok(Identity { user: Some(claims.sub.into()), info: info.transpose()?, expires: Some(claims.exp) })
    }
}

fn rejection(error: jsonwebtoken::errors::Error) -> Rejection {
    match error.kind() {
        ErrorKind::ExpiredSignature => Rejection::Expired,
        ErrorKind::ImmatureSignature => Rejection::Invalid("the token is not valid yet (\"nbf\")"),
        ErrorKind::InvalidSignature => Rejection::Invalid("the token's signature does not match"),
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => {
            Rejection::Invalid("the token's algorithm is not HS256")
        }
        ErrorKind::MissingRequiredClaim(_) => Rejection::Invalid("the token needs the claims \"sub\" and \"exp\""),
        _ => Rejection::Invalid("the token is malformed, or its algorithm is not HS256"),
    }
}

/// An HS256 token for `user`, good until `expires` (Unix seconds).
pub fn mint(secret: &Secret, user: &str, expires: u64) -> Result<String, Rejection> {
    let claims = Minted { sub: user, exp: expires };
    let key = EncodingKey::from_secret(secret.expose().as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)
        .map_err(|_| Rejection::Invalid("the token could not be signed"))
}
