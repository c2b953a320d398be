//! What a server may say, and when: pure, told of everything that both sides say.

use std::collections::{HashMap, HashSet};

use super::{Frame, Version};

/// What a client knows that its server must heed.
#[derive(Debug)]
pub struct Rules {
    version: Version,
    /// The versions that were offered, and nothing else may be chosen.
    offered: Vec<Version>,
    is_connected: bool,
    /// Behind an ERROR nothing comes.
    is_over: bool,
    /// By their ids, in 1.0 without one by their destinations.
    subscriptions: HashMap<String, Subscription>,
    /// Receipts that are due, and which subscription ends with each.
    due: HashMap<String, Option<String>>,
    /// The ids of all messages so far.
    messages: HashSet<String>,
}

#[derive(Debug, Clone)]
struct Subscription {
    destination: String,
    is_acknowledged: bool,
    /// A SUBSCRIBE with a position, or `gap:true`.
    takes_gaps: bool,
}

/// Nothing of what a SEND says to the server comes back with its message.
const NEVER: [&str; 6] = ["receipt", "receipt-id", "transaction", "login", "passcode", "redelivered"];

impl Default for Rules {
    fn default() -> Self {
        Self {
            version: Version::V1_2,
            offered: Vec::new(),
            is_connected: false,
            is_over: false,
            subscriptions: HashMap::new(),
            due: HashMap::new(),
            messages: HashSet::new(),
        }
    }
}

impl Rules {
    /// The version that was agreed upon; before that the newest that was offered.
    pub fn version(&self) -> Version {
        self.version
    }

    /// As what version the next frame is to be read: before the first nothing is agreed upon, and nothing is escaped.
    pub fn reading(&self) -> Version {
        if self.is_connected { self.version } else { Version::V1_0 }
    }

    /// The client says this.
    pub fn say(&mut self, frame: &Frame) {
        let header = |name: &str| frame.header(name).map(str::to_owned);
        let named = header("id").or_else(|| header("destination"));
        let mut ends = None;
        match frame.command.as_str() {
            "CONNECT" | "STOMP" => {
                let versions = header("accept-version").unwrap_or_else(|| "1.0".to_owned());
                self.offered = versions.split(',').filter_map(Version::of).collect();
                self.version = self.offered.iter().copied().max().unwrap_or(self.version);
            }
            "SUBSCRIBE" => {
                let subscription = Subscription {
                    destination: header("destination").unwrap_or_default(),
                    is_acknowledged: frame.header("ack").is_some_and(|ack| ack != "auto"),
                    takes_gaps: frame.header("gap") == Some("true") || frame.header("offset").is_some(),
                };
                // The second of one id is refused: the first stands until then.
                self.subscriptions.entry(named.unwrap_or_default()).or_insert(subscription);
            }
            "UNSUBSCRIBE" => ends = named,
            _ => {}
        }
        // Until the RECEIPT messages may be on their way.
        if let Some(receipt) = header("receipt") {
            self.due.insert(receipt, ends);
        }
    }

    /// The server says this.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn hear(&mut self, frame: &Frame) -> Result<(), String> {
        check(!self.is_over, "a frame behind an ERROR")?;
        match frame.command.as_str() {
            "CONNECTED" => self.connected(frame),
            "ERROR" => self.error(frame),
            _ if !self.is_connected => Err("a frame before CONNECTED".to_owned()),
            "RECEIPT" => self.receipt(frame),
            "MESSAGE" => self.message(frame),
            other => Err(format!("{other:?} is no frame of a server's")),
        }
    }

    fn connected(&mut self, frame: &Frame) -> Result<(), String> {
        check(!self.is_connected, "CONNECTED twice")?;
        only(frame, &["version", "heart-beat", "session", "server", "user-name"])?;
        check(frame.body.is_empty(), "CONNECTED with a body")?;
        let version = frame.header("version").unwrap_or("1.0");
        let version = Version::of(version).ok_or_else(|| format!("there is no version {version}"))?;
        check(self.offered.contains(&version), "a version that was not offered")?;
        let heart_beat = frame.header("heart-beat").unwrap_or("0,0").split_once(',');
        let is_pair = heart_beat.is_some_and(|(one, other)| is_number(one) && is_number(other));
        check(is_pair, "a heart-beat that is no pair of numbers")?;
        check(
            frame.header("server").is_none_or(|server| !server.contains(char::is_whitespace)),
            "a server with spaces",
        )?;
        self.version = version;
        self.is_connected = true;
        Ok(())
    }

    fn error(&mut self, frame: &Frame) -> Result<(), String> {
        let known = ["message", "version", "code", "name", "retry", "receipt-id", "content-type", "content-length"];
        only(frame, &known)?;
        check(frame.header("message").is_some_and(|message| !message.is_empty()), "an ERROR without a message")?;
        check(frame.header("code").is_none_or(is_number), "a code that is no number")?;
        check(frame.body.is_empty() || frame.header("content-type").is_some(), "a body without a content-type")?;
        if let Some(receipt) = frame.header("receipt-id") {
            check(self.due.contains_key(receipt), "a receipt-id that is not due")?;
        }
        self.is_over = true;
        Ok(())
    }

    fn receipt(&mut self, frame: &Frame) -> Result<(), String> {
        only(frame, &["receipt-id", "epoch", "offset", "recovered"])?;
        check(frame.body.is_empty(), "RECEIPT with a body")?;
        position(frame)?;
        let recovered = frame.header("recovered");
        check(recovered.is_none_or(|said| matches!(said, "true" | "false")), "recovered is true or false")?;
        check(recovered.is_none() || frame.header("epoch").is_some(), "recovered without a position")?;
        let due = frame.header("receipt-id").and_then(|receipt| self.due.remove(receipt));
        let ends = due.ok_or("a RECEIPT that is not due")?;
        if let Some(subscription) = ends {
            self.subscriptions.remove(&subscription);
        }
        Ok(())
    }

    fn message(&mut self, frame: &Frame) -> Result<(), String> {
        let header = |name: &str| frame.header(name).ok_or_else(|| format!("a MESSAGE without {name}"));
        let (destination, id) = (header("destination")?, header("message-id")?);
        check(!id.is_empty() && self.messages.insert(id.to_owned()), "a message-id that is not new")?;
        for never in NEVER {
            check(frame.header(never).is_none(), &format!("a MESSAGE with {never}"))?;
        }
        let named = match (frame.header("subscription"), self.version) {
            (Some(named), _) => named,
            (None, Version::V1_0) => destination,
            (None, _) => return Err("a MESSAGE without subscription".to_owned()),
        };
        let subscription = self.subscriptions.get(named).ok_or("a MESSAGE of a subscription that does not stand")?;
        check(subscription.destination == destination, "another destination than that of the SUBSCRIBE")?;
        let is_acknowledged = subscription.is_acknowledged && self.version == Version::V1_2;
        if frame.header("gap").is_none() {
            check(frame.header("ack").is_some() == is_acknowledged, "`ack` is for 1.2 where ack is not auto")?;
            header("content-type")?;
            header("content-length")?;
        }
        check(frame.header("ack").is_none_or(|ack| ack == id), "an ack that is not the message-id")?;
        position(frame)?;
        self.gap(frame, subscription.takes_gaps)
    }

    fn gap(&self, frame: &Frame, is_taken: bool) -> Result<(), String> {
        let window = (frame.header("gap-from"), frame.header("gap-to"));
        let Some(reason) = frame.header("gap") else {
            return check(window == (None, None), "the window of a gap without its reason");
        };
        check(is_taken, "a gap that nobody asked for")?;
        check(!reason.is_empty() && frame.body.is_empty(), "a gap has a reason, and an empty body")?;
        let (Some(from), Some(to)) = (frame.number("gap-from"), frame.number("gap-to")) else {
            return Err("a gap without its window".to_owned());
        };
        check(from <= to, "a gap that ends before it begins")
    }
}

fn check(is_kept: bool, rule: &str) -> Result<(), String> {
    if is_kept { Ok(()) } else { Err(rule.to_owned()) }
}

fn only(frame: &Frame, known: &[&str]) -> Result<(), String> {
    let stranger = frame.headers.iter().find(|(name, _)| !known.contains(&name.as_str()));
    stranger.map_or(Ok(()), |(name, _)| Err(format!("{} with the header {name:?}", frame.command)))
}

/// Epoch and offset come together, as numbers.
fn position(frame: &Frame) -> Result<(), String> {
    match (frame.header("epoch"), frame.header("offset")) {
        (None, None) => Ok(()),
        (Some(epoch), Some(offset)) => check(is_number(epoch) && is_number(offset), "a position that is no number"),
        _ => Err("half a position".to_owned()),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit())
}
