//! Which key checks a token, and the verdict.
//!
//! A token that names a key (`kid`) is checked with that key only: a configured one, else one of the JWK Set. A token
//! that names none is checked with `auth.hs256_secret`, or with the only key that there is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::task::JoinSet;

use crate::config::{Config, ConfigError, MIN_SECRET_BYTES};
use crate::identity::{Grant, Identity};
use crate::jwks::source::{Source, Unknown};
use crate::key::Key;
use crate::token::{self, Claims, Parties, Token};
use crate::users::{self, Users};
use crate::verdict::{Rejection, Verified};

/// Checks tokens and passcodes. The algorithm is fixed by the key, never by the token.
pub struct Verifier {
    keyring: Arc<Keyring>,
    users: Option<Arc<Users>>,
    anonymous: bool,
}

/// What is known of the keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyCounters {
    /// Times that the JWK Set was read.
    pub jwks_refreshes_ok: u64,
    /// Times that it could not be.
    pub jwks_refreshes_failed: u64,
    /// Keys that tokens can be checked with.
    pub keys: usize,
    /// How long ago the JWK Set was read; `None` where there is none, or where it never could be.
    pub jwks_age: Option<Duration>,
}

/// Keeps the keys of a [`Verifier`] up to date, until it is dropped.
#[must_use = "dropping it ends the work"]
#[derive(Debug)]
pub struct KeyWatch {
    _task: JoinSet<()>,
}

struct Keyring {
    /// The key of `hs256_secret`.
    unnamed: Option<Arc<Key>>,
    named: BTreeMap<String, Arc<Key>>,
    source: Option<Arc<Source>>,
    parties: Parties,
}

impl Verifier {
    /// A verifier with the configured keys. Files are read; nothing is fetched before [`Self::watch`].
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        let unnamed = config.hs256_secret.as_ref().map(|secret| Key::secret(secret, "auth.hs256_secret"));
        let named = config.keys.iter().map(|(kid, key)| {
            let key = named(kid, Key::configured(kid, key))?;
            Ok((kid.clone(), Arc::new(key)))
        });
        let keyring = Keyring {
            unnamed: unnamed.transpose()?.map(Arc::new),
            named: named.collect::<Result<_, ConfigError>>()?,
            source: Source::new(&config.jwks)?.map(Arc::new),
            parties: Parties { audience: config.audience.clone(), issuer: config.issuer.clone() },
        };
        let users = Users::new(&config.users)?;
        if keyring.is_empty() && users.is_none() && !config.anonymous {
            return Err(ConfigError::Nobody);
        }
        for (key, values) in [("auth.audience", &config.audience), ("auth.issuer", &config.issuer)] {
            if values.iter().any(String::is_empty) {
                return Err(ConfigError::unusable(key, "an empty text is no name"));
            }
        }
        if let Some(secret) = &config.resume_secret
            && secret.expose().len() < MIN_SECRET_BYTES
        {
            let bytes = secret.expose().len();
            return Err(ConfigError::ShortSecret { key: "auth.resume_secret".to_owned(), bytes });
        }
        Ok(Self { keyring: Arc::new(keyring), users, anonymous: config.anonymous })
    }

    /// Reads the JWK Set now and then, and when a token needs it. Where there is none, or where another watch of this
    /// verifier is on, it does nothing.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime with I/O and time, where there is something to do.
    pub fn watch(&self) -> KeyWatch {
        let mut task = JoinSet::new();
        if let Some(work) = self.keyring.source.clone().and_then(Source::watch) {
            task.spawn(work);
        }
        KeyWatch { _task: task }
    }

    /// What is known of the keys at the moment.
    pub fn counters(&self) -> KeyCounters {
        let Keyring { unnamed, named, source, .. } = &*self.keyring;
        let configured = named.len() + usize::from(unnamed.is_some());
        let Some(source) = source else {
            return KeyCounters { keys: configured, ..KeyCounters::default() };
        };
        let (jwks_refreshes_ok, jwks_refreshes_failed) = source.refreshes();
        let keys = configured + source.keys().map_or(0, |keys| keys.len());
        KeyCounters { jwks_refreshes_ok, jwks_refreshes_failed, keys, jwks_age: source.age() }
    }

    /// The identity behind `token`. A token that is given is always checked, also where anonymous clients are let in.
    pub fn verify(&self, token: Option<&str>) -> Verified<Identity> {
        match token {
            Some(token) => self.check(token, Claims::identity),
            None if self.anonymous => Verified::Now(Ok(Identity::default())),
            None => Verified::Now(Err(Rejection::Missing)),
        }
    }

    /// The identity of a client that names a login, a passcode, both or neither. A passcode that looks like a token is a
    /// token, and the login means nothing; any other is that of a configured user. Both empty is both absent.
    pub fn verify_login(&self, login: Option<&str>, passcode: Option<&str>) -> Verified<Identity> {
        let given = |text: Option<&str>| text.is_some_and(|text| !text.is_empty());
        match (login, passcode) {
            // Whatever the login: that it is configured must not show.
            (_, Some(passcode)) if Token::parse(passcode).is_ok() => self.verify(Some(passcode)),
            _ if !given(login) && !given(passcode) => self.verify(None),
            (login, passcode) => self.verify_passcode(login.unwrap_or_default(), passcode.unwrap_or_default()),
        }
    }

    /// The identity of a configured user, if this is its passcode. A passcode that was not seen before is judged later:
    /// in tens of milliseconds, or seconds where very many are tried at once. The verdict has to be waited for within a
    /// Tokio runtime.
    pub fn verify_passcode(&self, login: &str, passcode: &str) -> Verified<Identity> {
        match &self.users {
            Some(users) => users.verify(login, passcode),
            None => Verified::Now(Err(users::WRONG)),
        }
    }

    /// Whether a user with this login is configured.
    pub fn is_configured(&self, login: &str) -> bool {
        self.users.as_ref().is_some_and(|users| users.contain(login))
    }

    /// What a subscription token allows. Whether it is this client's and this channel's is for the caller to say.
    pub fn verify_subscription(&self, token: &str) -> Verified<Grant> {
        self.check(token, Claims::grant)
    }

    fn check<T: 'static>(&self, token: &str, read: fn(Claims) -> Result<T, Rejection>) -> Verified<T> {
        let parsed = match Token::parse(token) {
            Ok(parsed) => parsed,
            Err(rejection) => return Verified::Now(Err(rejection)),
        };
        let source = match self.keyring.key(parsed.kid.as_deref()) {
            Ok(key) => return Verified::Now(self.keyring.claims(&parsed, &key).and_then(read)),
            Err(Keyless::Refused(rejection)) => return Verified::Now(Err(rejection)),
            Err(Keyless::Unknown(source)) => source,
        };
        let waiter = match source.unknown() {
            Unknown::Refused(rejection) => return Verified::Now(Err(rejection)),
            Unknown::Awaited(waiter) => waiter,
        };
        let (keyring, token) = (Arc::clone(&self.keyring), token.to_owned());
        Verified::Later(Box::pin(async move {
            waiter.settled().await?;
            let token = Token::parse(&token)?;
            match keyring.key(token.kid.as_deref()) {
                Ok(key) => keyring.claims(&token, &key).and_then(read),
                Err(Keyless::Refused(rejection)) => Err(rejection),
                Err(Keyless::Unknown(source)) => Err(source.refusal()),
            }
        }))
    }
}

/// Why there is no key for a token.
enum Keyless<'a> {
    /// There will be none.
    Refused(Rejection),
    /// This source may have it, now or later.
    Unknown(&'a Source),
}

impl Keyring {
    fn is_empty(&self) -> bool {
        self.unnamed.is_none() && self.named.is_empty() && self.source.is_none()
    }

    fn key(&self, kid: Option<&str>) -> Result<Arc<Key>, Keyless<'_>> {
        if self.is_empty() {
            return Err(Keyless::Refused(Rejection::Invalid("this node takes no tokens: connect without one")));
        }
        match kid {
            Some(kid) => self.named(kid),
            None => self.only(),
        }
    }

    fn named(&self, kid: &str) -> Result<Arc<Key>, Keyless<'_>> {
        if let Some(key) = self.named.get(kid) {
            return Ok(Arc::clone(key));
        }
        let Some(source) = &self.source else {
            return Err(Keyless::Refused(Rejection::Invalid("the token's key (\"kid\") is not known")));
        };
        let key = source.keys().and_then(|keys| keys.named(kid).cloned());
        key.ok_or(Keyless::Unknown(source))
    }

    fn only(&self) -> Result<Arc<Key>, Keyless<'_>> {
        if let Some(key) = &self.unnamed {
            return Ok(Arc::clone(key));
        }
        let keys = match &self.source {
            Some(source) => Some(source.keys().ok_or(Keyless::Unknown(source))?),
            None => None,
        };
        let only = match (self.named.len(), &keys) {
            (1, None) => self.named.values().next(),
            (0, Some(keys)) => keys.only(),
            _ => None,
        };
        let refused = Rejection::Invalid("the token names no key (\"kid\"), and this node has several");
        only.cloned().ok_or(Keyless::Refused(refused))
    }

    fn claims(&self, token: &Token<'_>, key: &Key) -> Result<Claims, Rejection> {
        // A clock before 1970 is none to trust: then everything has expired.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(u64::MAX, |now| now.as_secs());
        Claims::of(token, key, &self.parties, now)
    }
}

fn named(kid: &str, key: Result<Key, ConfigError>) -> Result<Key, ConfigError> {
    if kid.is_empty() || kid.len() > token::MAX_KID_BYTES {
        return Err(ConfigError::unusable(format!("auth.keys.{kid}"), "a key's name has 1 to 255 bytes"));
    }
    key
}
