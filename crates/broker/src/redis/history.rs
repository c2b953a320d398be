//! Recoverable channels in Redis (`docs/redis.md`, "Recoverable channels"): what Redis runs for them, and a link that
//! reads their histories. The link is rebuilt for ever.
//!
//! * `library`, `options`, `*.lua`: the functions that Redis runs for us, and what they know of namespaces
//! * `publish`: publications on their way, over the command link
//! * `read`: histories, as Redis answers them
//! * `verify`: compares what the shards have heard with the histories
//! * `recover`, `range`: what was published behind a position
//! * `loaded`: what other nodes have loaded, for whoever publishes without their configuration
//! * `part`: a part of a history, for whoever wants to look

pub(super) mod library;
mod loaded;
mod options;
mod part;
pub(super) mod publish;
mod range;
mod read;
mod recover;
mod verify;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

pub(super) use part::history;
pub(super) use recover::{at_once, recover};

use super::Shared;
use super::commands::Commands;
use super::connection::Connection;
use super::outage::{Backoff, Standing};
use super::presence::calls::Broken;
use crate::ChannelRules;
use library::Library;
use recover::Flights;

/// The most histories that are read at once for those who ask.
const READS: usize = 16;

/// The most that is read at once for them, in KiB: so much the link can be busy with.
const KIB_AT_ONCE: u32 = 32 << 10;

/// How often channels of which nothing is heard are compared with their histories.
const QUIET_ROUND: Duration = Duration::from_secs(30);

/// How long what was read for one who recovers is kept for others.
const RECENT_FOR: Duration = Duration::from_secs(3);

/// What the node's methods and the history link share.
#[derive(Debug)]
pub(super) struct Histories {
    pub(super) library: Library,
    /// The link, while it stands.
    link: watch::Sender<Option<Commands>>,
    /// The table of interest has histories to be read.
    pub(super) wanted: Arc<Notify>,
    flights: Flights,
    reads: Semaphore,
    /// KiB that may be on their way.
    room: Semaphore,
    standing: Standing,
}

impl Histories {
    pub(super) fn new(prefix: &str, rules: &ChannelRules, follows_replication: bool, sharded: bool) -> Self {
        Self {
            library: Library::new(prefix, rules, follows_replication, sharded),
            link: watch::Sender::new(None),
            wanted: Arc::default(),
            flights: Flights::new(),
            reads: Semaphore::new(READS),
            room: Semaphore::new(KIB_AT_ONCE as usize),
            standing: Standing::new("history"),
        }
    }
}

/// Builds the link again and again, until `stop`, if there are recoverable channels.
pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    if shared.rules.recoverable().next().is_some() {
        stop.run_until_cancelled(supervise(&shared)).await;
        shared.histories.link.send_replace(None);
        shared.histories.flights.end().await;
    }
}

async fn supervise(shared: &Shared) {
    let histories = &shared.histories;
    let mut backoff = Backoff::default();
    loop {
        let Broken(reason) = match set_up(shared).await {
            Ok(connection) => {
                let since = Instant::now();
                if histories.standing.up(&shared.place) {
                    shared.tally.reconnects.add(1);
                }
                let broken = serve(shared, connection).await;
                histories.link.send_replace(None);
                backoff.stood(since, Instant::now());
                broken
            }
            Err(broken) => broken,
        };
        histories.standing.down(&shared.place, &reason);
        sleep(backoff.next()).await;
    }
}

async fn set_up(shared: &Shared) -> Result<Connection, Broken> {
    let deadline = shared.config.ping_timeout;
    let set_up = async {
        let mut connection = Connection::open(shared).await.map_err(|error| Broken(error.to_string()))?;
        look(shared, &mut connection.commands).await?;
        Ok(connection)
    };
    timeout(deadline, set_up).await.unwrap_or_else(|_| Err(Broken(format!("no answer within {deadline:?}"))))
}

async fn serve(shared: &Shared, connection: Connection) -> Broken {
    let commands = connection.commands.clone();
    shared.histories.link.send_replace(Some(commands.clone()));
    // What was under way on the link before is to be read again.
    shared.histories.wanted.notify_one();
    let broken: Result<Infallible, Broken> = tokio::select! {
        reason = connection.unusable(shared) => Err(Broken(reason)),
        broken = watch(shared, commands.clone()) => broken,
        broken = verify::run(shared, commands.clone()) => broken,
        broken = rounds(shared) => broken,
    };
    let Err(broken) = broken;
    broken
}

/// Sees to it that Redis has our functions, and that its history of data is the one that it was: otherwise every channel
/// is compared with its history.
async fn look(shared: &Shared, link: &mut Commands) -> Result<(), Broken> {
    if library::ensure(shared, link).await? {
        shared.interest().check_again(false);
    }
    Ok(())
}

async fn watch(shared: &Shared, mut link: Commands) -> Result<Infallible, Broken> {
    let mut look_again = interval(shared.config.ping_interval.max(Duration::from_millis(10)));
    look_again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        look_again.tick().await;
        look(shared, &mut link).await?;
    }
}

async fn rounds(shared: &Shared) -> Result<Infallible, Broken> {
    let mut round = Instant::now() + QUIET_ROUND;
    loop {
        sleep(Duration::from_secs(1)).await;
        let now = Instant::now();
        let before = (now - shared.started).saturating_sub(RECENT_FOR);
        let mut interest = shared.interest();
        interest.forget_recent(before);
        if now >= round {
            interest.check_again(true);
            round = now + QUIET_ROUND;
        }
    }
}
