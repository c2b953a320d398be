//! The lease of this node: renewed each second. What becomes of it decides whether members have to be entered anew; it
//! also shows which nodes are dead.

use std::time::Duration;

use redis::Value;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::calls::{self, Broken, Refusal};
use super::{forgotten, library};
use crate::redis::Shared;
use crate::redis::commands::Commands;

/// How long a node that does not renew counts as alive.
pub(super) const LEASE: Duration = Duration::from_secs(4);

/// How often a lease is renewed.
const RENEWAL: Duration = Duration::from_secs(1);

/// How long a claim to what a dead node left keeps others from it.
pub(super) const CLAIM: Duration = Duration::from_secs(10);

/// A lease on a link that stands.
#[derive(Debug)]
pub(super) struct Lease {
    /// Since when no renewal was late.
    steady_since: Instant,
    /// Which history of data the server has.
    replication: String,
}

/// What became of a lease.
type Renewed = (u8, String, u64, Vec<String>, u64);

const RENEWED: u8 = 0;
const LAPSED: u8 = 1;
const NEW: u8 = 2;
const LOST: u8 = 3;

impl Lease {
    /// Renews for the first time on a link. All that this node wants of Redis has to be verified then.
    pub(super) async fn begin(shared: &Shared, connection: &mut Commands) -> Result<Self, Broken> {
        let mut lease = Self { steady_since: Instant::now(), replication: String::new() };
        lease.renew(shared, connection).await?;
        Ok(lease)
    }

    /// Renews until the link breaks.
    pub(super) async fn keep(mut self, shared: &Shared, mut connection: Commands) -> Broken {
        let mut tick = interval(RENEWAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tick.tick().await;
        loop {
            tick.tick().await;
            if let Err(broken) = self.renew(shared, &mut connection).await {
                return broken;
            }
            shared.keeper.retry();
        }
    }

    /// Ends the lease if this node has left nothing behind. Else it lapses: who is away has to be found by others.
    pub(super) async fn give_back(shared: &Shared, mut connection: Commands) -> Result<(), Broken> {
        let node = shared.keeper.node();
        let mut scan = redis::cmd("SSCAN");
        scan.arg(shared.names.node_channels(&node)).arg(0).arg("COUNT").arg(1);
        let left = calls::one::<(String, Vec<Value>)>(shared, &mut connection, &scan).await?;
        if left.is_ok_and(|(cursor, channels)| cursor == "0" && channels.is_empty()) {
            let mut delete = redis::cmd("HDEL");
            delete.arg(shared.names.nodes()).arg(&*node);
            let _ = calls::one::<u64>(shared, &mut connection, &delete).await?;
        }
        Ok(())
    }

    async fn renew(&mut self, shared: &Shared, connection: &mut Commands) -> Result<(), Broken> {
        let asked = Instant::now();
        let (state, replication, revision, stale, time) = self.ask(shared, connection).await?;
        let restored = replication != self.replication;
        // In a Cluster it is one of several histories, which are looked at together.
        let is_other_history = shared.keeper.is_other_history(&replication) && !shared.place.is_sharded();
        if state == LOST || is_other_history {
            forgotten::tell(shared, asked, |_| true);
        }
        self.replication = replication;
        match state {
            LOST => {
                tracing::warn!("this node was taken for dead, it begins anew under another name");
                shared.keeper.begin_anew();
                self.steady_since = asked;
                // The new name is not lost.
                return Box::pin(self.renew(shared, connection)).await;
            }
            LAPSED => self.steady_since = asked,
            _ => {}
        }
        shared.keeper.renewed(asked, time);
        if restored || matches!(state, LAPSED | NEW) {
            shared.keeper.reconcile();
        }
        if revision < library::REVISION {
            library::ensure(shared, connection).await?;
        }
        // Where Redis stood still, every lease has lapsed: first all renew.
        if asked.saturating_duration_since(self.steady_since) >= LEASE {
            shared.keeper.found_dead(stale);
        }
        Ok(())
    }

    async fn ask(&self, shared: &Shared, connection: &mut Commands) -> Result<Renewed, Broken> {
        loop {
            let name = shared.keeper.name();
            let mut call = calls::on_nodes(&shared.names, "ullim_renew");
            call.arg(&*name.node).arg(calls::millis(LEASE)).arg(calls::millis(CLAIM));
            call.arg(u8::from(name.is_new)).arg(name.before.front().map(|name| &**name).unwrap_or_default());
            call.arg(1);
            match calls::one::<Renewed>(shared, connection, &call).await? {
                Ok(renewed @ (RENEWED..=LOST, ..)) => return Ok(renewed),
                Ok((state, ..)) => return Err(Broken(format!("an unknown state of the lease: {state}"))),
                Err(Refusal::Unknown) => library::ensure(shared, connection).await?,
                Err(Refusal::Said(reason)) => return Err(Broken(reason)),
            }
        }
    }
}
