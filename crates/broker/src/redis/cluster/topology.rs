//! The map of a Cluster, kept up: asked for each second, and at once where somebody was led elsewhere.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisResult};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use super::map::{self, Seen, SlotMap};
use crate::redis::address::Address;
use crate::redis::connection;
use crate::redis::place::Access;

/// How often the nodes are asked if nobody asks for it.
const INTERVAL: Duration = Duration::from_secs(1);

/// How often at most.
const SHORTEST: Duration = Duration::from_millis(50);

/// How long a node may take.
const PATIENCE: Duration = Duration::from_millis(500);

/// What is known of a Cluster.
#[derive(Debug)]
pub(in crate::redis) struct Topology {
    seeds: Vec<Address>,
    access: Access,
    map: watch::Sender<Arc<SlotMap>>,
    refresh: Notify,
}

impl Topology {
    pub(in crate::redis) fn new(seeds: Vec<Address>, access: Access) -> Self {
        Self { seeds, access, map: watch::Sender::new(Arc::new(SlotMap::empty())), refresh: Notify::new() }
    }

    /// The map, as it is now.
    pub(in crate::redis) fn map(&self) -> Arc<SlotMap> {
        Arc::clone(&self.map.borrow())
    }

    /// The map from now on.
    pub(in crate::redis) fn maps(&self) -> watch::Receiver<Arc<SlotMap>> {
        self.map.subscribe()
    }

    /// Waits until anything is known.
    pub(in crate::redis) async fn known(&self) -> Arc<SlotMap> {
        let mut maps = self.maps();
        // It fails only without a sender, which is our own.
        let _ = maps.wait_for(|map| !map.masters().is_empty()).await;
        self.map()
    }

    /// The map may be wrong.
    pub(in crate::redis) fn refresh(&self) {
        self.refresh.notify_one();
    }

    /// A node says that `slot` is at `address`. Says whether that is news. Only a master that is known is believed in at
    /// once, because the same node may go by several names; else the nodes are asked.
    pub(in crate::redis) fn learn(&self, slot: u16, address: &Address) -> bool {
        let is_news = self.map.send_if_modified(|map| {
            let is_news = map.masters().contains(address) && map.owner(slot).is_some_and(|owner| owner != address);
            if is_news {
                *map = Arc::new(map.with(slot, address));
            }
            is_news
        });
        self.refresh();
        is_news
    }

    /// Keeps the map up.
    pub(in crate::redis) async fn watch(&self) {
        let mut links = HashMap::<Address, MultiplexedConnection>::new();
        loop {
            self.ask(&mut links).await;
            tokio::select! {
                () = sleep(INTERVAL) => {}
                () = async { self.refresh.notified().await; sleep(SHORTEST).await } => {}
            }
        }
    }

    async fn ask(&self, links: &mut HashMap<Address, MultiplexedConnection>) {
        let mut nodes: Vec<Address> = self.map().masters().to_vec();
        nodes.extend(self.seeds.iter().cloned());
        nodes.sort();
        nodes.dedup();
        let asked = Instant::now();
        let mut known = std::mem::take(links);
        let asking = nodes.into_iter().map(|node| {
            let link = known.remove(&node);
            async move {
                let answer = timeout(PATIENCE, self.question(&node, link)).await;
                if let Ok(Err(error)) = &answer {
                    tracing::debug!(%node, %error, "a node of the cluster does not tell of it");
                }
                let (link, said) = answer.ok()?.ok()?;
                Some((node, link, said))
            }
        });
        let mut answers = Vec::new();
        for (node, link, said) in join_all(asking).await.into_iter().flatten() {
            links.insert(node, link);
            answers.push(said);
        }
        if !answers.is_empty() {
            self.learn_all(&answers, asked);
        }
    }

    async fn question(
        &self,
        node: &Address,
        link: Option<MultiplexedConnection>,
    ) -> RedisResult<(MultiplexedConnection, Vec<Seen>)> {
        let mut link = match link {
            Some(link) => link,
            None => {
                let config = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
                connection::dial(node, &self.access, PATIENCE, config).await?
            }
        };
        let text: String = redis::cmd("CLUSTER").arg("NODES").query_async(&mut link).await?;
        Ok((link, map::read(&text, node, self.access.tls.is_some())))
    }

    fn learn_all(&self, answers: &[Vec<Seen>], asked: Instant) {
        let (new, all_agree) = SlotMap::of(answers);
        self.map.send_if_modified(|map| {
            if map.is_like(&new) {
                if all_agree {
                    map.agree(Some(asked));
                }
                return false;
            }
            new.agree(if all_agree { Some(asked) } else { map.agreed() });
            *map = Arc::new(new);
            true
        });
    }
}
