//! Answers: CONNECTED, RECEIPT, ERROR. The hub answers in the order of the commands, so that a RECEIPT means that all
//! frames before it were dealt with.

use std::collections::VecDeque;

use ullim_hub::Then;
use ullim_protocol::codes::{self, CloseCode};
use ullim_protocol::command::{Command, Request};
use ullim_protocol::outgoing::{Outgoing, Push, Reply, Subscribed};
use ullim_protocol::stomp::{Version, error, receipt};

use super::session::{Fault, Session};

/// What frames wait for, in their order.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// The number of the last command.
    last: u64,
    awaited: VecDeque<Awaited>,
    /// Of the frame that the connection ends for, once that is known.
    blamed: Option<Fault>,
    /// CONNECTED was told.
    is_connected: bool,
    /// The client was told that it is over.
    is_over: bool,
}

/// A frame whose answer is more than nothing.
#[derive(Debug)]
struct Awaited {
    /// The numbers of its commands: a COMMIT has several.
    first: u64,
    last: u64,
    expected: Expected,
    receipt: Option<String>,
}

/// What the last command of a frame brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    Connected,
    Subscribed,
    Disconnected,
    /// Nothing but a RECEIPT.
    Receipt,
}

impl Answers {
    /// Gives a frame's commands their numbers, and remembers what it is to be answered.
    pub(super) fn number(
        &mut self,
        commands: VecDeque<Command>,
        expected: Expected,
        receipt: Option<String>,
    ) -> VecDeque<Request> {
        let first = self.last + 1;
        let number = |command| {
            self.last += 1;
            Request { id: self.last, command }
        };
        let requests = commands.into_iter().map(number).collect();
        if receipt.is_some() || expected != Expected::Receipt {
            self.awaited.push_back(Awaited { first, last: self.last, expected, receipt });
        }
        requests
    }

    /// What the frame that this was the last command of is to be answered.
    fn take(&mut self, number: u64) -> Option<Awaited> {
        self.awaited.pop_front_if(|awaited| awaited.last == number)
    }

    /// The receipt of the frame that has a command with this number.
    fn receipt_of(&mut self, number: u64) -> Option<String> {
        let awaited = self.awaited.front_mut()?;
        (awaited.first..=awaited.last).contains(&number).then(|| awaited.receipt.take())?
    }
}

impl Session {
    /// Appends what a message of the hub is to this client.
    pub(crate) fn tell(&mut self, message: &Outgoing<'_>, out: &mut Vec<u8>) -> Then {
        match message {
            Outgoing::Reply(number, reply) => self.tell_reply(*number, reply, out),
            Outgoing::Error(number, refusal) => {
                let receipt = number.and_then(|number| self.answers.receipt_of(number));
                let (number, retry) = (refusal.code.number.to_string(), refusal.code.retry);
                let headers = [("code", number.as_str()), ("name", refusal.code.name)];
                self.write_error(&refusal.message, &headers, retry, receipt.as_deref(), out);
                Then::Close(&codes::REFUSED)
            }
            // A subscription that ends without the client ends the connection: there is no frame for it.
            Outgoing::Push(channel, Push::Unsubscribed(code)) => {
                let number = code.number.to_string();
                let headers = [("code", number.as_str()), ("name", code.name)];
                let text = format!("the subscription to the channel {channel:?} has ended: {}", code.meaning);
                self.write_error(&text, &headers, code.retry, None, out);
                Then::Close(&codes::REFUSED)
            }
            // Everything else comes with a label. Who is to connect elsewhere is told by the end of the connection.
            Outgoing::Push(..) | Outgoing::Reconnect(_) => Then::GoOn,
        }
    }

    fn tell_reply(&mut self, number: u64, reply: &Reply<'_>, out: &mut Vec<u8>) -> Then {
        let Some(awaited) = self.answers.take(number) else { return Then::GoOn };
        if let Reply::Connect(opened) = reply {
            self.answers.is_connected = true;
            self.write_connected(opened, out);
        } else if let Some(id) = &awaited.receipt {
            write_receipt(self.version, id, reply, out);
        }
        match awaited.expected {
            Expected::Disconnected => {
                self.answers.is_over = true;
                Then::Close(&codes::CLOSED)
            }
            Expected::Connected | Expected::Subscribed | Expected::Receipt => Then::GoOn,
        }
    }

    /// The connection is to be closed for this.
    pub(crate) fn blame(&mut self, fault: Fault) {
        self.answers.blamed = Some(fault);
    }

    /// Appends the reason for which the connection is closed, unless the client knows it.
    pub(crate) fn tell_end(&mut self, code: &CloseCode, detail: &str, out: &mut Vec<u8>) {
        if self.answers.is_over || code.number == codes::CLOSED.number {
            return;
        }
        let Fault { receipt, tells_versions, .. } = self.answers.blamed.take().unwrap_or_else(|| Fault::new(""));
        let number = code.number.to_string();
        let versions = Version::ALL.map(Version::name).join(",");
        let mut headers = vec![("code", number.as_str()), ("name", code.name)];
        if tells_versions {
            headers.push(("version", &versions));
        }
        self.write_error(detail, &headers, code.retry, receipt.as_deref(), out);
    }

    fn write_error(
        &mut self,
        message: &str,
        headers: &[(&str, &str)],
        retry: bool,
        receipt: Option<&str>,
        out: &mut Vec<u8>,
    ) {
        self.answers.is_over = true;
        let receipt = receipt.map(|receipt| ("receipt-id", receipt));
        let retry = retry.then_some(("retry", "true"));
        let headers: Vec<_> = headers.iter().copied().chain(receipt).chain(retry).collect();
        // Before CONNECTED nothing is agreed, and clients undo no escapes.
        let version = if self.answers.is_connected { self.version } else { Version::V1_0 };
        error(version, message, &headers, "", out);
    }
}

fn write_receipt(version: Version, id: &str, reply: &Reply<'_>, out: &mut Vec<u8>) {
    let Reply::Subscribe(Subscribed { position: Some(position), recovered, .. }) = reply else {
        return receipt(version, id, &[], out);
    };
    let (epoch, offset) = (position.epoch.to_string(), position.offset.to_string());
    let mut headers = vec![("epoch", epoch.as_str()), ("offset", offset.as_str())];
    headers.extend(recovered.map(|recovered| ("recovered", if recovered { "true" } else { "false" })));
    receipt(version, id, &headers, out);
}
