//! What is done to the cluster. Each fault begins, lasts, ends with everything running again, and says whom it may
//! have touched.

mod clients;
mod cluster;
mod data;
mod links;
mod nodes;
mod redis;
mod sentinel;

use super::log::{Reach, Touches};
use super::schedule::Dice;
use super::topology::{Form, World};
use super::traffic::Levers;
use super::traffic::publisher::Publisher;

/// What a fault works with.
pub(crate) struct Scene<'a> {
    /// The servers.
    pub(crate) world: &'a mut World,
    /// The traffic.
    pub(crate) levers: &'a Levers,
    /// Chance.
    pub(crate) dice: &'a mut Dice,
    /// A publisher of large publications on a live channel.
    pub(crate) burst: &'a mut Publisher,
    /// Faults last as short as makes sense.
    pub(crate) brief: bool,
}

/// What a fault has done.
pub(crate) struct Done {
    /// Whom it may have touched.
    pub(crate) touches: Touches,
    /// Which node, how long.
    pub(crate) detail: String,
}

/// Why a fault was not done.
pub(crate) struct Skipped(pub String);

/// Every fault, and the forms of Redis in which it can be.
pub(crate) const ALL: [(&str, &[Form]); 21] = [
    ("node-kill", EVERY),
    ("node-stop", EVERY),
    ("rolling-restart", EVERY),
    ("redis-kill-empty", SINGLE),
    ("redis-kill-data", SINGLE),
    ("redis-stop", EVERY),
    ("older-rdb", SINGLE),
    ("sentinel-kill", &[Form::Sentinel]),
    ("sentinel-failover", &[Form::Sentinel]),
    ("cluster-kill", &[Form::Cluster]),
    ("slot-migration", &[Form::Cluster]),
    ("pubsub-kill", EVERY),
    ("normal-kill", EVERY),
    ("output-buffer", SINGLE),
    ("half-open", SINGLE),
    ("slow-link", SINGLE),
    ("function-flush", EVERY),
    ("flushall", EVERY),
    ("oom", EVERY),
    ("clock-skew", EVERY),
    ("stalled-subscriber", EVERY),
];

const EVERY: &[Form] = &[Form::Single, Form::Sentinel, Form::Cluster];
const SINGLE: &[Form] = &[Form::Single];

/// Does what `name` says, which is one of [`ALL`].
pub(crate) async fn inject(name: &str, scene: &mut Scene<'_>) -> Result<Done, Skipped> {
    match name {
        "node-kill" => Ok(nodes::kill(scene).await),
        "node-stop" => Ok(nodes::stop(scene).await),
        "rolling-restart" => Ok(nodes::rolling(scene).await),
        "clock-skew" => nodes::skew(scene).await,
        "redis-kill-empty" => Ok(data::kill_empty(scene).await),
        "redis-kill-data" => Ok(data::kill_data(scene).await),
        "older-rdb" => Ok(data::older(scene).await),
        "flushall" => Ok(data::flush(scene).await),
        "redis-stop" => Ok(redis::stop(scene).await),
        "pubsub-kill" => Ok(redis::kill_clients(scene, "pubsub").await),
        "normal-kill" => Ok(redis::kill_clients(scene, "normal").await),
        "function-flush" => Ok(redis::flush_functions(scene).await),
        "oom" => Ok(redis::out_of_memory(scene).await),
        "sentinel-kill" => Ok(sentinel::kill(scene).await),
        "sentinel-failover" => Ok(sentinel::order(scene).await),
        "cluster-kill" => Ok(cluster::kill(scene).await),
        "slot-migration" => Ok(cluster::migrate(scene).await),
        "output-buffer" => Ok(links::overflow(scene).await),
        "half-open" => Ok(links::half_open(scene).await),
        "slow-link" => Ok(links::slow(scene).await),
        "stalled-subscriber" => Ok(clients::stall(scene).await),
        other => Err(Skipped(format!("there is no fault {other}"))),
    }
}

impl Scene<'_> {
    /// A length in milliseconds: the first if it is to be brief, else one of the range.
    fn lasting(&mut self, first: u64, last: u64) -> std::time::Duration {
        std::time::Duration::from_millis(if self.brief { first } else { self.dice.between(first, last) })
    }

    fn any_node(&mut self) -> usize {
        self.dice.below(self.world.seats.len())
    }
}

impl Done {
    /// It is no reason for any signal.
    fn harmless(detail: impl Into<String>) -> Self {
        Self { touches: Touches::default(), detail: detail.into() }
    }

    /// It breaks the links of these nodes.
    fn links(links: Reach, detail: impl Into<String>) -> Self {
        Self { touches: Touches { links, live: Reach::Everybody, ..Touches::default() }, detail: detail.into() }
    }

    /// It breaks all links, and Redis may lose what it has.
    fn history(detail: impl Into<String>) -> Self {
        let mut done = Self::links(Reach::Everybody, detail);
        done.touches.history = Reach::Everybody;
        done
    }
}
