//! SUBSCRIBE and UNSUBSCRIBE: a client's subscriptions, each a label of the session's subscription to a channel.

use std::collections::HashMap;

use ullim_protocol::command::{Command, Label, Subscribe};
use ullim_protocol::position::{Epoch, MAX_NUMBER, Position};
use ullim_protocol::stomp::{ClientCommand, FrameHeaders, Version, message_label};

use super::session::{Fault, Rules, Session, channel_of};

/// How many messages of a subscription may be unacknowledged, unless it says otherwise, and at most.
const WINDOW: u32 = 100;
const MAX_WINDOW: u32 = 1000;

/// The most bytes of a subscription's id: each of its messages repeats it.
const MAX_ID_BYTES: usize = 255;

/// The subscriptions of a connection.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    open: HashMap<Name, Subscription>,
    /// How many there have ever been.
    last: u32,
}

/// What a client calls a subscription. In STOMP 1.0 that may be its destination.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Name {
    Id(String),
    Destination(String),
}

/// What there is under a number.
pub(super) enum Numbered<'s> {
    Open(&'s Subscription),
    Ended,
    Never,
}

/// A subscription of a client's.
#[derive(Debug)]
pub(super) struct Subscription {
    number: u32,
    /// `None`: its destination is its name.
    pub(super) id: Option<String>,
    pub(super) channel: String,
    pub(super) ack: Ack,
}

/// How messages are acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ack {
    Auto,
    /// With all before them.
    Client,
    Individual,
}

impl Subscriptions {
    /// The subscription with this number.
    pub(super) fn numbered(&self, number: u32) -> Numbered<'_> {
        match self.open.values().find(|subscription| subscription.number == number) {
            Some(subscription) => Numbered::Open(subscription),
            None if (1..=self.last).contains(&number) => Numbered::Ended,
            None => Numbered::Never,
        }
    }
}

impl Session {
    pub(super) fn subscribe(&mut self, headers: &FrameHeaders, rules: &Rules) -> Result<Command, Fault> {
        let destination = channel_of(ClientCommand::Subscribe, headers, rules)?;
        let said = headers.get("destination").unwrap_or_default();
        let name = self.name_of(ClientCommand::Subscribe, headers)?;
        if self.subscriptions.open.contains_key(&name) {
            return Err(match name {
                Name::Id(id) => Fault::new(format!("the id {id:?} is another subscription's")),
                Name::Destination(_) => Fault::new("there is a subscription to this destination: give both an id"),
            });
        }
        if self.subscriptions.open.len() >= rules.subscriptions {
            return Err(Fault::new(format!("a connection has at most {} subscriptions", rules.subscriptions)));
        }
        if headers.get("selector").is_some() {
            return Err(Fault::new("selectors are not known: subscribe to a channel of its own"));
        }
        let ack = ack_of(headers)?;
        if destination.is_queue && ack != Ack::Auto {
            let text = "queues that several share are not there yet: a destination in /queue/ has ack:auto only";
            return Err(Fault::new(text));
        }
        let window = window_of(headers)?;
        let recover = recover_of(headers)?;
        let wants_gaps = gap_of(headers)?;
        self.subscriptions.last += 1;
        let number = self.subscriptions.last;
        let id = match &name {
            Name::Id(id) => Some(id.clone()),
            Name::Destination(_) => None,
        };
        let label = Label {
            number,
            text: message_label(self.version, id.as_deref(), said).into(),
            gaps: wants_gaps || recover.is_some(),
            window: Some(window).filter(|_| ack != Ack::Auto),
        };
        let channel = destination.channel;
        self.subscriptions.open.insert(name, Subscription { number, id, channel: channel.clone(), ack });
        Ok(Command::Subscribe(Subscribe { recover, label: Some(Box::new(label)), ..Subscribe::plain(channel) }))
    }

    pub(super) fn unsubscribe(&mut self, headers: &FrameHeaders) -> Result<Command, Fault> {
        let name = self.name_of(ClientCommand::Unsubscribe, headers)?;
        match self.subscriptions.open.remove(&name) {
            Some(Subscription { number, channel, .. }) => Ok(Command::Withdraw { channel, label: number }),
            None => Err(Fault::new("UNSUBSCRIBE names no subscription of this connection")),
        }
    }

    /// STOMP 1.0 has subscriptions without an id.
    fn name_of(&self, command: ClientCommand, headers: &FrameHeaders) -> Result<Name, Fault> {
        match (headers.get("id"), headers.get("destination")) {
            (Some(id), _) if id.len() > MAX_ID_BYTES => {
                Err(Fault::new(format!("the header \"id\" has at most {MAX_ID_BYTES} bytes")))
            }
            (Some(id), _) => Ok(Name::Id(id.to_owned())),
            (None, Some(destination)) if self.version == Version::V1_0 => Ok(Name::Destination(destination.to_owned())),
            _ => Err(Fault::missing("id", command)),
        }
    }
}

fn ack_of(headers: &FrameHeaders) -> Result<Ack, Fault> {
    match headers.get("ack") {
        None | Some("auto") => Ok(Ack::Auto),
        Some("client") => Ok(Ack::Client),
        Some("client-individual") => Ok(Ack::Individual),
        Some(_) => Err(Fault::new("the header \"ack\" is auto, client or client-individual")),
    }
}

fn window_of(headers: &FrameHeaders) -> Result<u32, Fault> {
    let Some(said) = headers.get("prefetch-count") else { return Ok(WINDOW) };
    let count = said.parse().ok().filter(|count| (1..=MAX_WINDOW).contains(count));
    count.ok_or_else(|| Fault::new(format!("the header \"prefetch-count\" is a number from 1 to {MAX_WINDOW}")))
}

fn gap_of(headers: &FrameHeaders) -> Result<bool, Fault> {
    match headers.get("gap") {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Fault::new("the header \"gap\" is true or false")),
    }
}

fn recover_of(headers: &FrameHeaders) -> Result<Option<Position>, Fault> {
    let (epoch, offset) = match (headers.get("epoch"), headers.get("offset")) {
        (None, None) => return Ok(None),
        (Some(epoch), Some(offset)) => (epoch, offset),
        _ => return Err(Fault::new("the headers \"epoch\" and \"offset\" go together")),
    };
    let epoch = Epoch::parse(epoch).ok_or_else(|| Fault::new("the header \"epoch\" is none that a message had"))?;
    let is_number = !offset.is_empty() && offset.bytes().all(|byte| byte.is_ascii_digit());
    let offset = is_number.then(|| offset.parse().ok()).flatten().filter(|offset| *offset <= MAX_NUMBER);
    let offset = offset.ok_or_else(|| Fault::new("the header \"offset\" is none that a message had"))?;
    Ok(Some(Position { epoch, offset }))
}
