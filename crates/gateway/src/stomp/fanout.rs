//! MESSAGE frames: a head of the subscription's own, and a tail that all subscribers of a version share.

use ullim_protocol::command::Label;
use ullim_protocol::outgoing::{Outgoing, Push};
use ullim_protocol::publication::Kind;
use ullim_protocol::stomp::{MessageId, Version, gap_tail, message_head, message_tail};
use ullim_protocol::websocket::{OpCode, write_beginning};

use crate::routes::Transport;

/// Appends the tail of what is told of a channel. Nothing of joins and leaves, and of positions without a message.
pub(crate) fn tail(version: Version, message: &Outgoing<'_>, out: &mut Vec<u8>) {
    match message {
        Outgoing::Push(_, Push::Publication(publication)) => message_tail(version, publication, out),
        Outgoing::Push(_, Push::Gap(gap)) => gap_tail(version, gap, out),
        _ => {}
    }
}

/// Appends the head of the `number`th message for a label, which so many bytes of tail follow; whether it is for it.
pub(crate) fn head(
    (transport, version): (Transport, Version),
    label: &Label,
    number: u64,
    push: &Push<'_>,
    tail: usize,
    out: &mut Vec<u8>,
) -> bool {
    let (opcode, acknowledged) = match push {
        Push::Publication(publication) if publication.data.kind() == Kind::Binary => (OpCode::Binary, true),
        Push::Publication(_) => (OpCode::Text, true),
        Push::Gap(_) if label.gaps => (OpCode::Text, false),
        _ => return false,
    };
    let acknowledged = acknowledged && label.window.is_some() && version == Version::V1_2;
    let id = MessageId { subscription: label.number, message: number };
    let write = |out: &mut Vec<u8>| message_head(&label.text, id, acknowledged, out);
    match transport {
        Transport::Tcp => write(out),
        Transport::WebSocket => write_beginning(opcode, tail, out, write),
    }
    true
}
