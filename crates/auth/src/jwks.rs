//! A JWK Set (RFC 7517, 5) → keys. What is no key for signatures that this crate knows is left out.
//!
//! * `source`: where the set comes from, when it is read again, and who waits for it
//! * `fetch`: reading it over HTTP
//! * `address`: which addresses are public

pub(crate) mod address;
pub(crate) mod fetch;
pub(crate) mod source;

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::value::RawValue;
use ullim_protocol::json::Object;

use crate::config::Algorithm;
use crate::key::{Key, KeyError};
use crate::token::MAX_KID_BYTES;

/// The most entries of a set: each that is left out may be a line in the log.
const MAX_ENTRIES: usize = 1024;

/// The keys of one set, by their `kid`.
#[derive(Default)]
pub(crate) struct KeySet {
    named: HashMap<String, Arc<Key>>,
    /// Those without a `kid`: no token can name them.
    unnamed: Vec<Arc<Key>>,
}

/// Why a document is no set of keys.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SetError {
    #[error("it is no JSON object with a list of keys (RFC 7517)")]
    Malformed,
    #[error("it has {0} keys, more than {MAX_ENTRIES}")]
    TooMany(usize),
    #[error("none of its {0} keys can be used")]
    Empty(usize),
}

/// Why an entry is left out.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Skipped {
    /// Somebody may have meant it to be used.
    #[error("{0}")]
    Warned(&'static str),
    #[error(transparent)]
    Key(#[from] KeyError),
    /// It is for other purposes than ours.
    #[error("its \"kty\", \"crv\" or \"alg\" is none that is known")]
    Unknown,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Box<RawValue>>,
}

/// The members that are read (RFC 7517, 4; RFC 7518, 6; RFC 8037, 2).
#[derive(Deserialize)]
struct Entry {
    kty: String,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// The keys of a document. What is left out is logged, by its `kid`.
    pub(crate) fn parse(document: &[u8]) -> Result<Self, SetError> {
        let Object(Document { keys }) = serde_json::from_slice(document).map_err(|_| SetError::Malformed)?;
        if keys.len() > MAX_ENTRIES {
            return Err(SetError::TooMany(keys.len()));
        }
        let mut set = Self::default();
        for entry in &keys {
            let Ok(Object(entry)) = serde_json::from_str::<Object<Entry>>(entry.get()) else {
                tracing::warn!("a key of auth.jwks is malformed and left out");
                continue;
            };
            let kid = entry.kid.as_deref().filter(|kid| kid.len() <= MAX_KID_BYTES);
            match entry.key().and_then(|key| set.add(entry.kid.clone(), key)) {
                Ok(()) => {}
                Err(skipped @ Skipped::Unknown) => tracing::debug!(kid, "a key of auth.jwks is left out: {skipped}"),
                Err(skipped) => tracing::warn!(kid, "a key of auth.jwks is left out: {skipped}"),
            }
        }
        if set.len() == 0 { Err(SetError::Empty(keys.len())) } else { Ok(set) }
    }

    fn add(&mut self, kid: Option<String>, key: Key) -> Result<(), Skipped> {
        let key = Arc::new(key);
        match kid {
            None => self.unnamed.push(key),
            Some(kid) if kid.len() > MAX_KID_BYTES => {
                return Err(Skipped::Warned("its \"kid\" is longer than 255 bytes"));
            }
            Some(kid) if self.named.contains_key(&kid) => {
                return Err(Skipped::Warned("another one before it has the same \"kid\""));
            }
            Some(kid) => {
                self.named.insert(kid, key);
            }
        }
        Ok(())
    }

    pub(crate) fn named(&self, kid: &str) -> Option<&Arc<Key>> {
        self.named.get(kid)
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.named.len() + self.unnamed.len()
    }

    /// The key, if there is but one.
    pub(crate) fn only(&self) -> Option<&Arc<Key>> {
        let mut keys = self.named.values().chain(&self.unnamed);
        keys.next().filter(|_| self.len() == 1)
    }
}

impl Entry {
    fn key(&self) -> Result<Key, Skipped> {
        if self.purpose.as_ref().is_some_and(|purpose| purpose != "sig") {
            return Err(Skipped::Warned("its \"use\" is not \"sig\""));
        }
        if self.key_ops.as_ref().is_some_and(|ops| !ops.iter().any(|op| op == "verify")) {
            return Err(Skipped::Warned("its \"key_ops\" have no \"verify\""));
        }
        let algorithm = match (self.kty.as_str(), self.crv.as_deref()) {
            ("oct", _) => return Err(Skipped::Warned("a symmetric key has no place in a set of public keys")),
            ("RSA", _) => Algorithm::Rs256,
            ("EC", Some("P-256")) => Algorithm::Es256,
            ("OKP", Some("Ed25519")) => Algorithm::EdDsa,
            _ => return Err(Skipped::Unknown),
        };
        self.agrees_with(algorithm)?;
        Ok(match algorithm {
            Algorithm::Hs256 => return Err(Skipped::Unknown),
            Algorithm::Rs256 => Key::rsa_components(&bytes(&self.n)?, &bytes(&self.e)?)?,
            Algorithm::Es256 => Key::p256_coordinates(&bytes(&self.x)?, &bytes(&self.y)?)?,
            Algorithm::EdDsa => Key::ed25519(&bytes(&self.x)?)?,
        })
    }

    /// `algorithm` follows from `kty` and `crv`: an `alg` can only confirm it. RSA keys for other hashes and paddings are
    /// common in sets, and none of ours.
    fn agrees_with(&self, algorithm: Algorithm) -> Result<(), Skipped> {
        match (algorithm, self.alg.as_deref()) {
            (_, None)
            | (Algorithm::Rs256, Some("RS256"))
            | (Algorithm::Es256, Some("ES256"))
            | (Algorithm::EdDsa, Some("EdDSA" | "Ed25519")) => Ok(()),
            (Algorithm::Rs256, Some("RS384" | "RS512" | "PS256" | "PS384" | "PS512" | "RSA-OAEP" | "RSA-OAEP-256")) => {
                Err(Skipped::Unknown)
            }
            _ => Err(Skipped::Warned("its \"alg\" contradicts its \"kty\"")),
        }
    }
}

fn bytes(member: &Option<String>) -> Result<Vec<u8>, Skipped> {
    let malformed = Skipped::Warned("a member of it is missing, or is not base64url");
    let Some(member) = member else { return Err(malformed) };
    URL_SAFE_NO_PAD.decode(member).map_err(|_| malformed)
}

#[cfg(test)]
mod tests;
