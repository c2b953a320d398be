//! `kill -9` of the node that holds all clients. How soon are they back on the other one, was anything lost, and who is
//! said to be there or to have left?

use std::collections::HashMap;
use std::time::Duration;

use anyhow::ensure;
use tokio::time::sleep;
use ullim_loadtest::clock;

use super::{ROOM, has_heard, kept, settle, warn_of_lateness};
use crate::crowd::{Crowd, Wish};
use crate::publisher::Publisher;
use crate::report::Report;
use crate::seen::Seen;
use crate::stage::{Options, Stage};
use crate::store::{Entry, Link};

/// Longer than a lease and the grace of a user: a leave that is wrong has been told by then.
const LEAST: Duration = Duration::from_secs(12);

/// What has not come about by then never does.
const MOST: Duration = Duration::from_secs(60);

/// How often is looked who is said to be there.
const LOOK: Duration = Duration::from_millis(50);

/// How much of what.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Killed {
    /// Clients on the node that is killed.
    #[arg(long, default_value_t = 5_000)]
    pub(crate) clients: usize,
    /// How many of them are in a channel with presence besides.
    #[arg(long, default_value_t = 500)]
    pub(crate) members: usize,
    /// How many of those know of no other node, and so stay away for good.
    #[arg(long, default_value_t = 100)]
    pub(crate) stay_away: usize,
    /// Recoverable channels that the clients are spread over.
    #[arg(long, default_value_t = 50)]
    pub(crate) channels: usize,
    /// Publications a second on them, all together.
    #[arg(long, default_value_t = 50.0)]
    pub(crate) rate: f64,
    /// For how many seconds it goes on before the node is killed.
    #[arg(long, default_value_t = 5.0)]
    pub(crate) before: f64,
    /// What every scenario has to be told.
    #[command(flatten)]
    pub(crate) options: Options,
}

/// The node that is killed, and the other.
const DOOMED: usize = 0;
const OTHER: usize = 1;

impl Killed {
    /// Runs it.
    pub(crate) async fn run(&self) -> anyhow::Result<Report> {
        ensure!(self.members <= self.clients && self.stay_away < self.members, "--stay-away < --members ≤ --clients");
        ensure!((1..=self.clients).contains(&self.channels), "--channels is at least 1, and at most --clients");
        let before = Duration::try_from_secs_f64(self.before)?;
        let mut stage = Stage::new(&self.options, 2, Duration::from_secs(10), self.clients + 1).await?;
        let (urls, signer) = (stage.urls(), stage.signer()?);
        let mut crowd = Crowd::new(urls.clone());

        // The other node starts when all are on this one: they know of both.
        self.options.say(&format!("connecting {} clients to a node", self.clients));
        stage.start(DOOMED).await?;
        crowd.admit((0..self.clients).map(|client| self.wish(client, &urls)).collect(), &signer).await?;
        ensure!(crowd.count(|seen| seen.node == Some(DOOMED)) == self.clients, "not all clients are on one node");
        stage.start(OTHER).await?;
        let watcher =
            Wish { user: self.clients, urls: vec![urls[OTHER].clone()], channels: vec![ROOM.to_owned()], events: true };
        crowd.admit(vec![watcher], &signer).await?;
        let mut link = stage.store.connect().await?;
        let dead = self.doomed(&mut link).await?;

        self.options.say("publishing");
        let channels = (0..self.channels).map(|channel| kept(channel, self.channels)).collect();
        let publisher = Publisher::start(&stage.store, channels, self.rate).await?;
        sleep(before).await;
        ensure!(crowd.all(MOST, has_heard).await, "there are clients that have heard nothing");
        ensure!(crowd.count(|seen| !seen.breaks.is_empty()) == 0, "connections broke before the node was killed");
        crowd.lateness();

        self.options.say("kill -9");
        let killed = stage.kill(DOOMED)?;
        let returning = self.clients - self.stay_away;
        let mut gone = None;
        loop {
            let is_there = |entry: &Entry| entry.node == dead;
            if gone.is_none() && !link.members(ROOM).await?.values().any(is_there) {
                gone = Some(clock::now() - killed);
            }
            let back = crowd.count(|seen| seen.break_since(killed).is_some_and(|one| one.whole.is_some()));
            let told: usize = crowd.each(|seen| seen.leaves.len()).sum();
            let is_over = back >= returning && gone.is_some() && told >= self.stay_away;
            if clock::elapsed(killed) > if is_over { LEAST } else { MOST } {
                break;
            }
            publisher.still_publishes()?;
            sleep(LOOK).await;
        }
        let published = publisher.finish().await?;
        stage.still_runs()?;
        crowd.still_there()?;
        let came_back = |seen: &Seen| seen.node == Some(OTHER);
        let books = settle(&crowd, &published, came_back).await;

        let mut report = Report { scenario: "killed", setting: self.setting(), ..Report::default() };
        let whole = |seen: &Seen| Some(seen.break_since(killed)?.whole? - killed);
        let resumed: Vec<u64> = crowd.each(whole).flatten().collect();
        ensure!(!resumed.is_empty(), "nobody came back");
        report.count("resumed", "clients that are back", resumed.len() as u64, None);
        let missing = returning.saturating_sub(resumed.len()) as u64;
        report.count("not_resumed", "clients that are not back", missing, Some(0));
        let names = ["resumed_p50", "resumed_p99", "resumed_max"];
        report.spread(names, "from the kill until a client is back and has recovered", resumed, Some(10.0));
        books.report(&published, &mut report);
        let gone = gone.map_or(MOST.as_secs_f64(), |nanos| nanos as f64 / 1e9);
        report.seconds("ghosts_gone", "until Redis holds no member of the dead node", gone, Some(10.0));
        let left = link.members(ROOM).await?;
        let ghosts = left.values().filter(|entry| number(entry).is_some_and(|user| user < self.stay_away)).count();
        report.count("ghosts", "members that stay away and are still said to be there", ghosts as u64, Some(0));
        let there = left.len() - ghosts;
        let missing = (self.members - self.stay_away + 1).saturating_sub(there) as u64;
        report.count("forgotten", "members that are back and not said to be there", missing, Some(0));
        self.leaves(&crowd, killed, &mut report);
        warn_of_lateness(&crowd, &mut report);
        Ok(report)
    }

    fn setting(&self) -> String {
        format!(
            "{} clients on a node that is killed, {} of them members of a channel, of whom {} stay away; \
             {} recoverable channels, {} publications a second",
            self.clients, self.members, self.stay_away, self.channels, self.rate
        )
    }

    /// The first of them are the members, and the first of those stay away.
    fn wish(&self, client: usize, urls: &[String]) -> Wish {
        let known = if client < self.stay_away { &urls[..1] } else { urls };
        let mut channels = vec![kept(client, self.channels)];
        if client < self.members {
            channels.push(ROOM.to_owned());
        }
        Wish { user: client, urls: known.to_vec(), channels, events: false }
    }

    /// The id of the node that is to be killed, once all members are known to be there.
    async fn doomed(&self, link: &mut Link) -> anyhow::Result<String> {
        let begun = clock::now();
        loop {
            let members = link.members(ROOM).await?;
            if members.len() == self.members + 1 {
                let on = |entry: &&Entry| number(entry).is_some_and(|user| user < self.members);
                let mut nodes: HashMap<&str, usize> = HashMap::new();
                members.values().filter(on).for_each(|entry| *nodes.entry(&entry.node).or_default() += 1);
                let all = nodes.into_iter().find(|(_, count)| *count == self.members);
                return all.map(|(node, _)| node.to_owned()).ok_or_else(|| anyhow::anyhow!("members of two nodes"));
            }
            ensure!(clock::elapsed(begun) < MOST, "{} members instead of {}", members.len(), self.members + 1);
            sleep(LOOK).await;
        }
    }

    /// What the watcher on the other node was told.
    fn leaves(&self, crowd: &Crowd, killed: u64, report: &mut Report) {
        let mut told: HashMap<String, Vec<u64>> = HashMap::new();
        for leaves in crowd.each(|seen| seen.leaves.clone()) {
            leaves.into_iter().for_each(|(user, times)| told.entry(user).or_default().extend(times));
        }
        let of = |client: usize| told.get(&format!("user-{client}")).map_or(0, Vec::len);
        let missing = (0..self.stay_away).filter(|client| of(*client) == 0).count();
        let repeated: usize = (0..self.stay_away).map(|client| of(client).saturating_sub(1)).sum();
        let wrong: usize = (self.stay_away..self.clients).map(of).sum();
        let last = told.values().flatten().max().map_or(0.0, |at| at.saturating_sub(killed) as f64 / 1e9);
        report.count("leaves", "leaves told", told.values().map(Vec::len).sum::<usize>() as u64, None);
        report.seconds("leaves_last", "until the last leave was told", last, Some(10.0));
        report.count("leaves_missing", "who stay away and were not told to leave", missing as u64, Some(0));
        report.count("leaves_repeated", "leaves told again", repeated as u64, Some(0));
        report.count("leaves_wrong", "leaves of who came back", wrong as u64, Some(0));
    }
}

/// Which client's entry this is.
fn number(entry: &Entry) -> Option<usize> {
    entry.user.as_deref()?.strip_prefix("user-")?.parse().ok()
}
