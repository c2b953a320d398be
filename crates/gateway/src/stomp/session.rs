//! What is known of one connection, and what its frames ask for.

use std::borrow::Cow;
use std::collections::VecDeque;

use bytes::Bytes;
use ullim_protocol::command::{Acknowledge, Command, Publish, Request};
use ullim_protocol::stomp::destination::{self, NamespaceSeparator};
use ullim_protocol::stomp::{
    ClientCommand, Frame, FrameHeaders, Limits, MessageId, Version, Violation, data_of, publication_headers,
};

use super::connecting::HeartBeats;
use super::subscribing::{Ack, Numbered, Subscriptions};
use super::telling::{Answers, Expected};
use super::transactions::Transactions;
use crate::config::{Config, StompConfig};

/// What frames may be, and how much of what a session may hold.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) limits: Limits,
    /// What a topic's name has between namespace and the rest.
    pub(crate) separator: NamespaceSeparator,
    /// The most transactions that are open.
    pub(crate) transactions: usize,
    /// The most frames of a transaction.
    pub(crate) transaction_frames: usize,
    /// The most bytes of all frames of all transactions.
    pub(crate) transaction_bytes: usize,
    /// The most subscriptions.
    pub(crate) subscriptions: usize,
}

impl Rules {
    pub(crate) fn new(config: &Config, hub: &ullim_hub::Config) -> Self {
        let StompConfig { headers, header_bytes, namespace_separator, transactions, transaction_frames, .. } =
            config.stomp;
        Self {
            limits: Limits { headers, header_bytes, body_bytes: config.message_bytes },
            separator: namespace_separator,
            transactions,
            transaction_frames,
            transaction_bytes: hub.queue_bytes.max(2 * config.message_bytes),
            subscriptions: hub.subscriptions,
        }
    }
}

/// A connection's state.
#[derive(Debug)]
pub(crate) struct Session {
    /// As agreed; before that, the latest.
    pub(super) version: Version,
    pub(super) has_connect: bool,
    /// It has said good-bye: nothing that follows counts.
    pub(super) disconnecting: bool,
    /// What the opening handshake of a WebSocket brought.
    pub(super) handshake_token: Option<String>,
    pub(super) heart_beats: HeartBeats,
    pub(super) subscriptions: Subscriptions,
    pub(super) transactions: Transactions,
    pub(super) answers: Answers,
}

/// Why a frame cannot be carried out. The connection ends with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) text: Cow<'static, str>,
    pub(super) receipt: Option<String>,
    /// The client has named no version that this node speaks.
    pub(super) tells_versions: bool,
}

impl Fault {
    pub(super) fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self { text: text.into(), receipt: None, tells_versions: false }
    }

    pub(super) fn missing(header: &str, command: ClientCommand) -> Self {
        Self::new(format!("{} lacks the header {header:?}", command.name()))
    }
}

impl From<Violation> for Fault {
    fn from(violation: Violation) -> Self {
        Self { text: violation.rule, receipt: violation.receipt, tells_versions: false }
    }
}

impl Session {
    pub(crate) fn new(handshake_token: Option<String>) -> Self {
        Self {
            version: Version::V1_2,
            has_connect: false,
            disconnecting: false,
            handshake_token,
            heart_beats: HeartBeats::default(),
            subscriptions: Subscriptions::default(),
            transactions: Transactions::default(),
            answers: Answers::default(),
        }
    }

    /// The version that is spoken.
    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// What a frame asks the hub for. A frame that asks for nothing is a ping, so that it counts and is answered in its
    /// turn.
    pub(crate) fn take(&mut self, frame: Frame<'_>, rules: &Rules) -> Result<VecDeque<Request>, Fault> {
        if self.disconnecting {
            return Ok(VecDeque::new());
        }
        let receipt = frame.headers.get("receipt").map(str::to_owned);
        let taken = self.take_with(frame, receipt.clone(), rules);
        taken.map_err(|fault| Fault { receipt: fault.receipt.or(receipt), ..fault })
    }

    fn take_with(
        &mut self,
        frame: Frame<'_>,
        receipt: Option<String>,
        rules: &Rules,
    ) -> Result<VecDeque<Request>, Fault> {
        let Frame { command, headers, body } = frame;
        if command != ClientCommand::Connect && !self.has_connect {
            return Err(Fault::new("the first frame must be CONNECT or STOMP"));
        }
        let mut expected = Expected::Receipt;
        let mut requests = VecDeque::new();
        let asked = match command {
            ClientCommand::Connect => {
                expected = Expected::Connected;
                self.connect(&headers)?
            }
            ClientCommand::Send => self.within_transaction(&headers, send(&headers, &body, rules)?, rules)?,
            ClientCommand::Ack | ClientCommand::Nack => {
                let acknowledge = self.acknowledge(command, &headers)?;
                self.within_transaction(&headers, acknowledge, rules)?
            }
            ClientCommand::Subscribe => {
                expected = Expected::Subscribed;
                self.subscribe(&headers, rules)?
            }
            ClientCommand::Unsubscribe => self.unsubscribe(&headers)?,
            ClientCommand::Begin => self.transactions.begin(transaction(command, &headers)?, rules)?,
            ClientCommand::Abort => self.transactions.abort(transaction(command, &headers)?)?,
            ClientCommand::Commit => {
                requests.extend(self.transactions.commit(transaction(command, &headers)?)?);
                Command::Ping
            }
            ClientCommand::Disconnect => {
                self.disconnecting = true;
                expected = Expected::Disconnected;
                Command::Ping
            }
        };
        requests.push_back(asked);
        Ok(self.answers.number(requests, expected, receipt))
    }

    /// A command, or its place in the transaction that the frame names.
    fn within_transaction(
        &mut self,
        headers: &FrameHeaders,
        command: Command,
        rules: &Rules,
    ) -> Result<Command, Fault> {
        match headers.get("transaction") {
            None => Ok(command),
            Some(name) => self.transactions.add(name, command, rules),
        }
    }

    /// STOMP 1.2, "ACK"; 1.1 and 1.0 name the message otherwise.
    fn acknowledge(&self, command: ClientCommand, headers: &FrameHeaders) -> Result<Command, Fault> {
        if command == ClientCommand::Nack && self.version == Version::V1_0 {
            return Err(Fault::new("STOMP 1.0 has no NACK"));
        }
        let header = if self.version == Version::V1_2 { "id" } else { "message-id" };
        let named = headers.get(header).ok_or_else(|| Fault::missing(header, command))?;
        let unknown = || Fault::new(format!("the header {header:?} names no message that this connection was sent"));
        let id = MessageId::parse(named).ok_or_else(unknown)?;
        let subscription = match self.subscriptions.numbered(id.subscription) {
            Numbered::Open(subscription) => subscription,
            // The message was on its way when it was unsubscribed from.
            Numbered::Ended => return Ok(Command::Ping),
            Numbered::Never => return Err(unknown()),
        };
        if self.version == Version::V1_1 {
            let said = headers.get("subscription").ok_or_else(|| Fault::missing("subscription", command))?;
            if subscription.id.as_deref() != Some(said) {
                return Err(Fault::new("the header \"subscription\" is not the message's"));
            }
        }
        let cumulative = match subscription.ack {
            Ack::Auto => return Err(Fault::new("messages of a subscription with ack:auto are not acknowledged")),
            Ack::Client => true,
            Ack::Individual => false,
        };
        let channel = subscription.channel.clone();
        Ok(Command::Acknowledge(Acknowledge { channel, label: id.subscription, number: id.message, cumulative }))
    }
}

/// The channel of the destination that a frame names.
pub(super) fn channel_of(
    command: ClientCommand,
    headers: &FrameHeaders,
    rules: &Rules,
) -> Result<destination::Destination, Fault> {
    let named = headers.get("destination").ok_or_else(|| Fault::missing("destination", command))?;
    destination::parse(named, rules.separator).map_err(|error| Fault::new(error.to_string()))
}

fn transaction(command: ClientCommand, headers: &FrameHeaders) -> Result<&str, Fault> {
    headers.get("transaction").ok_or_else(|| Fault::missing("transaction", command))
}

fn send(headers: &FrameHeaders, body: &[u8], rules: &Rules) -> Result<Command, Fault> {
    let channel = channel_of(ClientCommand::Send, headers, rules)?.channel;
    let (data, content_type) = data_of(headers.get("content-type"), Bytes::copy_from_slice(body));
    let headers = publication_headers(headers, content_type).map_err(|error| Fault::new(error.to_string()))?;
    Ok(Command::Publish(Publish { channel, data, headers, echo: true, id: None }))
}
