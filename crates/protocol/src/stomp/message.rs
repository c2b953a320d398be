//! MESSAGE frames, in two parts: a head of each subscription's own, and a tail that the subscribers of a version share.

use std::fmt;

use super::content::{CONTENT_TYPE, content_type_of};
use super::escape::{Escapes, trim, write_number};
use super::version::Version;
use crate::outgoing::Gap;
use crate::position::Position;
use crate::publication::Publication;

/// What a MESSAGE says of itself: a header of a publication with such a name, whoever published it, is left out.
const RESERVED: [&str; 11] = [
    "subscription",
    "message-id",
    "destination",
    "ack",
    "epoch",
    "offset",
    "gap",
    "gap-from",
    "gap-to",
    "content-length",
    "receipt-id",
];

/// A message's id: unique within its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    /// Which of the connection's subscriptions.
    pub subscription: u32,
    /// Which of the subscription's messages.
    pub message: u64,
}

impl MessageId {
    /// The text that [`Display`](fmt::Display) writes: `7-42`, decimal digits without a sign or leading zeros.
    pub fn parse(text: &str) -> Option<Self> {
        let is_number =
            |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()) && (part == "0" || !part.starts_with('0'));
        let (subscription, message) = text.split_once('-')?;
        if !is_number(subscription) || !is_number(message) {
            return None;
        }
        Some(Self { subscription: subscription.parse().ok()?, message: message.parse().ok()? })
    }

    fn write(self, out: &mut Vec<u8>) {
        write_number(self.subscription.into(), out);
        out.push(b'-');
        write_number(self.message, out);
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.subscription, self.message)
    }
}

/// What all messages of a subscription have in common: its id, where it has one, and the destination that it named.
pub fn message_label(version: Version, subscription: Option<&str>, destination: &str) -> Vec<u8> {
    let escapes = Escapes::of(version);
    let mut label = Vec::new();
    if let Some(subscription) = subscription {
        escapes.write_line("subscription", &escapes.carried(subscription), &mut label);
    }
    escapes.write_line("destination", &escapes.carried(destination), &mut label);
    label
}

/// Appends the head of a MESSAGE to the subscription with this label. `acknowledged`: write the header `ack` too, as 1.2
/// has it where the subscription's mode is not `auto`. A tail must follow.
pub fn message_head(label: &[u8], number: MessageId, acknowledged: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(b"MESSAGE\n");
    out.extend_from_slice(label);
    out.extend_from_slice(b"message-id:");
    let start = out.len();
    number.write(out);
    let end = out.len();
    out.push(b'\n');
    if acknowledged {
        out.extend_from_slice(b"ack:");
        out.extend_from_within(start..end);
        out.push(b'\n');
    }
}

/// Appends what follows any head of a publication's: the other headers, the body, the NUL. Of the publication's own
/// headers those are left out that would say what only the node may say, and those that this version cannot carry: with
/// an empty name or a NUL; in 1.1, with a CR; in 1.0, with an end of line, a colon in the name, or spaces around it.
pub fn message_tail(version: Version, publication: &Publication, out: &mut Vec<u8>) {
    let escapes = Escapes::of(version);
    if let Some(position) = publication.position {
        write_position(position, out);
    }
    let headers = publication.headers.iter().flat_map(|headers| headers.entries());
    let own_type = headers.clone().find(|(name, value)| is_content_type(name) && escapes.carry_value(value));
    let content_type = own_type.map_or(content_type_of(&publication.data), |(_, value)| value);
    escapes.write_line(CONTENT_TYPE, content_type, out);
    write_length(publication.data.bytes().len(), out);
    for (name, value) in headers {
        if !is_content_type(name) && !RESERVED.contains(&trim(name)) {
            escapes.write_if_carried(name, value, out);
        }
    }
    out.push(b'\n');
    out.extend_from_slice(publication.data.bytes());
    out.push(0);
}

/// Appends what follows a head, where publications may be missing: the body is empty.
pub fn gap_tail(version: Version, gap: &Gap, out: &mut Vec<u8>) {
    if let Some(position) = gap.position {
        write_position(position, out);
    }
    Escapes::of(version).write_line("gap", gap.reason.name(), out);
    out.extend_from_slice(b"gap-from:");
    write_number(gap.from, out);
    out.extend_from_slice(b"\ngap-to:");
    write_number(gap.to, out);
    out.push(b'\n');
    write_length(0, out);
    out.extend_from_slice(b"\n\0");
}

/// Readers that take off spaces would see two.
fn is_content_type(name: &str) -> bool {
    trim(name) == CONTENT_TYPE
}

fn write_position(position: Position, out: &mut Vec<u8>) {
    out.extend_from_slice(b"epoch:");
    write_number(position.epoch.micros(), out);
    out.extend_from_slice(b"\noffset:");
    write_number(position.offset, out);
    out.push(b'\n');
}

fn write_length(length: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(b"content-length:");
    write_number(length as u64, out);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_ids_go_there_and_back_and_nothing_else_is_one() {
        for (subscription, message) in [(0, 0), (7, 42), (u32::MAX, u64::MAX)] {
            let id = MessageId { subscription, message };
            assert_eq!(MessageId::parse(&id.to_string()), Some(id));
        }
        for text in ["", "-", "7", "7-", "-42", "07-42", "7-042", "+7-42", "7-+42", " 7-42", "7-42-1", "4294967296-0"] {
            assert_eq!(MessageId::parse(text), None, "{text}");
        }
    }
}
