//! The functions that Redis runs for recoverable channels, and their loading. Two revisions decide who loads: that of the
//! code, of which the newest stays, and that of the options, which a starting node raises if it has others. Running
//! nodes yield.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::options::{Options, Section};
use crate::ChannelRules;
use crate::redis::Shared;
use crate::redis::commands::Commands;
use crate::redis::presence::calls::{self, Broken, Refusal};
use crate::tally::Seldom;

/// What stands behind the head: each file uses those before it.
const SOURCE: &str = concat!(
    include_str!("epochs.lua"),
    "\n",
    include_str!("options.lua"),
    "\n",
    include_str!("publish.lua"),
    "\n",
    include_str!("read.lua")
);

/// The revision in the source.
const REVISION: u64 = 2;

/// How often it is told that masters lack the functions, while they are the same ones.
const TELL_EACH: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(in crate::redis) struct Library {
    prefix: String,
    /// Epochs end when Redis has another history of data.
    follows_replication: bool,
    view: Mutex<View>,
    /// Loads do not cross.
    loading: tokio::sync::Mutex<()>,
    told: Seldom,
}

#[derive(Debug)]
struct View {
    /// What this node wants Redis to have: its own options, or those that it has yielded to.
    section: Section,
    /// Redis has had them once.
    has_started: bool,
    /// Which history of data each master had when it was last looked at, by the key that it was asked with.
    replication: HashMap<String, String>,
    /// The masters of a Cluster that could not be given the functions when that was last tried, by the same keys.
    lacking: BTreeSet<String>,
}

/// What Redis has, as far as this node is concerned.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Fits,
    /// Ours is to be loaded.
    Load,
    /// Another node's options hold from now on.
    Yield(Section),
}

impl Library {
    pub(super) fn new(prefix: &str, rules: &ChannelRules, follows_replication: bool, sharded: bool) -> Self {
        let view = View {
            section: Section::new(rules, sharded),
            has_started: false,
            replication: HashMap::new(),
            lacking: BTreeSet::new(),
        };
        Self {
            prefix: prefix.to_owned(),
            follows_replication,
            view: Mutex::new(view),
            loading: Default::default(),
            told: Seldom::default(),
        }
    }

    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps in mind which masters could not be given the functions, and tells of it: at once if they are others than
    /// before, and then seldom.
    fn lacks(&self, lacking: BTreeSet<String>, reason: Option<&Broken>) {
        let before = std::mem::replace(&mut self.view().lacking, lacking.clone());
        let is_due = !lacking.is_empty() && self.told.is_due(Instant::now(), TELL_EACH);
        match reason {
            Some(Broken(reason)) if is_due || !lacking.is_subset(&before) => {
                let masters = lacking.len();
                tracing::warn!(masters, %reason, "masters lack the functions of recoverable channels, trying again")
            }
            None if !before.is_empty() => tracing::info!("all masters have the functions of recoverable channels"),
            _ => {}
        }
    }
}

impl View {
    /// What follows from a library with `code` as its revision, that has `theirs` for our prefix.
    fn judge(&mut self, code: u64, theirs: Option<&Section>) -> Verdict {
        let Some(theirs) = theirs else { return Verdict::Load };
        let agrees = theirs.agrees(&self.section);
        let raises = !self.has_started && !agrees && code <= REVISION;
        if raises {
            self.section.revision = theirs.revision + 1;
            return Verdict::Load;
        }
        if agrees {
            self.section.revision = theirs.revision;
        } else if self.has_started && theirs.revision < self.section.revision && code <= REVISION {
            return Verdict::Load;
        }
        match (agrees, code < REVISION) {
            (false, _) => Verdict::Yield(theirs.clone()),
            (true, true) => Verdict::Load,
            (true, false) => Verdict::Fits,
        }
    }
}

/// What `ullim_history_revision` says.
pub(super) type Revision = (u64, String, String, u64, String);

/// Makes sure that Redis has these functions, or newer ones, and that we may use them; in a Cluster, every master that
/// can be reached. Says whether one has another history of data than it had when this was last looked at.
pub(in crate::redis) async fn ensure(shared: &Shared, link: &mut Commands) -> Result<bool, Broken> {
    let _alone = shared.histories.library.loading.lock().await;
    let (mut lacking, mut broken) = (BTreeSet::new(), None);
    let (mut some, mut is_other) = (false, false);
    for (mut master, tag) in link.masters() {
        let key = tag.map_or_else(|| shared.names.write("revision"), |tag| shared.names.canary(&tag));
        match ensure_at(shared, &mut master, &key).await {
            Ok(other) => (some, is_other) = (true, is_other | other),
            Err(error) => {
                lacking.insert(key);
                broken = Some(error);
            }
        }
    }
    match broken {
        // The link's own task tells of it.
        Some(broken) if !some => Err(broken),
        // What is on a master that cannot be reached is tried again: others serve on.
        broken => {
            shared.histories.library.lacks(lacking, broken.as_ref());
            Ok(is_other)
        }
    }
}

async fn ensure_at(shared: &Shared, link: &mut Commands, key: &str) -> Result<bool, Broken> {
    let library = &shared.histories.library;
    for _ in 0..4 {
        let mut ask = redis::cmd("FCALL");
        let publish = library.view().section.publish.clone();
        ask.arg("ullim_history_revision").arg(1).arg(key).arg(publish);
        let (code, text, lacks, is_master, replication) = match calls::one::<Revision>(shared, link, &ask).await? {
            Ok(revision) => revision,
            Err(Refusal::Unknown) => {
                load(shared, link, Options::default()).await?;
                continue;
            }
            Err(Refusal::Said(reason)) => return Err(Broken(reason)),
        };
        if !lacks.is_empty() {
            return Err(Broken(format!("the user at redis may not use the command {lacks} on the keys")));
        }
        if is_master == 0 {
            return Err(Broken("READONLY this is a replica".to_owned()));
        }
        let options = Options::read(&text);
        let verdict = library.view().judge(code, options.of(&library.prefix));
        match verdict {
            Verdict::Fits => {}
            Verdict::Load if code > REVISION => {
                return Err(Broken("redis has a newer library, which does not know this key prefix".to_owned()));
            }
            Verdict::Load => {
                load(shared, link, options).await?;
                continue;
            }
            Verdict::Yield(section) => {
                tracing::warn!(
                    revision = section.revision,
                    "another node has loaded other options of recoverable namespaces into redis: they hold from now on"
                );
                library.view().section = section;
            }
        }
        let mut view = library.view();
        view.has_started = true;
        let before = view.replication.insert(key.to_owned(), replication.clone());
        return Ok(before.is_some_and(|before| before != replication));
    }
    Err(Broken("the functions do not stay in redis: who else loads a library \"ullim_history\"?".to_owned()))
}

async fn load(shared: &Shared, link: &mut Commands, mut options: Options) -> Result<(), Broken> {
    let library = &shared.histories.library;
    let section = library.view().section.clone();
    let revision = section.revision;
    options.set(&library.prefix, section);
    let source = options.head(library.follows_replication) + SOURCE;
    let mut command = redis::cmd("FUNCTION");
    command.arg("LOAD").arg("REPLACE").arg(source);
    match calls::one::<String>(shared, link, &command).await? {
        Ok(_) => {
            tracing::info!(revision = REVISION, options = revision, "loaded the functions of recoverable channels")
        }
        Err(Refusal::Said(reason)) => return Err(Broken(reason)),
        Err(Refusal::Unknown) => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ChannelRule, HistoryRule};

    fn section(size: usize, revision: u64) -> Section {
        let history = Some(HistoryRule { size, ttl: Duration::from_secs(1) });
        let rule = ChannelRule { history, ..ChannelRule::default() };
        let mut section = Section::new(&ChannelRules::new(HashMap::from([("a".to_owned(), rule)])), false);
        section.revision = revision;
        section
    }

    fn view(section: Section, has_started: bool) -> View {
        View { section, has_started, replication: HashMap::new(), lacking: BTreeSet::new() }
    }

    #[test]
    fn the_source_has_the_revision() {
        assert!(SOURCE.contains(&format!("\nlocal REVISION = {REVISION}\n")));
    }

    #[test]
    fn who_starts_with_other_options_raises_the_revision_and_who_runs_yields() {
        let mut starting = view(section(1, 1), false);
        assert_eq!(starting.judge(REVISION, Some(&section(2, 5))), Verdict::Load);
        assert_eq!(starting.section.revision, 6);
        let mut running = view(section(2, 5), true);
        assert_eq!(running.judge(REVISION, Some(&section(1, 6))), Verdict::Yield(section(1, 6)));
        // What a failover has brought back is older.
        assert_eq!(running.judge(REVISION, Some(&section(1, 4))), Verdict::Load);
        assert_eq!(running.section.revision, 5);
    }

    #[test]
    fn equal_options_are_left_alone_and_older_code_is_replaced() {
        let mut starting = view(section(1, 1), false);
        assert_eq!(starting.judge(REVISION, Some(&section(1, 7))), Verdict::Fits);
        assert_eq!(starting.judge(REVISION - 1, Some(&section(1, 7))), Verdict::Load);
        assert_eq!(starting.section.revision, 7);
    }

    #[test]
    fn newer_code_is_never_replaced() {
        for has_started in [false, true] {
            let mut view = view(section(1, 9), has_started);
            assert_eq!(view.judge(REVISION + 1, Some(&section(2, 5))), Verdict::Yield(section(2, 5)));
            assert_eq!(view.judge(REVISION + 1, Some(&section(1, 5))), Verdict::Fits);
        }
    }
}
