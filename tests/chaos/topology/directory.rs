//! Which server a channel's publications go to, as a backend would find out.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::chaos::log::Ms;
use crate::now_ms;
use crate::redis::{sentinel, sharded};

/// How often the sentinels are asked.
const LOOK: Duration = Duration::from_millis(100);

/// Where to ask.
#[derive(Debug, Clone)]
pub(crate) enum Directory {
    /// It is always this one.
    Fixed(SocketAddr),
    /// The sentinels said so.
    Sentinels(Arc<Masters>),
    /// Each of these servers knows.
    Cluster(Vec<SocketAddr>),
}

/// Who was the master, and since when: the sentinels are asked all the time.
#[derive(Debug)]
pub(crate) struct Masters {
    /// The newest last. Appended to by the task alone; never poisoned, for nothing fails while it is held.
    seen: Mutex<Vec<(Ms, SocketAddr)>>,
    _task: Mutex<JoinSet<()>>,
}

impl Masters {
    /// Asks these sentinels from now on.
    pub(crate) fn watch(sentinels: Vec<SocketAddr>) -> Arc<Self> {
        let masters = Arc::new(Self { seen: Mutex::default(), _task: Mutex::default() });
        let watched = Arc::downgrade(&masters);
        masters._task.lock().unwrap().spawn(async move {
            loop {
                let now = sentinel::master(&sentinels).await;
                let Some(masters) = watched.upgrade() else { return };
                if let Some(now) = now.filter(|now| masters.last() != Some(*now)) {
                    masters.seen.lock().unwrap().push((now_ms(), now));
                }
                drop(masters);
                sleep(LOOK).await;
            }
        });
        masters
    }

    fn last(&self) -> Option<SocketAddr> {
        self.seen.lock().unwrap().last().map(|(_, master)| *master)
    }
}

impl Directory {
    /// The server for `key`, if it is known now.
    pub(crate) async fn server(&self, key: &str) -> Option<SocketAddr> {
        match self {
            Self::Fixed(address) => Some(*address),
            Self::Sentinels(masters) => masters.last(),
            Self::Cluster(servers) => sharded::owner(&sharded::ranges(servers).await?, sharded::slot(key)),
        }
    }

    /// Whether a backend that listens to what the sentinels say would have left this server.
    pub(crate) fn is_left(&self, server: SocketAddr) -> bool {
        matches!(self, Self::Sentinels(masters) if masters.last() != Some(server))
    }

    /// Whether `server` may have been no master any more at `at`: the sentinels said so then, or soon after.
    pub(crate) fn was_stale(&self, server: SocketAddr, at: Ms) -> bool {
        const SOON: Ms = 1000;
        let Self::Sentinels(masters) = self else { return false };
        let seen = masters.seen.lock().unwrap();
        let until = |index: usize| seen.get(index + 1).map_or(Ms::MAX, |(next, _)| next.saturating_sub(SOON));
        !seen.iter().enumerate().any(|(index, (_, master))| *master == server && at < until(index))
    }

    /// Whether live publications are sharded.
    pub(crate) fn is_sharded(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }
}
