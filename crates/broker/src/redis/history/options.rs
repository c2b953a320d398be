//! What the functions know of namespaces: it stands in the library's source, because in a Cluster a function cannot read
//! another slot's key. Deployments with other key prefixes may share the Redis, and so the library.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{ChannelRule, ChannelRules, HistoryRule};

/// By key prefix.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Options(BTreeMap<String, Section>);

/// What holds under one key prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Section {
    /// Raised by whoever changes it.
    pub(super) revision: u64,
    /// PUBLISH or SPUBLISH.
    pub(super) publish: String,
    /// By recoverable namespace: the most publications of a history, and how long it lives, in milliseconds.
    namespaces: BTreeMap<String, (u64, u64)>,
}

impl Section {
    pub(super) fn new(rules: &ChannelRules, sharded: bool) -> Self {
        let namespaces = rules.recoverable().map(|(name, rule)| {
            // PEXPIRE takes no more than fits into 63 bits with the time; a century is long enough.
            let ttl = rule.ttl.as_millis().clamp(1, 100 * 365 * 86_400_000) as u64;
            (name.to_owned(), (rule.size.max(1) as u64, ttl))
        });
        let publish = if sharded { "SPUBLISH" } else { "PUBLISH" };
        Self { revision: 1, publish: publish.to_owned(), namespaces: namespaces.collect() }
    }

    /// What it says of namespaces. What their payloads are it does not say.
    pub(super) fn rules(&self) -> ChannelRules {
        let rules = self.namespaces.iter().map(|(name, &(size, ttl))| {
            let history = Some(HistoryRule { size: size as usize, ttl: Duration::from_millis(ttl) });
            (name.clone(), ChannelRule { history, ..ChannelRule::default() })
        });
        ChannelRules::new(rules.collect())
    }

    /// Whether both say the same, whatever their revisions.
    pub(super) fn agrees(&self, other: &Self) -> bool {
        self.publish == other.publish && self.namespaces == other.namespaces
    }

    /// Whether a function may make use of it. What somebody else has loaded may say anything.
    fn is_sane(&self) -> bool {
        let sane = |&(size, ttl): &(u64, u64)| (1..1 << 32).contains(&size) && (1..1 << 44).contains(&ttl);
        matches!(&*self.publish, "PUBLISH" | "SPUBLISH")
            && self.revision < 1 << 52
            && self.namespaces.values().all(sane)
    }
}

impl Options {
    /// What a library says of itself; what cannot be read is left out.
    pub(super) fn read(text: &str) -> Self {
        let mut options: Self = serde_json::from_str(text).unwrap_or_default();
        options.0.retain(|_, section| section.is_sane());
        options
    }

    pub(super) fn of(&self, prefix: &str) -> Option<&Section> {
        self.0.get(prefix)
    }

    pub(super) fn set(&mut self, prefix: &str, section: Section) {
        self.0.insert(prefix.to_owned(), section);
    }

    /// The head of the library.
    pub(super) fn head(&self, follows_replication: bool) -> String {
        let mut head = "#!lua name=ullim_history\nlocal OPTIONS = {\n".to_owned();
        // Writing into a String cannot fail.
        for (prefix, section) in &self.0 {
            let _ = writeln!(head, "  [{}] = {{ publish = {}, namespaces = {{", lua(prefix), lua(&section.publish));
            for (namespace, (size, ttl)) in &section.namespaces {
                let _ = writeln!(head, "    [{}] = {{ '{size}', '{ttl}' }},", lua(namespace));
            }
            head.push_str("  } },\n");
        }
        let text = serde_json::to_string(self).unwrap_or_default();
        let _ = writeln!(head, "}}\nlocal OPTIONS_TEXT = {}", lua(&text));
        let _ = writeln!(head, "local FOLLOWS_REPLICATION = {follows_replication}\n");
        head
    }
}

/// A literal of Lua, whatever the text holds.
fn lua(text: &str) -> String {
    let mut literal = "'".to_owned();
    for byte in text.bytes() {
        match byte {
            b'\'' | b'\\' | 0..0x20 | 0x7f.. => drop(write!(literal, "\\{byte:03}")),
            _ => literal.push(char::from(byte)),
        }
    }
    literal.push('\'');
    literal
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn what_a_library_says_is_read_as_it_was_written_and_nonsense_is_left_out() {
        let rule = ChannelRule {
            history: Some(HistoryRule { size: 7, ttl: Duration::from_secs(1) }),
            ..ChannelRule::default()
        };
        let rules = ChannelRules::new(HashMap::from([("orders".to_owned(), rule)]));
        let mut options = Options::default();
        options.set("ullim", Section::new(&rules, false));
        let text = serde_json::to_string(&options).unwrap();
        assert_eq!(Options::read(&text), options);
        let section = options.of("ullim").unwrap();
        assert!(section.agrees(&Section::new(&section.rules(), false)));
        assert!(options.head(true).contains("['orders'] = { '7', '1000' }"));
        let hostile = text.replace("PUBLISH", "FLUSHALL");
        assert_eq!(Options::read(&hostile), Options::default());
        assert_eq!(Options::read("nonsense"), Options::default());
    }

    #[test]
    fn no_text_breaks_out_of_its_literal() {
        assert_eq!(lua("a'b\\c\n\u{e9}"), "'a\\039b\\092c\\010\\195\\169'");
    }
}
