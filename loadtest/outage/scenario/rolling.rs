//! Each node in turn is drained by SIGTERM and started again while clients listen. Was anything lost, how evenly did they
//! come back, and was anybody said to have left?

use std::time::Duration;

use anyhow::ensure;
use tokio::time::sleep;

use super::{ROOM, has_heard, kept, settle, warn_of_lateness};
use crate::crowd::{Crowd, Wish};
use crate::publisher::Publisher;
use crate::report::Report;
use crate::seen::Break;
use crate::stage::{Options, Stage};

/// How long all may take to be back.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who is told of comings and goings: some, for each is without a connection now and then.
const WATCHERS: usize = 3;

/// The parts of a window that are told apart.
const PARTS: u64 = 10;

/// How much of what.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Rolling {
    /// Nodes.
    #[arg(long, default_value_t = 3)]
    pub(crate) nodes: usize,
    /// Clients, spread over the nodes.
    #[arg(long, default_value_t = 6_000)]
    pub(crate) clients: usize,
    /// How many of them are in a channel with presence besides.
    #[arg(long, default_value_t = 500)]
    pub(crate) members: usize,
    /// Recoverable channels that the clients are spread over.
    #[arg(long, default_value_t = 60)]
    pub(crate) channels: usize,
    /// Publications a second on them, all together.
    #[arg(long, default_value_t = 60.0)]
    pub(crate) rate: f64,
    /// The nodes' `drain.window`.
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    pub(crate) window: Duration,
    /// How long it goes on after the last drain: a node that has drained vouches for its members for 15 s.
    #[arg(long, default_value = "16s", value_parser = humantime::parse_duration)]
    pub(crate) after: Duration,
    /// What every scenario has to be told.
    #[command(flatten)]
    pub(crate) options: Options,
}

/// A node was told to end at `from`; it was there again, and all clients too, at `to`.
struct Drain {
    node: usize,
    from: u64,
    took: u64,
}

impl Rolling {
    /// Runs it.
    pub(crate) async fn run(&self) -> anyhow::Result<Report> {
        ensure!(self.nodes >= 2, "--nodes is at least 2: where should clients go?");
        ensure!(self.members <= self.clients && self.clients > 0, "--members ≤ --clients");
        ensure!((1..=self.clients).contains(&self.channels), "--channels is at least 1, and at most --clients");
        ensure!(!self.window.is_zero(), "--window is longer than nothing");
        let mut stage = Stage::new(&self.options, self.nodes, self.window, self.clients + WATCHERS).await?;
        let (urls, signer) = (stage.urls(), stage.signer()?);
        for node in 0..self.nodes {
            stage.start(node).await?;
        }
        self.options.say(&format!("connecting {} clients to {} nodes", self.clients, self.nodes));
        let mut crowd = Crowd::new(urls.clone());
        crowd.admit((0..self.clients + WATCHERS).map(|client| self.wish(client, &urls)).collect(), &signer).await?;

        let channels = (0..self.channels).map(|channel| kept(channel, self.channels)).collect();
        let publisher = Publisher::start(&stage.store, channels, self.rate).await?;
        ensure!(crowd.all(PATIENCE, has_heard).await, "there are clients that have heard nothing");
        ensure!(crowd.count(|seen| !seen.breaks.is_empty()) == 0, "connections broke before a node was drained");
        crowd.lateness();

        let mut drains = Vec::new();
        for node in 0..self.nodes {
            let here = crowd.count(|seen| seen.node == Some(node));
            ensure!(here > 0, "nobody is connected to node {node}");
            self.options.say(&format!("SIGTERM to node {node}, with {here} connections"));
            let (from, ended) = stage.drain(node).await?;
            stage.start(node).await?;
            let back = crowd.all(PATIENCE, |seen| seen.node.is_some() && seen.is_whole()).await;
            ensure!(back, "not all clients are back within {PATIENCE:?}");
            publisher.still_publishes()?;
            drains.push(Drain { node, from, took: ended - from });
        }
        sleep(self.after).await;
        let published = publisher.finish().await?;
        stage.still_runs()?;
        crowd.still_there()?;
        let books = settle(&crowd, &published, |_| true).await;

        let mut report = Report { scenario: "rolling", setting: self.setting(), ..Report::default() };
        self.breaks(&crowd, &drains, &mut report)?;
        books.report(&published, &mut report);
        let leaves: usize = crowd.each(|seen| seen.leaves.values().map(Vec::len).sum::<usize>()).sum();
        report.count("leaves", "leaves told", leaves as u64, Some(0));
        warn_of_lateness(&crowd, &mut report);
        Ok(report)
    }

    fn setting(&self) -> String {
        format!(
            "{} clients on {} nodes, each drained over {} and started again; {} of them members of a channel; \
             {} recoverable channels, {} publications a second",
            self.clients,
            self.nodes,
            humantime::format_duration(self.window),
            self.members,
            self.channels,
            self.rate
        )
    }

    /// The first of them are the members, the last the watchers.
    fn wish(&self, client: usize, urls: &[String]) -> Wish {
        let watches = client >= self.clients;
        let mut channels = Vec::new();
        if !watches {
            channels.push(kept(client, self.channels));
        }
        if watches || client < self.members {
            channels.push(ROOM.to_owned());
        }
        Wish { user: client, urls: urls.to_vec(), channels, events: watches }
    }

    /// Who was without a connection when, and for how long.
    fn breaks(&self, crowd: &Crowd, drains: &[Drain], report: &mut Report) -> anyhow::Result<()> {
        let breaks: Vec<Break> = crowd.each(|seen| seen.breaks.clone()).flatten().collect();
        let part = u64::try_from(self.window.as_nanos())? / PARTS;
        let mut tenths = vec![0_u64; PARTS as usize + 1];
        let (mut largest, mut hit) = (0.0_f64, 0);
        for drain in drains {
            let due =
                |one: &&Break| one.node == drain.node && (drain.from..drain.from + drain.took).contains(&one.left);
            let mut own = vec![0_u64; tenths.len()];
            for one in breaks.iter().filter(due) {
                let back = one.back.unwrap_or(u64::MAX);
                own[(back.saturating_sub(drain.from) / part).min(PARTS) as usize] += 1;
            }
            let all: u64 = own.iter().sum();
            ensure!(all > 0, "nobody was sent away by node {}", drain.node);
            let most = own.iter().max().copied().unwrap_or_default();
            largest = largest.max(most as f64 / all as f64);
            tenths.iter_mut().zip(&own).for_each(|(sum, own)| *sum += own);
            hit += all;
        }
        report.tenths = tenths;
        report.count("sent_away", "connections that were sent away", hit, None);
        let others = breaks.len() as u64 - hit;
        report.count("broken_elsewhere", "connections that broke at another time or node", others, Some(0));
        let rude = breaks.iter().filter(|one| one.code != Some(1001)).count() as u64;
        report.count("unannounced", "connections that ended without the code 1001", rude, Some(0));
        report.share("largest_tenth", "largest share of a drain's reconnections in a tenth of it", largest);
        let longest = drains.iter().map(|drain| drain.took).max().unwrap_or_default() as f64 / 1e9;
        report.seconds("drained", "from SIGTERM to the end of the node, longest", longest, None);
        let back = breaks.iter().filter_map(|one| Some(one.back? - one.left)).collect();
        report.spread(["away_p50", "away_p99", "away_max"], "without a connection", back, None);
        let whole = breaks.iter().filter_map(|one| Some(one.whole? - one.left)).collect();
        report.spread(["recovered_p50", "recovered_p99", "recovered_max"], "until all has recovered", whole, None);
        Ok(())
    }
}
