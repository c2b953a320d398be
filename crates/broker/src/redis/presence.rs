//! Who is in which channel, in Redis (`docs/redis.md`, "Presence"): what this node wants there, and the link that brings
//! it about. The link is rebuilt for ever, and then everything is verified.
//!
//! * `table`: the members that this node wants in Redis
//! * `writes`: brings Redis to agree with the table
//! * `lease`: says that this node lives, and sees who does not
//! * `forgotten`: tells those who watch that Redis has lost comings and goings
//! * `histories`: sees which masters of a Cluster have lost some
//! * `upkeep`: removes what dead nodes left, and what this node has forgotten
//! * `reads`: who is in a channel, and which channels there are
//! * `entry`: what Redis keeps of a member
//! * `library`, `ullim.lua`: the functions that Redis runs for us
//! * `calls`: commands and what their answers mean
//!
//! The lease decides who writes under which name, and who cleans up:
//!
//! ```text
//! ullim_renew says     this node writes as     what it does                           who cleans up
//! renewed              the name it has         nothing                                itself, what it knows of
//! lapsed (by Redis'    the name it has         enters all again, looks for members    itself: nobody has claimed
//!   clock; unclaimed)                          in its name that it does not know      what it has
//! new (at the start,   the name it has         the same                               the name before: whoever
//!   or after `lost`)                                                                  claims it
//! lost (claimed, or    a new random name       forgets who was to be taken out,       whoever has claimed the old
//!   gone)                                      renews as `new`                        name: one node at a time
//! no answer            nothing, when its own   waits for the link                     nobody, for a lease; then
//!                      clock says lapsed                                              whoever claims it
//! ```

pub(super) mod calls;
mod entry;
mod forgotten;
mod histories;
mod lease;
mod library;
pub(super) mod reads;
mod table;
mod upkeep;
mod writes;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use ullim_protocol::channel::ChannelName;
use ullim_protocol::session::SessionId;

use super::Shared;
use super::address::Address;
use super::commands::Commands;
use super::connection::Connection;
use super::outage::{Backoff, Standing};
use crate::{Claim, Entry};
use calls::Broken;
use lease::Lease;
use reads::Listed;
use table::{Name, Table};

/// The most pages of members that are read at once.
const READS: usize = 64;

/// The most dead nodes that wait to be cleaned up after. Others are found again.
const MAX_DEAD: usize = 64;

/// What the node's methods and the presence link share.
#[derive(Debug)]
pub(super) struct Keeper {
    table: Mutex<Table>,
    /// The table may hold something to do.
    changed: Notify,
    /// Redis has been told of everything.
    settled: Notify,
    chores: Mutex<Chores>,
    chores_changed: Notify,
    /// The link, while it stands.
    link: watch::Sender<Option<Commands>>,
    reads: Semaphore,
    listed: tokio::sync::Mutex<Option<Listed>>,
    /// Which history of data each master of a Cluster had.
    histories: Mutex<HashMap<Address, String>>,
    /// Which history of data Redis had when the lease was renewed last, on whichever link.
    history: Mutex<Option<String>>,
    standing: Standing,
}

/// What is to be looked after beside the node's own members.
#[derive(Debug, Default)]
struct Chores {
    /// Redis may hold members in this node's name that it does not want.
    sweep: bool,
    /// Nodes whose lease has lapsed.
    dead: VecDeque<String>,
}

fn random_name() -> Arc<str> {
    format!("{:016x}", rand::random::<u64>()).into()
}

impl Keeper {
    pub(super) fn new() -> Self {
        Self {
            table: Mutex::new(Table::new(random_name())),
            changed: Notify::new(),
            settled: Notify::new(),
            chores: Mutex::default(),
            chores_changed: Notify::new(),
            link: watch::Sender::new(None),
            reads: Semaphore::new(READS),
            listed: tokio::sync::Mutex::default(),
            histories: Mutex::default(),
            history: Mutex::default(),
            standing: Standing::new("presence"),
        }
    }

    pub(super) fn enter(&self, entry: Entry) -> table::Waiting {
        let waiting = self.table().enter(entry);
        self.changed.notify_one();
        waiting
    }

    pub(super) fn leave(&self, channel: &ChannelName, session: SessionId, claim: Claim, absence: Duration) {
        self.table().leave(channel, session, claim, absence);
        self.changed.notify_one();
    }

    /// Sessions of this node, once per channel.
    pub(super) fn members(&self) -> u64 {
        self.table().members()
    }

    /// Whether the link stands.
    pub(super) fn is_up(&self) -> bool {
        self.link.borrow().is_some()
    }

    /// Waits until Redis has been told of everything, if the link stands.
    pub(super) async fn flush(&self) {
        loop {
            let mut settled = std::pin::pin!(self.settled.notified());
            // From here on it is not missed.
            settled.as_mut().enable();
            if self.link.borrow().is_none() || self.table().is_settled() {
                return;
            }
            settled.await;
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn chores(&self) -> MutexGuard<'_, Chores> {
        self.chores.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn histories(&self) -> MutexGuard<'_, HashMap<Address, String>> {
        self.histories.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn name(&self) -> Name {
        self.table().name()
    }

    fn node(&self) -> Arc<str> {
        self.table().node()
    }

    /// Whether Redis has another history of data than before; from now on this is the one.
    fn is_other_history(&self, replication: &str) -> bool {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let before = history.replace(replication.to_owned());
        before.is_some_and(|before| before != replication)
    }

    fn begin_anew(&self) {
        self.table().rename(random_name());
    }

    fn renewed(&self, asked: Instant, time: u64) {
        self.table().renewed(asked, time);
        self.changed.notify_one();
    }

    /// Redis may hold something else than what this node wants.
    fn reconcile(&self) {
        self.table().reassert();
        self.changed.notify_one();
        self.sweep();
    }

    fn sweep(&self) {
        self.chores().sweep = true;
        self.chores_changed.notify_one();
    }

    fn found_dead(&self, nodes: Vec<String>) {
        let mut chores = self.chores();
        for node in nodes {
            if chores.dead.len() < MAX_DEAD && !chores.dead.contains(&node) {
                chores.dead.push_back(node);
            }
        }
        if !chores.dead.is_empty() {
            self.chores_changed.notify_one();
        }
    }

    fn retry(&self) {
        let mut table = self.table();
        table.retry(Instant::now());
        let overflowed = table.take_overflow();
        drop(table);
        self.changed.notify_one();
        if overflowed {
            self.sweep();
        }
    }
}

/// Builds the link again and again, until `stop`.
pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    stop.run_until_cancelled(supervise(&shared)).await;
    // Nothing is renewed or written any more: what was sent before comes before this.
    if let Some(link) = shared.keeper.link.send_replace(None)
        && let Err(Broken(reason)) = Lease::give_back(&shared, link).await
    {
        tracing::debug!(%reason, "the lease was not given back, it lapses");
    }
}

async fn supervise(shared: &Shared) {
    let keeper = &shared.keeper;
    let mut backoff = Backoff::default();
    loop {
        let Broken(reason) = match set_up(shared).await {
            Ok((connection, lease)) => {
                let since = Instant::now();
                if keeper.standing.up(&shared.place) {
                    shared.tally.reconnects.add(1);
                }
                let broken = serve(shared, connection, lease).await;
                keeper.link.send_replace(None);
                keeper.settled.notify_waiters();
                keeper.table().broken();
                backoff.stood(since, Instant::now());
                broken
            }
            Err(broken) => broken,
        };
        keeper.standing.down(&shared.place, &reason);
        sleep(backoff.next()).await;
    }
}

async fn set_up(shared: &Shared) -> Result<(Connection, Lease), Broken> {
    let deadline = shared.config.ping_timeout;
    let set_up = async {
        let mut connection = Connection::open(shared).await.map_err(|error| Broken(error.to_string()))?;
        library::ensure(shared, &mut connection.commands).await?;
        histories::verify(shared, &connection.commands).await;
        let lease = Lease::begin(shared, &mut connection.commands).await?;
        Ok((connection, lease))
    };
    timeout(deadline, set_up).await.unwrap_or_else(|_| Err(Broken(format!("no answer within {deadline:?}"))))
}

/// Serves a link until it breaks. Renewals, writes and the rest each have one command or one batch under way, so that
/// none waits for a whole run of another.
async fn serve(shared: &Shared, connection: Connection, lease: Lease) -> Broken {
    let commands = connection.commands.clone();
    shared.keeper.link.send_replace(Some(commands.clone()));
    tokio::select! {
        reason = connection.over(shared) => Broken(reason),
        broken = lease.keep(shared, commands.clone()) => broken,
        broken = writes::run(shared, commands.clone()) => broken,
        broken = upkeep::run(shared, commands.clone()) => broken,
    }
}
