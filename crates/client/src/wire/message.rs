//! Owns what a node says: replies and pushes.

use std::collections::HashMap;

use serde::Deserialize;

use super::position::{self, Epoch, Offset};
use super::published::Published;
use ullim_protocol::position::Position;

use crate::client::CommandError;
use crate::data::Info;
use crate::event::GapReason;
use crate::presence::{MembersPage, Occupancy};

/// Anything that a node says.
#[derive(Debug, Deserialize)]
pub(crate) struct Message {
    pub(crate) id: Option<u64>,
    pub(crate) error: Option<Refusal>,
    pub(crate) connect: Option<Connected>,
    pub(crate) refresh: Option<Refreshed>,
    pub(crate) subscribe: Option<Subscribed>,
    pub(crate) presence: Option<MembersPage>,
    pub(crate) presence_count: Option<Occupancy>,
    pub(crate) publish: Option<Place>,
    pub(crate) history: Option<History>,
    pub(crate) push: Option<Push>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Refusal {
    pub(crate) code: u16,
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) message: String,
    pub(crate) retry: bool,
}

impl From<Refusal> for CommandError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused { code: refusal.code, name: refusal.name, message: refusal.message, retry: refusal.retry }
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Connected {
    pub(crate) session: String,
    pub(crate) user: Option<String>,
    /// Milliseconds.
    pub(crate) ping: u64,
    /// What opens this session again.
    pub(crate) resume: Option<String>,
    #[serde(default)]
    pub(crate) resumed: bool,
    /// When the token does, in Unix seconds.
    pub(crate) expires: Option<u64>,
    #[serde(default)]
    pub(crate) limits: Limits,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Refreshed {
    pub(crate) expires: Option<u64>,
    pub(crate) resume: Option<String>,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
pub(crate) struct Limits {
    /// Bytes; `None`: not said.
    pub(crate) message: Option<usize>,
    /// Of one connection; `None`: not said.
    pub(crate) subscriptions: Option<usize>,
}

/// Of one channel: its own fields. Of several: a list.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Subscribed {
    /// Empty if one channel was asked for by itself.
    #[serde(default)]
    channels: Vec<Outcome>,
    presence: Option<MembersPage>,
    recovered: Option<bool>,
    epoch: Option<Epoch>,
    offset: Option<Offset>,
    #[serde(default)]
    pubs: Vec<Published>,
}

#[derive(Debug, Deserialize)]
struct Outcome {
    channel: String,
    error: Option<Refusal>,
    presence: Option<MembersPage>,
    recovered: Option<bool>,
    epoch: Option<Epoch>,
    offset: Option<Offset>,
    #[serde(default)]
    pubs: Vec<Published>,
}

/// A subscription that was granted.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    pub(crate) presence: Option<MembersPage>,
    /// Whether all that was missed is here; `None` if the node was not asked to recover.
    pub(crate) recovered: Option<bool>,
    /// Where the channel stands; `None` for a live one.
    pub(crate) position: Option<Position>,
    /// What was missed, or the latest.
    pub(crate) publications: Vec<Published>,
}

impl Subscribed {
    /// What became of `channels`, which were asked for together, by name. What is not there was granted.
    pub(crate) fn outcomes(self, channels: &[String]) -> HashMap<String, Result<Standing, Refusal>> {
        let Self { channels: outcomes, presence, recovered, epoch, offset, pubs } = self;
        let position = position::whole(epoch, offset);
        let only = Standing { presence, recovered, position, publications: pubs };
        let only = match channels {
            [channel] => Some((channel.clone(), Ok(only))),
            _ => None,
        };
        let of = |outcome: Outcome| {
            let Outcome { channel, error, presence, recovered, epoch, offset, pubs } = outcome;
            let position = position::whole(epoch, offset);
            let standing = Standing { presence, recovered, position, publications: pubs };
            (channel, error.map_or(Ok(standing), Err))
        };
        only.into_iter().chain(outcomes.into_iter().map(of)).collect()
    }
}

/// Where a publication stands; empty on a live channel.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
pub(crate) struct Place {
    epoch: Option<Epoch>,
    offset: Option<Offset>,
}

impl Place {
    pub(crate) fn position(self) -> Option<Position> {
        position::whole(self.epoch, self.offset)
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct History {
    epoch: Epoch,
    offset: Offset,
    pubs: Vec<Published>,
    #[serde(default)]
    more: bool,
}

impl History {
    /// What this client cannot read is left out, as the node leaves out what it cannot.
    pub(crate) fn read(self) -> crate::history::History {
        let position = Position { epoch: self.epoch.0, offset: self.offset.0 };
        let read = |published: Published| {
            let position = published.position(Some(position.epoch));
            published.read(position).ok()
        };
        let publications = self.pubs.into_iter().filter_map(read).collect();
        crate::history::History { position, publications, more: self.more }
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Push {
    pub(crate) channel: Option<String>,
    #[serde(rename = "pub")]
    pub(crate) publication: Option<Published>,
    pub(crate) join: Option<Join>,
    pub(crate) leave: Option<Leave>,
    pub(crate) gap: Option<Gap>,
    pub(crate) position: Option<Place>,
    pub(crate) unsubscribed: Option<Unsubscribed>,
    pub(crate) reconnect: Option<Reconnect>,
}

/// The node is about to end.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Reconnect {
    /// When it closes this connection, in milliseconds.
    pub(crate) delay: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Join {
    pub(crate) user: String,
    pub(crate) info: Option<Info>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Leave {
    pub(crate) user: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Gap {
    pub(crate) from: u64,
    pub(crate) to: u64,
    reason: String,
    epoch: Option<Epoch>,
    offset: Option<Offset>,
}

impl Gap {
    /// Where the channel goes on.
    pub(crate) fn position(&self) -> Option<Position> {
        position::whole(self.epoch, self.offset)
    }

    pub(crate) fn reason(self) -> GapReason {
        GapReason::from(self.reason)
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Unsubscribed {
    pub(crate) code: u16,
    pub(crate) name: String,
}

impl Message {
    pub(crate) fn decode(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unknown_is_ignored() {
        let text = r#"{"id":1,"new":[1],"connect":{"session":"s","ping":25000,"x":null}}"#;
        let connected = Message::decode(text).unwrap().connect.unwrap();
        assert_eq!((connected.user, connected.ping, connected.resumed), (None, 25_000, false));
        let push = Message::decode(r#"{"push":{"presence":{}}}"#).unwrap();
        assert!(push.push.is_some_and(|push| push.channel.is_none()));
    }

    #[test]
    fn deep_info_is_no_reason_to_hang_up() {
        let info = format!("{}1{}", "[".repeat(127), "]".repeat(127));
        let text = format!(r#"{{"push":{{"channel":"c","join":{{"user":"a","info":{info}}}}}}}"#);
        let join = Message::decode(&text).unwrap().push.unwrap().join.unwrap();
        assert_eq!(join.info.unwrap().as_str(), info);
    }
}
