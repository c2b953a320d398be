//! `kill -9` of Redis under a node with many channels, and a new start with what it had written. How soon are all
//! channels subscribed again, and how soon has everybody been told what may be missing?

use std::collections::HashMap;
use std::time::Duration;

use anyhow::ensure;
use tokio::time::sleep;
use ullim_loadtest::clock;

use super::warn_of_lateness;
use crate::crowd::{Crowd, Wish};
use crate::heard::Wrong;
use crate::report::Report;
use crate::seen::Seen;
use crate::stage::{Options, Stage};

/// What has not come about by then never does.
const MOST: Duration = Duration::from_secs(60);

/// How often Redis is asked how many channels are subscribed.
const LOOK: Duration = Duration::from_millis(5);

/// How much of what.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Resubscribed {
    /// Connections.
    #[arg(long, default_value_t = 200)]
    pub(crate) connections: usize,
    /// Channels of each, which nobody else has: half of them live, half recoverable.
    #[arg(long, default_value_t = 100)]
    pub(crate) per_connection: usize,
    /// How long Redis is away.
    #[arg(long, default_value = "3s", value_parser = humantime::parse_duration)]
    pub(crate) away: Duration,
    /// What every scenario has to be told.
    #[command(flatten)]
    pub(crate) options: Options,
}

impl Resubscribed {
    /// Runs it.
    pub(crate) async fn run(&self) -> anyhow::Result<Report> {
        ensure!(self.connections > 0 && self.per_connection >= 2, "--connections is at least 1, --per-connection 2");
        let mut stage = Stage::new(&self.options, 1, Duration::from_secs(10), self.connections).await?;
        let (urls, signer) = (stage.urls(), stage.signer()?);
        stage.start(0).await?;
        let wishes: Vec<Wish> = (0..self.connections).map(|number| self.wish(number, &urls)).collect();
        let channels: Vec<String> = wishes.iter().flat_map(|wish| wish.channels.clone()).collect();
        self.options.say(&format!("subscribing to {} channels", channels.len()));
        let mut crowd = Crowd::new(urls);
        crowd.admit(wishes, &signer).await?;
        let mut link = stage.store.connect().await?;
        ensure!(link.unsubscribed(&channels).await? == 0, "there are channels that nobody is subscribed to");

        let (kept, live): (Vec<&str>, Vec<&str>) = channels.iter().map(String::as_str).partition(|name| is_kept(name));
        let numbered = |names: &[&str], number| -> Vec<(String, u64)> {
            names.iter().map(|name| ((*name).to_owned(), number)).collect()
        };
        link.publish_kept(&borrowed(&numbered(&kept, 1)), true).await?;
        link.publish_live(&borrowed(&numbered(&live, 1))).await?;
        let hears = |number| move |seen: &Seen| seen.channels.values().all(|one| one.heard.last() >= number);
        ensure!(crowd.all(MOST, hears(1)).await, "there are channels that nothing was heard on");
        ensure!(crowd.each(signals).sum::<u64>() == 0, "there were gaps before Redis was killed");
        drop(link);

        self.options.say("kill -9 of Redis");
        let killed = clock::now();
        stage.store.kill()?;
        sleep(self.away).await;
        crowd.lateness();
        let answered = stage.store.start_again().await?;
        let mut link = stage.store.connect().await?;
        let subscribed = loop {
            if link.subscribed().await? >= channels.len() && link.unsubscribed(&channels).await? == 0 {
                break clock::now();
            }
            ensure!(clock::elapsed(answered) < MOST, "{} of {}", link.unsubscribed(&channels).await?, channels.len());
            sleep(LOOK).await;
        };
        self.options.say("all channels are subscribed again");
        crowd.all(MOST, |seen| seen.channels.values().all(|one| !one.gaps.is_empty())).await;
        // The node may have been let in before we were.
        let first_told = crowd.each(|seen| seen.channels.values().filter_map(|one| Some(one.gaps.first()?.0)).min());
        let up = first_told.flatten().min().map_or(answered, |told| told.min(answered));
        let mut report = Report { scenario: "resubscribed", setting: self.setting(), ..Report::default() };
        warn_of_lateness(&crowd, &mut report);

        link.publish_kept(&borrowed(&numbered(&kept, 2)), false).await?;
        link.publish_live(&borrowed(&numbered(&live, 2))).await?;
        crowd.all(MOST, hears(2)).await;
        stage.still_runs()?;
        crowd.still_there()?;
        ensure!(crowd.count(|seen| !seen.breaks.is_empty()) == 0, "clients lost their connections");

        report.count("channels", "channels", channels.len() as u64, None);
        let after = |at: u64| at.saturating_sub(up) as f64 / 1e9;
        report.seconds("down", "Redis did not answer for", (up - killed) as f64 / 1e9, None);
        report.seconds("resubscribed", "from its first answer until all are subscribed", after(subscribed), Some(2.0));
        self.told(&crowd, up, &mut report)?;
        let wrong = crowd.each(wrong).fold(Wrong::default(), |mut sum, wrong| {
            sum += wrong;
            sum
        });
        report.count("lost", "lost, of a publication before and one after on each channel", wrong.lost, Some(0));
        report.count("duplicated", "came twice", wrong.duplicated, Some(0));
        Ok(report)
    }

    fn setting(&self) -> String {
        let (connections, each) = (self.connections, self.per_connection);
        format!("{connections} connections with {each} channels each, half of them recoverable; Redis is killed")
    }

    fn wish(&self, number: usize, urls: &[String]) -> Wish {
        let kind = |channel: usize| if channel.is_multiple_of(2) { "kept" } else { "load" };
        let channels = (0..self.per_connection).map(|channel| format!("{}:{number}-{channel}", kind(channel)));
        Wish { user: number, urls: urls.to_vec(), channels: channels.collect(), events: false }
    }

    /// When the subscribers were told that something may be missing.
    fn told(&self, crowd: &Crowd, up: u64, report: &mut Report) -> anyhow::Result<()> {
        type Gaps = Vec<(u64, bool)>;
        let gaps: HashMap<String, Gaps> = crowd
            .each(|seen| seen.channels.iter().map(|(name, one)| (name.clone(), one.gaps.clone())).collect::<Vec<_>>())
            .flatten()
            .collect();
        let first = |kept: bool| -> Vec<u64> {
            let own = gaps.iter().filter(|(name, _)| is_kept(name) == kept);
            own.filter_map(|(_, gaps)| Some(gaps.first()?.0.saturating_sub(up))).collect()
        };
        let (live, kept) = (first(false), first(true));
        ensure!(!live.is_empty() && !kept.is_empty(), "nobody was told anything");
        let untold = gaps.values().filter(|gaps| gaps.is_empty()).count() as u64;
        report.spread(["live_p50", "live_p99", "live_max"], "until live channels are told their gap", live, None);
        let names = ["kept_p50", "kept_p99", "kept_max"];
        report.spread(names, "until recoverable ones are compared with their history", kept, None);
        report.count("untold", "channels that were told nothing", untold, Some(0));
        let again: usize = gaps.values().map(|gaps| gaps.len().saturating_sub(1)).sum();
        report.count("told_again", "gaps beyond the one of each channel", again as u64, Some(0));
        let right = |(name, gaps): (&String, &Gaps)| gaps.iter().all(|(_, of_history)| *of_history == is_kept(name));
        let wrong = gaps.iter().filter(|(name, gaps)| !right((name, gaps))).count() as u64;
        report.count("wrong_reason", "channels that were told another reason than their kind's", wrong, Some(0));
        Ok(())
    }
}

fn is_kept(channel: &str) -> bool {
    channel.starts_with("kept:")
}

fn borrowed(messages: &[(String, u64)]) -> Vec<(&str, u64)> {
    messages.iter().map(|(name, number)| (name.as_str(), *number)).collect()
}

fn signals(seen: &Seen) -> u64 {
    seen.channels.values().map(|one| one.gaps.len() as u64 + one.not_recovered).sum()
}

fn wrong(seen: &Seen) -> Wrong {
    seen.channels.values().fold(Wrong::default(), |mut sum, one| {
        sum += one.heard.wrong(2);
        sum
    })
}
