//! What is published meanwhile: recoverable channels in turn, at a steady rate, each one's messages numbered from 1.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval};
use ullim_loadtest::clock;

use crate::store::{Link, Store};

/// How often is looked what is due.
const TICK: Duration = Duration::from_millis(20);

/// How many were published on each channel.
pub(crate) type Published = HashMap<String, u64>;

/// A task that publishes until it is told to stop.
pub(crate) struct Publisher {
    stop: oneshot::Sender<()>,
    tasks: JoinSet<anyhow::Result<Published>>,
    handle: AbortHandle,
}

impl Publisher {
    /// Publishes `rate` messages a second, all channels together.
    pub(crate) async fn start(store: &Store, channels: Vec<String>, rate: f64) -> anyhow::Result<Self> {
        ensure!(rate > 0.0 && rate.is_finite() && !channels.is_empty(), "nothing would be published");
        let link = store.connect().await?;
        let (stop, stopped) = oneshot::channel();
        let mut tasks = JoinSet::new();
        let handle = tasks.spawn(publish(link, channels, rate, stopped));
        Ok(Self { stop, tasks, handle })
    }

    /// Fails if it has ended.
    pub(crate) fn still_publishes(&self) -> anyhow::Result<()> {
        ensure!(!self.handle.is_finished(), "publishing has ended too early");
        Ok(())
    }

    /// Ends it. How many were published; an error if that was none, or if any was refused.
    pub(crate) async fn finish(mut self) -> anyhow::Result<Published> {
        // If it has failed before, the task says so.
        let _ = self.stop.send(());
        let ended = self.tasks.join_next().await.context("nothing publishes")?;
        let published = ended?.context("publishing failed")?;
        ensure!(published.values().all(|count| *count > 0), "there are channels that nothing was published on");
        Ok(published)
    }
}

async fn publish(
    mut link: Link,
    channels: Vec<String>,
    rate: f64,
    mut stopped: oneshot::Receiver<()>,
) -> anyhow::Result<Published> {
    let mut counts = vec![0_u64; channels.len()];
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let begun = clock::now();
    let mut sent = 0_u64;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = &mut stopped => break,
        }
        let due = (clock::elapsed(begun).as_secs_f64() * rate) as u64;
        let mut messages = Vec::new();
        for next in sent..due {
            let turn = next as usize % channels.len();
            counts[turn] += 1;
            messages.push((channels[turn].as_str(), counts[turn]));
        }
        link.publish_kept(&messages, true).await?;
        sent = sent.max(due);
    }
    Ok(channels.into_iter().zip(counts).collect())
}
