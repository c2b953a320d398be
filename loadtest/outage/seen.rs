//! What one client has seen: where it is connected, when it was not, and what came on its channels. Pure.

use std::collections::HashMap;

use ullim_client::{Data, Event, GapReason};

use crate::heard::Heard;

/// Times are nanoseconds of `ullim_loadtest::clock`.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The number of the node that it is connected to.
    pub(crate) node: Option<usize>,
    /// When it was without a connection.
    pub(crate) breaks: Vec<Break>,
    /// Its channels, by name.
    pub(crate) channels: HashMap<String, Channel>,
    /// When it was told that a user left.
    pub(crate) leaves: HashMap<String, Vec<u64>>,
    /// Why the client gave up, if it did.
    pub(crate) ended: Option<String>,
}

/// A time without a connection.
#[derive(Debug, Clone)]
pub(crate) struct Break {
    /// The node that it was connected to.
    pub(crate) node: usize,
    /// When it was noticed.
    pub(crate) left: u64,
    /// The close code, if there was one.
    pub(crate) code: Option<u16>,
    /// When it was connected again.
    pub(crate) back: Option<u64>,
    /// When all its channels stood again.
    pub(crate) whole: Option<u64>,
}

/// A subscription.
#[derive(Debug, Default)]
pub(crate) struct Channel {
    /// Since when it stands.
    pub(crate) stands: Option<u64>,
    /// What came on it.
    pub(crate) heard: Heard,
    /// What could not be read, or had no place.
    pub(crate) strange: u64,
    /// How often it could not go on where it was.
    pub(crate) not_recovered: u64,
    /// The gaps that the node told: when, and whether one of the history.
    pub(crate) gaps: Vec<(u64, bool)>,
}

impl Seen {
    /// Something happened at `now`. `urls` are those of the nodes.
    pub(crate) fn enter(&mut self, event: Event, urls: &[String], now: u64) {
        match event {
            Event::Connected { url, .. } => {
                self.node = urls.iter().position(|other| *other == url);
                if let Some(last) = self.breaks.last_mut() {
                    last.back.get_or_insert(now);
                }
            }
            Event::Disconnected { code, .. } => {
                if let Some(node) = self.node.take() {
                    self.breaks.push(Break { node, left: now, code, back: None, whole: None });
                }
                self.channels.values_mut().for_each(|channel| channel.stands = None);
            }
            Event::Publication { channel, publication } => {
                let Some(channel) = self.channels.get_mut(&channel) else { return };
                let number = number(&publication.data).filter(|number| channel.heard.enter(*number));
                channel.strange += u64::from(number.is_none());
            }
            Event::Recovered { channel, .. } | Event::Gap { channel, reason: GapReason::Disconnected, .. } => {
                self.stands(&channel, now);
            }
            Event::NotRecovered { channel, .. } => {
                if let Some(channel) = self.channels.get_mut(&channel) {
                    channel.not_recovered += 1;
                }
                self.stands(&channel, now);
            }
            Event::Gap { channel, reason, .. } => {
                if let Some(channel) = self.channels.get_mut(&channel) {
                    channel.gaps.push((now, reason == GapReason::History));
                }
            }
            Event::Left { user, .. } => self.leaves.entry(user).or_default().push(now),
            Event::Unsubscribed { channel, name, .. } => self.ended = Some(format!("{channel}: {name}")),
            Event::Closed { reason } => self.ended = Some(reason.to_string()),
            Event::Connecting { .. } | Event::Members { .. } | Event::Joined { .. } => {}
        }
    }

    /// The subscription to `channel` stands since `now`.
    pub(crate) fn stands(&mut self, channel: &str, now: u64) {
        if let Some(channel) = self.channels.get_mut(channel) {
            channel.stands.get_or_insert(now);
        }
        if self.is_whole()
            && let Some(last) = self.breaks.last_mut()
        {
            last.whole.get_or_insert(now);
        }
    }

    /// Whether all its channels stand.
    pub(crate) fn is_whole(&self) -> bool {
        self.channels.values().all(|channel| channel.stands.is_some())
    }

    /// The first time without a connection that began at `since` or later.
    pub(crate) fn break_since(&self, since: u64) -> Option<&Break> {
        self.breaks.iter().find(|one| one.left >= since)
    }
}

/// The number of a message.
fn number(data: &Data) -> Option<u64> {
    let Data::Json(json) = data else { return None };
    let object: HashMap<&str, u64> = serde_json::from_str(json.get()).ok()?;
    object.get("n").copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ullim_client::{Epoch, Position, Publication};

    fn publication(channel: &str, n: u64) -> Event {
        let data = Data::json(&HashMap::from([("n", n)])).unwrap();
        let publication = Publication { data, time: 0, headers: Default::default(), position: None };
        Event::Publication { channel: channel.to_owned(), publication }
    }

    #[test]
    fn a_break_lasts_until_the_client_is_connected_and_all_its_channels_stand() {
        let urls = ["ws://a".to_owned(), "ws://b".to_owned()];
        let channels = ["kept:1", "room:1"].map(|name| (name.to_owned(), Channel::default())).into();
        let mut seen = Seen { channels, ..Seen::default() };
        let connected =
            |url: &str| Event::Connected { session: String::new(), user: None, url: url.to_owned(), resumed: false };
        let broken = || Event::Disconnected { code: Some(1001), reason: ullim_client::Reason::User, retry_in: None };
        let position = Position::start(Epoch::new(1_763_700_000_000_000).unwrap());
        seen.enter(connected("ws://b"), &urls, 1);
        seen.stands("kept:1", 2);
        seen.stands("room:1", 2);
        seen.enter(publication("kept:1", 1), &urls, 3);
        assert!(seen.is_whole() && seen.breaks.is_empty() && seen.node == Some(1));
        seen.enter(broken(), &urls, 5);
        seen.enter(broken(), &urls, 6);
        seen.enter(connected("ws://a"), &urls, 7);
        let recovered = Event::Recovered { channel: "kept:1".to_owned(), since: position, position };
        seen.enter(recovered, &urls, 8);
        assert!(!seen.is_whole());
        let (channel, reason) = ("room:1".to_owned(), GapReason::Disconnected);
        seen.enter(Event::Gap { channel, from: 0, to: 0, reason, position: None }, &urls, 9);
        assert_eq!(seen.breaks.len(), 1);
        let one = seen.break_since(4).unwrap();
        assert_eq!((one.node, one.left, one.code, one.back, one.whole), (1, 5, Some(1001), Some(7), Some(9)));
        assert_eq!(seen.channels["kept:1"].heard.last(), 1);
        assert!(seen.break_since(6).is_none());
    }
}
