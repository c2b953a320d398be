//! The resume token: what a client needs to be known as the same session again, on whichever node.
//!
//! It is sealed with AES-256-GCM under a key that all nodes share (`auth.resume_secret`): whoever does not have the key
//! can neither read nor make one. It restores the identity, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use ullim_protocol::presence::Info;
use ullim_protocol::session::SessionId;

use crate::config::Config;
use crate::identity::Identity;

/// Separates this use of the secret from any other, and this version from later ones.
const CONTEXT: &[u8] = b"ullim resume 1";

/// A longer token is none of ours.
const MAX_TOKEN_BYTES: usize = 16 << 10;

/// What a resume token holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resumable {
    /// The session.
    pub session: SessionId,
    /// Who its client is. `identity.expires` still holds: a resumed session is no longer than its token.
    pub identity: Identity,
    /// Until when it may be resumed, in Unix seconds.
    pub until: u64,
}

/// Seals and opens resume tokens.
pub struct ResumeKey {
    key: RandomizedNonceKey,
    ttl: Duration,
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    session: String,
    user: Option<String>,
    info: Option<String>,
    expires: Option<u64>,
    #[serde(default)]
    is_service: bool,
    until: u64,
}

impl ResumeKey {
    /// The key of `config`: nodes with the same secret open each other's tokens. `None` if there is no randomness to be
    /// had.
    pub fn new(config: &Config) -> Option<Self> {
        let mut random = [0; 32];
        let secret = match config.resume_secret.as_ref().or(config.hs256_secret.as_ref()) {
            Some(secret) => secret.expose().as_bytes(),
            None => {
                rand::fill(&mut random).ok()?;
                &random
            }
        };
        let mut key = digest::Context::new(&digest::SHA256);
        key.update(CONTEXT);
        key.update(secret);
        let key = RandomizedNonceKey::new(&AES_256_GCM, key.finish().as_ref()).ok()?;
        Some(Self { key, ttl: config.resume_ttl })
    }

    /// Until when a session that is opened or refreshed at `now` can be resumed; both in Unix seconds.
    pub fn until(&self, identity: &Identity, now: u64) -> u64 {
        let longest = now.saturating_add(self.ttl.as_secs());
        identity.expires.map_or(longest, |expires| expires.min(longest))
    }

    /// The token for a session; `None` if there is no randomness to be had.
    pub fn seal(&self, resumable: &Resumable) -> Option<String> {
        let Resumable { session, identity, until } = resumable;
        let sealed = Sealed {
            session: session.to_string(),
            user: identity.user.as_deref().map(str::to_owned),
            info: identity.info.as_ref().map(|info| info.as_str().to_owned()),
            expires: identity.expires,
            is_service: identity.is_service,
            until: *until,
        };
        let mut bytes = serde_json::to_vec(&sealed).ok()?;
        let nonce = self.key.seal_in_place_append_tag(Aad::from(CONTEXT), &mut bytes).ok()?;
        bytes.splice(0..0, nonce.as_ref().iter().copied());
        Some(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// What a token holds, if it is one of ours that has not run out by `now` (Unix seconds).
    pub fn open(&self, token: &str, now: u64) -> Option<Resumable> {
        if token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let mut bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let opened = self.key.open_in_place(nonce, Aad::from(CONTEXT), sealed).ok()?;
        let Sealed { session, user, info, expires, is_service, until } = serde_json::from_slice(opened).ok()?;
        let info = match info {
            Some(info) => Some(Info::parse(&info)?),
            None => None,
        };
        let identity = Identity { user: user.map(Arc::from), info, expires, is_service };
        let is_due = now < until && expires.is_none_or(|expires| now < expires);
        is_due.then_some(Resumable { session: SessionId::parse(&session)?, identity, until })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn key(secret: &str) -> ResumeKey {
        let config = Config { resume_secret: Some(Secret::new(secret)), ..Config::default() };
        ResumeKey::new(&config).unwrap()
    }

    fn resumable() -> Resumable {
        let (user, info) = (Some("alice".into()), Info::parse("{\"a\":1}"));
        let identity = Identity { user, info, expires: Some(2000), is_service: true };
        Resumable { session: SessionId([7; 16]), identity, until: 1000 }
    }

    #[test]
    fn what_is_sealed_is_opened_by_whoever_has_the_secret() {
        let token = key("a").seal(&resumable()).unwrap();
        assert_eq!(key("a").open(&token, 999), Some(resumable()));
        assert_eq!(key("b").open(&token, 999), None, "another cluster");
    }

    #[test]
    fn what_has_run_out_was_changed_or_is_no_token_is_not_opened() {
        let key = key("a");
        let token = key.seal(&resumable()).unwrap();
        assert_eq!(key.open(&token, 1000), None, "its time is over");
        let expired = Resumable { identity: Identity { expires: Some(500), ..resumable().identity }, ..resumable() };
        assert_eq!(key.open(&key.seal(&expired).unwrap(), 500), None, "the identity has expired");
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(key.open(std::str::from_utf8(&changed).unwrap(), 0), None, "{at}");
        }
        for other in ["", "x", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", &token[..30], &"A".repeat(20_000)] {
            assert_eq!(key.open(other, 0), None, "{other:.40}");
        }
    }

    #[test]
    fn without_a_secret_the_key_is_random() {
        let token = ResumeKey::new(&Config::default()).unwrap().seal(&resumable()).unwrap();
        assert_eq!(ResumeKey::new(&Config::default()).unwrap().open(&token, 0), None);
    }

    #[test]
    fn a_session_can_be_resumed_no_longer_than_its_token_lives() {
        let identity = |expires| Identity { expires, ..Identity::default() };
        assert_eq!(key("a").until(&identity(None), 1000), 1000 + 86_400);
        assert_eq!(key("a").until(&identity(Some(2000)), 1000), 2000);
    }

    #[test]
    fn two_tokens_of_one_session_differ() {
        let key = key("a");
        assert_ne!(key.seal(&resumable()), key.seal(&resumable()));
    }
}
