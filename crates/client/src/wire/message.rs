//! Owns what a node says: replies and pushes.

use serde::Deserialize;

use super::published::Published;
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

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Subscribed {
    /// Empty if one channel was asked for without a list.
    #[serde(default)]
    pub(crate) channels: Vec<Outcome>,
    /// Of the one channel.
    pub(crate) presence: Option<MembersPage>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) channel: String,
    pub(crate) error: Option<Refusal>,
    pub(crate) presence: Option<MembersPage>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Push {
    pub(crate) channel: Option<String>,
    #[serde(rename = "pub")]
    pub(crate) publication: Option<Published>,
    pub(crate) join: Option<Join>,
    pub(crate) leave: Option<Leave>,
    pub(crate) gap: Option<Gap>,
    pub(crate) unsubscribed: Option<Unsubscribed>,
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
}

impl Gap {
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
