//! Where a JWK Set comes from, when it is read again, and who waits for it.
//!
//! One task reads: at start, at each interval, and when a token names a key that is not known. So there is one read at a
//! time, however many wait. What was read stays until a better one comes.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout};

use crate::config::{ConfigError, JwksConfig};
use crate::jwks::fetch::{FetchError, Fetcher};
use crate::jwks::{KeySet, SetError};
use crate::verdict::Rejection;

/// The most tokens that wait for a read.
const MAX_WAITING: usize = 4096;

/// A set of keys that is read again and again.
pub(crate) struct Source {
    place: Place,
    refresh_interval: Duration,
    min_refresh_interval: Duration,
    timeout: Duration,
    state: watch::Sender<State>,
    wanted: Notify,
    waiting: Arc<Semaphore>,
    refreshes_ok: AtomicU64,
    refreshes_failed: AtomicU64,
}

enum Place {
    File { path: PathBuf, bytes: usize },
    Url(Box<Fetcher>),
}

#[derive(Default)]
struct State {
    keys: Arc<KeySet>,
    /// When `keys` were read; `None` before the first time.
    loaded: Option<Instant>,
    /// Reads that have ended, well or not.
    attempts: u64,
    /// When the last one ended.
    settled: Option<Instant>,
    has_failed: bool,
    is_watched: bool,
    /// A read is under way, or was asked for.
    is_reading: bool,
}

#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    File(#[from] io::Error),
    #[error("it has more than {0} bytes (auth.jwks.bytes)")]
    TooLarge(usize),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("it took longer than {0:?} (auth.jwks.timeout)")]
    Timeout(Duration),
    #[error(transparent)]
    Set(#[from] SetError),
}

/// What can be done about a key that is not known.
pub(crate) enum Unknown {
    /// Nothing.
    Refused(Rejection),
    /// It may be there after the next read.
    Awaited(Waiter),
}

/// Waits for a read to end.
pub(crate) struct Waiter {
    state: watch::Receiver<State>,
    attempts: u64,
    _permit: OwnedSemaphorePermit,
}

impl Source {
    /// The source of `config`, if there is one. A file is read at once; for a URL nothing is done yet.
    pub(crate) fn new(config: &JwksConfig) -> Result<Option<Self>, ConfigError> {
        let mut state = State::default();
        let place = match (&config.file, &config.url) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => return Err(ConfigError::unusable("auth.jwks", "it takes one of file and url")),
            (None, Some(url)) => Place::Url(Box::new(Fetcher::new(url, config)?)),
            (Some(path), None) => {
                let keys = read_file(path, config.bytes).and_then(|text| Ok(KeySet::parse(&text)?));
                let keys = keys.map_err(|error| ConfigError::unusable("auth.jwks.file", error))?;
                state = State { keys: Arc::new(keys), loaded: Some(Instant::now()), ..state };
                Place::File { path: path.clone(), bytes: config.bytes }
            }
        };
        Ok(Some(Self {
            place,
            refresh_interval: config.refresh_interval,
            min_refresh_interval: config.min_refresh_interval,
            timeout: config.timeout,
            state: watch::Sender::new(state),
            wanted: Notify::new(),
            waiting: Arc::new(Semaphore::new(MAX_WAITING)),
            refreshes_ok: AtomicU64::new(0),
            refreshes_failed: AtomicU64::new(0),
        }))
    }

    /// The keys that were read last; `None` where none have been yet.
    pub(crate) fn keys(&self) -> Option<Arc<KeySet>> {
        let state = self.state.borrow();
        state.loaded.map(|_| Arc::clone(&state.keys))
    }

    /// How long ago the keys were read; `None` where none have been yet.
    pub(crate) fn age(&self) -> Option<Duration> {
        self.state.borrow().loaded.map(|loaded| loaded.elapsed())
    }

    /// Reads that ended well, and those that did not.
    pub(crate) fn refreshes(&self) -> (u64, u64) {
        (self.refreshes_ok.load(Ordering::Relaxed), self.refreshes_failed.load(Ordering::Relaxed))
    }

    /// What can be done about a token whose key is not among [`Self::keys`].
    pub(crate) fn unknown(&self) -> Unknown {
        let mut joined = Err(Rejection::Missing);
        self.state.send_if_modified(|state| {
            joined = self.join(state);
            false
        });
        match joined {
            Ok((attempts, permit)) => {
                Unknown::Awaited(Waiter { state: self.state.subscribe(), attempts, _permit: permit })
            }
            Err(rejection) => Unknown::Refused(rejection),
        }
    }

    /// A place among those who wait for the read that is under way, or that this one causes.
    fn join(&self, state: &mut State) -> Result<(u64, OwnedSemaphorePermit), Rejection> {
        let may_help = state.is_watched && (state.is_reading || !self.is_held(state));
        if !may_help {
            return Err(state.refusal());
        }
        let permit = Arc::clone(&self.waiting).try_acquire_owned();
        let permit = permit.map_err(|_| Rejection::Unavailable("too many tokens wait for their keys: try again"))?;
        if !state.is_reading {
            // Whoever comes next waits for the same read.
            state.is_reading = true;
            self.wanted.notify_one();
        }
        Ok((state.attempts, permit))
    }

    /// Whether the last read is so young that another would be too soon.
    fn is_held(&self, state: &State) -> bool {
        state.settled.is_some_and(|settled| settled.elapsed() < self.min_refresh_interval)
    }

    /// What is said of a key that is not known, where no read is waited for.
    pub(crate) fn refusal(&self) -> Rejection {
        self.state.borrow().refusal()
    }

    /// What reads, for as long as it is polled; `None` where it is done already. From now on tokens wait for it.
    pub(crate) fn watch(self: Arc<Self>) -> Option<impl Future<Output = ()> + Send + 'static> {
        let is_first = self.state.send_if_modified(|state| {
            let is_first = !state.is_watched;
            if is_first {
                state.is_watched = true;
                state.is_reading = state.loaded.is_none();
            }
            is_first
        });
        // It is there before the first poll, which may never come.
        let watched = is_first.then(|| Watched(self))?;
        Some(async move { watched.0.run().await })
    }

    async fn run(&self) {
        let mut last = None;
        let mut failures = 0;
        let mut due = Instant::now();
        if self.keys().is_some() {
            due += self.refresh_interval;
        }
        loop {
            tokio::select! {
                () = sleep_until(due) => {}
                () = self.wanted.notified() => {}
            }
            failures = if self.refresh(&mut last).await { 0 } else { failures + 1 };
            due = Instant::now() + self.pause(failures);
        }
    }

    /// How long to wait after so many failures in a row.
    fn pause(&self, failures: u32) -> Duration {
        match failures {
            0 => self.refresh_interval,
            _ => {
                let longer = self.min_refresh_interval.saturating_mul(1 << (failures - 1).min(16));
                longer.min(self.refresh_interval)
            }
        }
    }

    /// Whether the document could be read. `last` is the text that was parsed last.
    async fn refresh(&self, last: &mut Option<Vec<u8>>) -> bool {
        self.state.send_modify(|state| state.is_reading = true);
        let read = timeout(self.timeout, self.read()).await.unwrap_or(Err(ReadError::Timeout(self.timeout)));
        let keys = read.and_then(|text| self.parsed(text, last));
        self.count_and_log(&keys);
        let is_ok = keys.is_ok();
        self.forget_wish().await;
        self.state.send_modify(|state| {
            state.settled = Some(Instant::now());
            state.attempts += 1;
            state.is_reading = false;
            state.has_failed = !is_ok;
            if let Ok(keys) = keys {
                state.keys = keys;
                state.loaded = state.settled;
            }
        });
        is_ok
    }

    /// A read that was asked for while its time came anyway is this one. None is asked for before this one has ended.
    async fn forget_wish(&self) {
        tokio::select! {
            biased;
            () = self.wanted.notified() => {}
            () = std::future::ready(()) => {}
        }
    }

    /// The keys of `text`; those that are there where it is the same as before.
    fn parsed(&self, text: Vec<u8>, last: &mut Option<Vec<u8>>) -> Result<Arc<KeySet>, ReadError> {
        if last.as_ref() == Some(&text) {
            return Ok(Arc::clone(&self.state.borrow().keys));
        }
        let keys = KeySet::parse(&text)?;
        tracing::info!(keys = keys.len(), "the keys of auth.jwks were read");
        *last = Some(text);
        Ok(Arc::new(keys))
    }

    fn count_and_log(&self, keys: &Result<Arc<KeySet>, ReadError>) {
        let count = if keys.is_ok() { &self.refreshes_ok } else { &self.refreshes_failed };
        count.fetch_add(1, Ordering::Relaxed);
        let Err(error) = keys else { return };
        match self.keys() {
            Some(old) => tracing::warn!(%error, keys = old.len(), "auth.jwks cannot be read: its old keys stay"),
            None => tracing::error!(%error, "auth.jwks cannot be read: none of its keys is known yet"),
        }
    }

    async fn read(&self) -> Result<Vec<u8>, ReadError> {
        match &self.place {
            Place::Url(fetcher) => Ok(fetcher.fetch().await?),
            Place::File { path, bytes } => {
                let (path, bytes) = (path.clone(), *bytes);
                let read = tokio::task::spawn_blocking(move || read_file(&path, bytes)).await;
                read.map_err(io::Error::other)?
            }
        }
    }
}

impl State {
    /// What is said of a key that no read will bring now.
    fn refusal(&self) -> Rejection {
        if self.has_failed || self.loaded.is_none() {
            Rejection::Unavailable("the token's key is not known, and the keys cannot be fetched now: try again")
        } else {
            Rejection::Invalid("the token's key (\"kid\") is not known")
        }
    }
}

impl Waiter {
    /// Ends with the read. An error says that there will be none.
    pub(crate) async fn settled(mut self) -> Result<(), Rejection> {
        let attempts = self.attempts;
        let state = self.state.wait_for(|state| state.attempts > attempts || !state.is_watched).await;
        match state {
            Ok(state) if state.attempts > attempts => Ok(()),
            _ => Err(Rejection::Unavailable("the node ends: try another")),
        }
    }
}

/// A source that is read. Those that wait wake when it no longer is.
struct Watched(Arc<Source>);

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.state.send_modify(|state| {
            state.is_watched = false;
            state.is_reading = false;
        });
    }
}

fn read_file(path: &Path, bytes: usize) -> Result<Vec<u8>, ReadError> {
    let mut text = Vec::new();
    let limit = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)?.take(limit).read_to_end(&mut text)?;
    if text.len() > bytes { Err(ReadError::TooLarge(bytes)) } else { Ok(text) }
}
