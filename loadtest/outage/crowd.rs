//! The clients: many of `ullim-client`, each with what it has seen.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;
use ullim_client::{Client, CommandError, Config, SubscribeOptions, Token, connect};
use ullim_loadtest::clock;
use ullim_loadtest::token::Signer;

use crate::seen::{Channel, Seen};

/// How many clients are on their way at a time while nothing is measured.
const AT_ONCE: usize = 200;

/// How long it may take until all are there.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often is looked whether something has come about.
const LOOK: Duration = Duration::from_millis(10);

/// How often this process looks whether it gets to run.
const BEAT: Duration = Duration::from_millis(20);

/// What a client is to do.
pub(crate) struct Wish {
    /// It is `user-<this>`.
    pub(crate) user: usize,
    /// Where it connects.
    pub(crate) urls: Vec<String>,
    /// What it subscribes to.
    pub(crate) channels: Vec<String>,
    /// Whether it is to be told who comes and goes.
    pub(crate) events: bool,
}

/// All clients. They end when it is dropped.
pub(crate) struct Crowd {
    urls: Arc<Vec<String>>,
    members: Vec<One>,
    tasks: JoinSet<()>,
    lateness: Arc<AtomicU64>,
}

struct One {
    seen: Arc<Mutex<Seen>>,
    _client: Client,
}

impl Crowd {
    /// Nobody yet. `urls` are those of all nodes.
    pub(crate) fn new(urls: Vec<String>) -> Self {
        let lateness = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        let latest = Arc::clone(&lateness);
        tasks.spawn(async move {
            loop {
                let begun = clock::now();
                sleep(BEAT).await;
                let late = clock::elapsed(begun).saturating_sub(BEAT);
                latest.fetch_max(clock::nanos(late), Ordering::Relaxed);
            }
        });
        Self { urls: Arc::new(urls), members: Vec::new(), tasks, lateness }
    }

    /// Lets these in, a few at a time, and waits until all their channels stand.
    pub(crate) async fn admit(&mut self, wishes: Vec<Wish>, signer: &Signer) -> anyhow::Result<()> {
        let room = Arc::new(Semaphore::new(AT_ONCE));
        let mut coming = JoinSet::<anyhow::Result<()>>::new();
        for wish in wishes {
            let mut config = Config::new(wish.urls);
            config.token = Some(Token::fixed(signer.sign(wish.user)?));
            let place = Arc::clone(&room).acquire_owned().await?;
            let (client, mut events) = connect(config)?;
            let channels = wish.channels.iter().map(|name| (name.clone(), Channel::default())).collect();
            let seen = Arc::new(Mutex::new(Seen { channels, ..Seen::default() }));
            self.members.push(One { seen: Arc::clone(&seen), _client: client.clone() });
            let (notes, urls) = (Arc::clone(&seen), Arc::clone(&self.urls));
            self.tasks.spawn(async move {
                while let Some(event) = events.next().await {
                    let now = clock::now();
                    lock(&notes).enter(event, &urls, now);
                }
            });
            coming.spawn(async move {
                for channel in &wish.channels {
                    subscribe(&client, channel, wish.events).await?;
                }
                // What it was told before may still wait to be noted.
                while lock(&seen).node.is_none() {
                    sleep(LOOK).await;
                }
                for channel in &wish.channels {
                    lock(&seen).stands(channel, clock::now());
                }
                drop(place);
                Ok(())
            });
            while let Some(came) = coming.try_join_next() {
                came??;
            }
        }
        while let Some(came) = coming.join_next().await {
            came??;
        }
        Ok(())
    }

    /// What `look` finds at each of them.
    pub(crate) fn each<'a, T>(&'a self, look: impl Fn(&Seen) -> T + 'a) -> impl Iterator<Item = T> + 'a {
        self.members.iter().map(move |one| look(&lock(&one.seen)))
    }

    /// What is true of how many of them.
    pub(crate) fn count(&self, condition: impl Fn(&Seen) -> bool) -> usize {
        self.each(condition).filter(|is_so| *is_so).count()
    }

    /// Waits until it is so for each; false if it is not within `patience`.
    pub(crate) async fn all(&self, patience: Duration, condition: impl Fn(&Seen) -> bool) -> bool {
        let begun = clock::now();
        while !self.each(&condition).all(|is_so| is_so) {
            if clock::elapsed(begun) > patience {
                return false;
            }
            sleep(LOOK).await;
        }
        true
    }

    /// Fails if a client has given up.
    pub(crate) fn still_there(&self) -> anyhow::Result<()> {
        match self.each(|seen| seen.ended.clone()).flatten().next() {
            Some(why) => bail!("a client has given up: {why}"),
            None => Ok(()),
        }
    }

    /// The longest that this process did not get to run since it was last asked. All that clients do was as late.
    pub(crate) fn lateness(&self) -> Duration {
        Duration::from_nanos(self.lateness.swap(0, Ordering::Relaxed))
    }
}

async fn subscribe(client: &Client, channel: &str, events: bool) -> anyhow::Result<()> {
    let begun = clock::now();
    loop {
        let options = SubscribeOptions { events, presence: events, ..SubscribeOptions::default() };
        match client.subscribe_with(channel, options).await {
            Ok(_) => return Ok(()),
            Err(CommandError::Disconnected | CommandError::Timeout | CommandError::Refused { retry: true, .. }) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot subscribe to {channel}")),
        }
        ensure!(clock::elapsed(begun) < PATIENCE, "cannot subscribe to {channel} within {PATIENCE:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// Nobody panics with the lock held; if so, what was noted still counts.
fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
