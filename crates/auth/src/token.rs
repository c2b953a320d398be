//! JSON Web Tokens (RFC 7519): their parts, and what their claims have to be.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
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

/// A token's parts (RFC 7515, 7.1), and what its header says. None of it is to be believed yet.
#[derive(Debug)]
pub(crate) struct Token<'t> {
    /// What is signed: header and claims, with the dot between them.
    signed: &'t str,
    claims: &'t str,
    signature: &'t str,
    /// The algorithm, if it is one that a key can have.
    algorithm: Option<Algorithm>,
    /// The key that it names.
    pub(crate) kid: Option<String>,
}

/// What is read of a token's header. Whatever else it can bring (`jwk`, `jku`, `x5u` …) is not believed.
#[derive(Deserialize)]
struct Header<'h> {
    #[serde(borrow)]
    alg: Cow<'h, str>,
    kid: Option<String>,
    #[serde(default, deserialize_with = "is_present")]
    crit: bool,
}

impl<'t> Token<'t> {
    /// Tells the parts of a token apart, and reads its header.
    pub(crate) fn parse(token: &'t str) -> Result<Self, Rejection> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Rejection::Invalid("the token is longer than 8192 bytes"));
        }
        let malformed = Rejection::Invalid("the token is malformed: it is no JWT with a JSON header");
        let (signed, signature) = token.rsplit_once('.').ok_or(malformed)?;
        let (header, claims) = signed.split_once('.').filter(|(_, claims)| !claims.contains('.')).ok_or(malformed)?;
        let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| malformed)?;
        let Object(Header { alg, kid, crit }) = serde_json::from_slice(&header).map_err(|_| malformed)?;
        if crit {
            return Err(Rejection::Invalid("the token has critical headers (\"crit\"), and none is known"));
        }
        if kid.as_ref().is_some_and(|kid| kid.len() > MAX_KID_BYTES) {
            return Err(Rejection::Invalid("the token's \"kid\" is longer than 255 bytes"));
        }
        let algorithm = match &*alg {
            "HS256" => Some(Algorithm::Hs256),
            "RS256" => Some(Algorithm::Rs256),
            "ES256" => Some(Algorithm::Es256),
            "EdDSA" => Some(Algorithm::EdDsa),
            _ => None,
        };
        Ok(Self { signed, claims, signature, algorithm, kid })
    }

    /// Its claims, in JSON, if `key` has signed them. The algorithm is the key's: a token that says another is refused.
    fn checked(&self, key: &Key) -> Result<Vec<u8>, Rejection> {
        let algorithm = key.algorithm();
        let malformed = Rejection::Invalid(match algorithm {
            Algorithm::Hs256 => "the token is malformed, or its algorithm is not its key's, HS256",
            Algorithm::Rs256 => "the token is malformed, or its algorithm is not its key's, RS256",
            Algorithm::Es256 => "the token is malformed, or its algorithm is not its key's, ES256",
            Algorithm::EdDsa => "the token is malformed, or its algorithm is not its key's, EdDSA",
        });
        if self.algorithm != Some(algorithm) {
            return Err(malformed);
        }
        if !key.has_signed(self.signed.as_bytes(), self.signature).ok_or(malformed)? {
            return Err(Rejection::Invalid("the token's signature does not match"));
        }
        URL_SAFE_NO_PAD.decode(self.claims).map_err(|_| malformed)
    }
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
    pub(crate) fn of(token: &Token<'_>, key: &Key, parties: &Parties, now: u64) -> Result<Self, Rejection> {
        let Object(claims): Object<Self> = serde_json::from_slice(&token.checked(key)?).map_err(|_| {
            Rejection::Invalid(
                "the token's claims are malformed: \"exp\" must be a number, \"sub\", \"iss\" and \"channel\" texts",
            )
        })?;
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
        Ok(Identity { user: Some(user.into()), info: info(self.info)?, expires: Some(self.exp), is_service: false })
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
