//! JSON Web Tokens (RFC 7519): their parts, and what their claims have to be.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Validation;
use jsonwebtoken::errors::ErrorKind;
use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::Number;
use serde_json::value::RawValue;
use ullim_protocol::json::{self, Object};
use ullim_protocol::presence::Info;
use ullim_protocol::user::{self, UserError};

use crate::config::Algorithm;
use crate::identity::{Grant, Identity};
use crate::key::Key;
use crate::verdict::Rejection;

/// A longer token is refused before it is parsed.
const MAX_TOKEN_BYTES: usize = 8192;

/// The most bytes of a key's name.
pub(crate) const MAX_KID_BYTES: usize = 255;

/// The last second that every client's numbers can say exactly.
const MAX_SECONDS: u64 = (1 << 53) - 1;

/// What is read of a token's header before its signature is checked. The algorithm is the key's, and whatever else a
/// header can bring (`jwk`, `jku`, `x5u` …) is not believed.
#[derive(Deserialize)]
struct Header {
    kid: Option<String>,
    #[serde(default, deserialize_with = "is_present")]
    crit: bool,
}

/// The `kid` of a token that looks like one.
pub(crate) fn kid(token: &str) -> Result<Option<String>, Rejection> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(Rejection::Invalid("the token is longer than 8192 bytes"));
    }
    let malformed = Rejection::Invalid("the token is malformed: it is no JWT with a JSON header");
    let mut parts = token.split('.');
    let (Some(header), Some(_), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(malformed);
    };
    let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| malformed)?;
    let Object(Header { kid, crit }) = serde_json::from_slice(&header).map_err(|_| malformed)?;
    if crit {
        return Err(Rejection::Invalid("the token has critical headers (\"crit\"), and none is known"));
    }
    if kid.as_ref().is_some_and(|kid| kid.len() > MAX_KID_BYTES) {
        return Err(Rejection::Invalid("the token's \"kid\" is longer than 255 bytes"));
    }
    Ok(kid)
}

/// Whom tokens must be for, and who may have issued them.
#[derive(Debug, Clone)]
pub(crate) struct Parties {
    pub(crate) audience: Vec<String>,
    pub(crate) issuer: Vec<String>,
}

/// The claims that are read. A claim that is there twice makes a token malformed.
#[derive(Deserialize)]
pub(crate) struct Claims {
    sub: Option<String>,
    #[serde(deserialize_with = "seconds_down")]
    exp: u64,
    #[serde(default, deserialize_with = "seconds_up")]
    nbf: Option<u64>,
    iss: Option<String>,
    aud: Option<OneOrMore>,
    /// An absent channel and a null are told apart.
    #[serde(default, deserialize_with = "json::present")]
    channel: Option<Option<String>>,
    info: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl Claims {
    /// The claims of a token that `key` signed, that is good at `now` (Unix seconds), for and by the right parties.
    pub(crate) fn of(token: &str, key: &Key, parties: &Parties, now: u64) -> Result<Self, Rejection> {
        let claims = jsonwebtoken::decode::<Object<Self>>(token, &key.decoding, &signature_of(key.algorithm));
        let Object(claims) = claims.map_err(|error| rejection(error.kind(), key.algorithm))?.claims;
        if claims.exp <= now {
            return Err(Rejection::Expired);
        }
        if claims.nbf.is_some_and(|nbf| now < nbf) {
            return Err(Rejection::Invalid("the token is not valid yet (\"nbf\")"));
        }
        let is_for_us = |audience: &String| match &claims.aud {
            Some(OneOrMore::One(one)) => one == audience,
            Some(OneOrMore::More(more)) => more.contains(audience),
            None => false,
        };
        if !parties.audience.is_empty() && !parties.audience.iter().any(is_for_us) {
            return Err(Rejection::Invalid("the token's \"aud\" names none of auth.audience"));
        }
        let is_theirs = |issuer: &String| claims.iss.as_ref() == Some(issuer);
        if !parties.issuer.is_empty() && !parties.issuer.iter().any(is_theirs) {
            return Err(Rejection::Invalid("the token's \"iss\" is none of auth.issuer"));
        }
        Ok(claims)
    }

    /// Who the client is, if this is a token for `connect`.
    pub(crate) fn identity(self) -> Result<Identity, Rejection> {
        if self.channel.is_some() {
            return Err(Rejection::Invalid("the token has a \"channel\": it is for subscribe, not for connect"));
        }
        let user = self.sub.ok_or(Rejection::Invalid("the token needs the claim \"sub\""))?;
        let user = checked_user(user)?;
        Ok(Identity { user: Some(user.into()), info: info(self.info)?, expires: Some(self.exp) })
    }

    /// What is allowed, if this is a token for `subscribe`.
    pub(crate) fn grant(self) -> Result<Grant, Rejection> {
        let channel = self.channel.flatten();
        let channel = channel.ok_or(Rejection::Invalid("the subscription token needs the claim \"channel\""))?;
        let user = self.sub.map(checked_user).transpose()?;
        Ok(Grant { user: user.map(Into::into), channel, expires: self.exp, info: info(self.info)? })
    }
}

fn checked_user(name: String) -> Result<String, Rejection> {
    match user::check(&name) {
        Ok(()) => Ok(name),
        Err(UserError::Length) => Err(Rejection::Invalid("the token's \"sub\" must have 1 to 255 bytes")),
        Err(UserError::Anonymous | UserError::Control) => {
            Err(Rejection::Invalid("the token's \"sub\" begins with \"~\" or holds a control character"))
        }
    }
}

fn info(info: Option<Box<RawValue>>) -> Result<Option<Info>, Rejection> {
    let refused = Rejection::Invalid("the token's \"info\" is larger than 4096 bytes, or no encoding can carry it");
    info.map(|info| Info::parse(info.get()).ok_or(refused)).transpose()
}

/// The library checks the algorithm and the signature; the claims are checked here.
fn signature_of(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(match algorithm {
        Algorithm::Hs256 => jsonwebtoken::Algorithm::HS256,
        Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
    });
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation
}

fn rejection(error: &ErrorKind, algorithm: Algorithm) -> Rejection {
    Rejection::Invalid(match error {
        ErrorKind::InvalidSignature => "the token's signature does not match",
        ErrorKind::Json(_) => {
            "the token's \"alg\" is unknown, or its claims are malformed: \"exp\" must be a number, \"sub\", \"iss\" and \
             \"channel\" texts"
        }
        _ => match algorithm {
            Algorithm::Hs256 => "the token is malformed, or its algorithm is not its key's, HS256",
            Algorithm::Rs256 => "the token is malformed, or its algorithm is not its key's, RS256",
            Algorithm::Es256 => "the token is malformed, or its algorithm is not its key's, ES256",
            Algorithm::EdDsa => "the token is malformed, or its algorithm is not its key's, EdDSA",
        },
    })
}

/// A NumericDate (RFC 7519, 2), which may have a fraction: without it.
fn seconds_down<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    seconds(&Number::deserialize(deserializer)?, f64::floor).ok_or_else(|| D::Error::custom("no time"))
}

/// The first full second that is not before it.
fn seconds_up<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let Some(number) = Option::<Number>::deserialize(deserializer)? else { return Ok(None) };
    seconds(&number, f64::ceil).map(Some).ok_or_else(|| D::Error::custom("no time"))
}

fn seconds(number: &Number, round: fn(f64) -> f64) -> Option<u64> {
    // A time before 1970 is as good as 1970.
    let seconds = match number.as_u64() {
        Some(seconds) => seconds,
        None => round(number.as_f64()?) as u64,
    };
    (seconds <= MAX_SECONDS).then_some(seconds)
}

fn is_present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}
