//! Configured users: which there are, and how a passcode is checked without holding anybody up.
//!
//! Hashing is slow on purpose. It is done on threads of its own, few at a time, so that it cannot delay
//! deliveries; so many wait at most. Who comes with the same login and passcode at the same time shares one hash, and a
//! passcode that was right once is recognised by a tag: the thousand connections of a backend cost one hash. A login
//! that is not configured costs a hash like any other, and gets the same answer.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use aws_lc_rs::{constant_time, hmac, rand};
use tokio::sync::{OnceCell, Semaphore, oneshot};
use ullim_protocol::user;

use crate::config::{ConfigError, UserConfig};
use crate::identity::Identity;
use crate::passcode::Passcode;
use crate::verdict::{Rejection, Verified};

/// The most different pairs of login and passcode that are checked, or wait for it.
const MAX_ATTEMPTS: usize = 256;

/// The most hashes at once; with few processors fewer.
const MAX_TURNS: usize = 2;

/// The same for a login that is not configured.
pub(crate) const WRONG: Rejection = Rejection::Invalid("login or passcode is wrong");
const BUSY: Rejection = Rejection::Unavailable("too many passcodes are being checked: try again");

/// The users of `auth.users`, at least one.
pub(crate) struct Users {
    named: BTreeMap<String, User>,
    /// Makes tags. It is of this process alone.
    key: hmac::Key,
    underway: Mutex<HashMap<Tag, Arc<OnceCell<bool>>>>,
    turns: Arc<Semaphore>,
}

struct User {
    passcode: Arc<Passcode>,
    /// The tag of its login with the right passcode, once that was seen.
    right: OnceLock<Tag>,
}

/// Stands for a login and a passcode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Tag([u8; 32]);

/// Somebody waits for what becomes of a login and a passcode. While nobody does any more, it is forgotten.
struct Attempt {
    users: Arc<Users>,
    tag: Tag,
    /// `None` once it is given back.
    outcome: Option<Arc<OnceCell<bool>>>,
}

impl Users {
    /// The configured ones; `None` if there are none.
    pub(crate) fn new(config: &BTreeMap<String, UserConfig>) -> Result<Option<Arc<Self>>, ConfigError> {
        let named = config.iter().map(|(name, config)| {
            checked(name)?;
            let passcode = Arc::new(Passcode::configured(name, config)?);
            Ok((name.clone(), User { passcode, right: OnceLock::new() }))
        });
        let named = named.collect::<Result<BTreeMap<_, _>, ConfigError>>()?;
        if named.is_empty() {
            return Ok(None);
        }
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new())
            .map_err(|_| ConfigError::unusable("auth.users", "the system gives no random numbers"))?;
        // Whoever floods the node with passcodes must leave it processors to deliver with.
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let turns = Arc::new(Semaphore::new((processors / 4).clamp(1, MAX_TURNS)));
        Ok(Some(Arc::new(Self { named, key, underway: Mutex::default(), turns })))
    }

    pub(crate) fn contain(&self, login: &str) -> bool {
        self.named.contains_key(login)
    }

    /// Who comes with this login and this passcode.
    pub(crate) fn verify(self: &Arc<Self>, login: &str, passcode: &str) -> Verified<Identity> {
        let tag = self.tag(login, passcode);
        if self.named.get(login).is_some_and(|user| user.right.get().is_some_and(|right| right.is(&tag))) {
            return Verified::Now(Ok(identity(login)));
        }
        let Some(attempt) = self.attempt(tag) else { return Verified::Now(Err(BUSY)) };
        let (login, passcode) = (login.to_owned(), passcode.to_owned());
        Verified::Later(Box::pin(async move {
            let Attempt { users, outcome: Some(outcome), .. } = &attempt else { return Err(BUSY) };
            let is_right = outcome.get_or_try_init(|| users.compare(tag, &login, passcode)).await?;
            if *is_right { Ok(identity(&login)) } else { Err(WRONG) }
        }))
    }

    fn tag(&self, login: &str, passcode: &str) -> Tag {
        let mut context = hmac::Context::with_key(&self.key);
        // The length tells where the login ends.
        context.update(&login.len().to_be_bytes());
        context.update(login.as_bytes());
        context.update(passcode.as_bytes());
        let mut tag = Tag([0; 32]);
        tag.0.copy_from_slice(context.sign().as_ref()); // SHA-256 has 32 bytes
        tag
    }

    /// A place in the line, or beside whoever is in it with the same; `None` if it is full.
    fn attempt(self: &Arc<Self>, tag: Tag) -> Option<Attempt> {
        let mut underway = self.underway.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = match underway.get(&tag) {
            Some(outcome) => Arc::clone(outcome),
            None if underway.len() >= MAX_ATTEMPTS => return None,
            None => Arc::clone(underway.entry(tag).or_default()),
        };
        Some(Attempt { users: Arc::clone(self), tag, outcome: Some(outcome) })
    }

    async fn compare(&self, tag: Tag, login: &str, passcode: String) -> Result<bool, Rejection> {
        // The turn ends with the hash, also where nobody waits for it any more. It is never closed.
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| BUSY)?;
        let user = self.named.get(login);
        // An unknown login is compared with somebody's passcode, in vain.
        let compared = user.or_else(|| self.named.values().next()).ok_or(WRONG)?;
        let known = Arc::clone(&compared.passcode);
        let (sender, hashed) = oneshot::channel();
        // A thread of its own: what a hash takes of memory, tens of megabytes, stays with the threads of a pool, each of
        // which would have its turn. The next thread gets the memory of one that has ended.
        let work = move || {
            // Nobody may wait for it any more.
            let _ = sender.send(known.is(&passcode));
            drop(turn);
        };
        std::thread::Builder::new().name("ullim-passcode".to_owned()).spawn(work).map_err(|_| BUSY)?;
        let is_right = hashed.await.map_err(|_| BUSY)?;
        let Some(user) = user.filter(|_| is_right) else { return Ok(false) };
        let _ = user.right.set(tag);
        Ok(true)
    }
}

impl Tag {
    fn is(&self, other: &Self) -> bool {
        constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let mut underway = self.users.underway.lock().unwrap_or_else(PoisonError::into_inner);
        // Given back under the lock, under which others come by too: whoever is the last sees that nobody else is left.
        self.outcome = None;
        if underway.get(&self.tag).is_some_and(|outcome| Arc::strong_count(outcome) == 1) {
            underway.remove(&self.tag);
        }
    }
}

fn identity(login: &str) -> Identity {
    Identity { user: Some(login.into()), is_service: true, ..Identity::default() }
}

fn checked(name: &str) -> Result<(), ConfigError> {
    user::check(name).map_err(|error| ConfigError::unusable(format!("auth.users.{name:?}"), error))
}
