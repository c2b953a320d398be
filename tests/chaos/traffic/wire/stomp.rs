//! The same over STOMP. What is said and heard is told as the native messages that it stands for, so that one subscriber
//! serves both, and what it saw is judged by the same rules.

use std::collections::HashMap;
use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::time::timeout;

use super::{Coming, DEADLINE};
use crate::stomp::{Client, End, Frame, Version};

/// A connection with a session.
pub(crate) struct Stomp {
    client: Client,
    last_id: u64,
    /// By their ids on the wire.
    subscriptions: HashMap<String, Subscription>,
    /// What receipts will answer.
    asked: HashMap<u64, Asked>,
    /// What the last ERROR said.
    code: u16,
}

struct Subscription {
    channel: String,
    /// How many messages want an ACK, which is one for all of them, and the last.
    unacknowledged: (usize, String),
    /// It was left, and nothing of it is acknowledged any more.
    is_leaving: bool,
}

/// How many messages may be unacknowledged, so that some have to wait, and how many are acknowledged at once.
const WINDOW: usize = 20;
const AT_ONCE: usize = 8;

enum Asked {
    /// The position from which to recover.
    Subscribe(Option<(String, u64)>),
    /// Which subscription ends.
    Unsubscribe(String),
    Ping,
}

/// A client that is connected in this version, as whom the token says; `None` if that fails.
pub(crate) async fn connect(address: SocketAddr, token: &str, version: Version) -> Option<Client> {
    let connected = timeout(DEADLINE, async {
        let mut client = Client::dial(address).await.ok()?;
        let connect = Frame::new("CONNECT").with("accept-version", version.name()).with("host", "chaos");
        // Whoever connects here says something more often than this.
        client.send(&connect.with("passcode", token).with("heart-beat", "5000,5000")).await.ok()?;
        let connected = client.next().await.ok()?;
        (connected.command == "CONNECTED").then_some(client)
    });
    connected.await.ok()?
}

impl Stomp {
    /// Connects in this version, as whom the token says; `None` if that fails.
    pub(crate) async fn open(address: SocketAddr, token: &str, version: Version) -> Option<Self> {
        let client = connect(address, token, version).await?;
        Some(Self { client, last_id: 0, subscriptions: HashMap::new(), asked: HashMap::new(), code: 0 })
    }

    /// Sends what stands for a command: its id, if it could be written in time.
    pub(crate) async fn send(&mut self, name: &'static str, body: &Value) -> Option<u64> {
        self.last_id += 1;
        let id = self.last_id;
        let receipt = id.to_string();
        let channel = body["channel"].as_str().unwrap_or_default();
        let (frame, asked) = match name {
            "subscribe" => {
                // Every version carries a colon and a backslash, each in its own way.
                let subscription = format!("{channel}\\{id}");
                let mut frame = Frame::new("SUBSCRIBE").with("id", &subscription).with("gap", "true");
                frame = frame.with("destination", &format!("/topic/{channel}"));
                if self.acknowledges() {
                    frame = frame.with("ack", "client").with("prefetch-count", &WINDOW.to_string());
                }
                let mut asked = None;
                if let Some(from) = body.get("recover") {
                    let (epoch, offset) = (from["epoch"].as_str()?.to_owned(), from["offset"].as_u64()?);
                    frame = frame.with("epoch", &epoch).with("offset", &offset.to_string());
                    asked = Some((epoch, offset));
                }
                let channel = channel.to_owned();
                let subscribed = Subscription { channel, unacknowledged: (0, String::new()), is_leaving: false };
                self.subscriptions.insert(subscription, subscribed);
                (frame, Asked::Subscribe(asked))
            }
            "unsubscribe" => {
                let (id, subscription) = self.subscriptions.iter_mut().find(|(_, one)| one.channel == channel)?;
                subscription.is_leaving = true;
                (Frame::new("UNSUBSCRIBE").with("id", id), Asked::Unsubscribe(id.clone()))
            }
            // There is no ping, but the receipt of anything stands behind all that came before it.
            _ => {
                self.acknowledge(1).await?;
                self.write(&Frame::new("BEGIN").with("transaction", &receipt)).await?;
                (Frame::new("ABORT").with("transaction", &receipt), Asked::Ping)
            }
        };
        self.asked.insert(id, asked);
        self.write(&frame.with("receipt", &receipt)).await?;
        Some(id)
    }

    /// Subscribers of 1.1 acknowledge, so that both ways are met.
    fn acknowledges(&self) -> bool {
        self.client.version() == Version::V1_1
    }

    /// Acknowledges what is to be, to be called behind each message. `None`: it could not be written in time.
    pub(crate) async fn settle(&mut self) -> Option<()> {
        match self.acknowledges() {
            true => self.acknowledge(AT_ONCE).await,
            false => Some(()),
        }
    }

    /// Of subscriptions with so many messages that want it.
    async fn acknowledge(&mut self, least: usize) -> Option<()> {
        let mut frames = Vec::new();
        for (id, subscription) in self.subscriptions.iter_mut() {
            if subscription.unacknowledged.0 >= least && !subscription.is_leaving {
                let (_, message) = std::mem::take(&mut subscription.unacknowledged);
                frames.push(Frame::new("ACK").with("message-id", &message).with("subscription", id));
            }
        }
        for frame in frames {
            self.write(&frame).await?;
        }
        Some(())
    }

    async fn write(&mut self, frame: &Frame) -> Option<()> {
        timeout(DEADLINE, self.client.send(frame)).await.ok()?.ok()
    }

    /// The next message. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Coming {
        let frame = match self.client.next().await {
            Ok(frame) => frame,
            Err(End::Closed) => return Coming::End(self.code),
            Err(End::Broken(rule)) => return Coming::Broken(rule),
        };
        let told = match frame.command.as_str() {
            "MESSAGE" => self.message(&frame),
            "RECEIPT" => self.receipt(&frame),
            _ => self.error(&frame),
        };
        let text = format!("{frame:?}");
        match told {
            Some(message) => Coming::Message(message, text),
            None => Coming::Broken(format!("not what was asked for: {text}")),
        }
    }

    fn message(&mut self, frame: &Frame) -> Option<Value> {
        let (id, message) = (frame.header("subscription")?, frame.header("message-id")?);
        let acknowledges = self.acknowledges();
        let subscription = self.subscriptions.get_mut(id)?;
        let channel = subscription.channel.clone();
        if let Some(reason) = frame.header("gap") {
            let (from, to) = (frame.number("gap-from"), frame.number("gap-to"));
            let position = (frame.header("epoch"), frame.number("offset"));
            let gap = json!({"reason": reason, "from": from, "to": to, "epoch": position.0, "offset": position.1});
            return Some(json!({"push": {"channel": channel, "gap": gap}}));
        }
        if acknowledges {
            subscription.unacknowledged = (subscription.unacknowledged.0 + 1, message.to_owned());
        }
        // What is published here is JSON, whoever published it.
        let is_json = frame.header("content-type") == Some("application/json");
        let data: Value = serde_json::from_slice(&frame.body).ok().filter(|_| is_json)?;
        let mut publication = json!({"data": data});
        if let (Some(epoch), Some(offset)) = (frame.header("epoch"), frame.number("offset")) {
            publication["epoch"] = epoch.into();
            publication["offset"] = offset.into();
        }
        Some(json!({"push": {"channel": channel, "pub": publication}}))
    }

    fn receipt(&mut self, frame: &Frame) -> Option<Value> {
        let id = frame.number("receipt-id")?;
        let asked = match self.asked.remove(&id)? {
            Asked::Subscribe(asked) => asked,
            Asked::Unsubscribe(subscription) => {
                self.subscriptions.remove(&subscription);
                return Some(json!({"id": id, "unsubscribe": {}}));
            }
            Asked::Ping => return Some(json!({"id": id, "ping": {}})),
        };
        let mut reply = json!({});
        if let (Some(epoch), Some(offset)) = (frame.header("epoch"), frame.number("offset")) {
            reply["epoch"] = epoch.into();
            reply["offset"] = offset.into();
            if let Some(recovered) = frame.header("recovered") {
                reply["recovered"] = (recovered == "true").into();
            }
            // What was missed comes behind it; across epochs nobody can say how much that is.
            if let Some((before, from)) = asked {
                let count = if before == epoch { offset.checked_sub(from)? } else { u64::MAX };
                reply["following"] = count.into();
            }
        }
        Some(json!({"id": id, "subscribe": reply}))
    }

    fn error(&mut self, frame: &Frame) -> Option<Value> {
        self.code = frame.number("code").and_then(|code| u16::try_from(code).ok()).unwrap_or(0);
        let said = frame.header("name").or_else(|| frame.header("message"))?;
        // Whoever is told why a connection ends was not asked for anything.
        Some(json!({"id": frame.number("receipt-id"), "error": {"name": said}}))
    }
}
