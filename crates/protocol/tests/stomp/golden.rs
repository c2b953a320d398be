//! Golden frames, in `golden/`: what clients send with what is read of it, and what a node sends. There a NUL is
//! written `^@` and a CR `^M`.

use std::collections::BTreeMap;

use bytes::Bytes;
use ullim_protocol::outgoing::{Gap, GapReason};
use ullim_protocol::position::Position;
use ullim_protocol::publication::{Data, Headers, Publication};
use ullim_protocol::stomp::{
    MessageId, Version, connected, error, gap_tail, message_head, message_label, message_tail, receipt,
};

use crate::client::read_frame;
use crate::pieces::{Read, read};

const CLIENT: [(Version, &str); 3] = [
    (Version::V1_0, include_str!("golden/client-1.0.txt")),
    (Version::V1_1, include_str!("golden/client-1.1.txt")),
    (Version::V1_2, include_str!("golden/client-1.2.txt")),
];

const SERVER: [(Version, &str); 3] = [
    (Version::V1_0, include_str!("golden/server-1.0.txt")),
    (Version::V1_1, include_str!("golden/server-1.1.txt")),
    (Version::V1_2, include_str!("golden/server-1.2.txt")),
];

/// What was read, a line for each part of it.
fn shown(read: &Read) -> String {
    match read {
        Read::HeartBeat => "heart-beat\n".to_owned(),
        Read::Midway => "midway\n".to_owned(),
        Read::Violation { rule, receipt } => format!("violation: {rule} {receipt:?}\n"),
        Read::Frame { command, headers, body } => {
            let headers: String = headers.iter().map(|(name, value)| format!("  {name:?}: {value:?}\n")).collect();
            let body = if body.is_empty() { String::new() } else { format!("  \"{}\"\n", body.escape_ascii()) };
            format!("{command}\n{headers}{body}")
        }
    }
}

#[test]
fn golden_frames_of_clients_are_read_as_they_say() {
    for (version, text) in CLIENT {
        let mut cases = 0;
        for case in text.split("=== ").skip(1) {
            let (name, case) = case.split_once('\n').unwrap();
            let (bytes, expected) = case.split_once("--- is read as\n").unwrap();
            let bytes = bytes.strip_suffix('\n').unwrap().replace("^@", "\0").replace("^M", "\r");
            let found: String = read(version, bytes.as_bytes()).iter().map(shown).collect();
            assert_eq!(found, expected, "{}: {name}", version.name());
            cases += 1;
        }
        assert!(cases > 5);
    }
}

fn publication(data: Data, headers: &[(&str, &str)], position: Option<&str>) -> Publication {
    let entries: BTreeMap<_, _> = headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let headers = (!entries.is_empty()).then(|| Headers::new(entries).unwrap());
    Publication { data, time: 0, headers, position: position.and_then(Position::parse) }
}

fn message(version: Version, acknowledged: bool, publication: &Publication, out: &mut Vec<u8>) {
    let label = message_label(version, Some("sub-0"), "/topic/chat:42");
    message_head(&label, MessageId { subscription: 7, message: 42 }, acknowledged, out);
    message_tail(version, publication, out);
}

/// A name for each frame, and what writes it.
type Case = (&'static str, fn(Version, &mut Vec<u8>));

const FRAMES: [Case; 13] = [
    ("an anonymous session", |version, out| {
        connected(version, "AAECAwQFBgcICQoLDA0ODw", "ullim/0.1.0", (25_000, 25_000), None, out);
    }),
    ("a session of a user whose name would need escapes", |version, out| {
        connected(version, "AAECAwQFBgcICQoLDA0ODw", "ullim/0.1.0", (0, 0), Some("a:b\\c"), out);
    }),
    ("a receipt", |version, out| receipt(version, "message-1", &[], out)),
    ("a receipt of a subscription to a recoverable channel", |version, out| {
        let position = [("epoch", "1763700000000000"), ("offset", "41"), ("recovered", "true")];
        receipt(version, "r:1\\", &position, out);
    }),
    ("an error", |version, out| {
        let headers = [("code", "103"), ("name", "permission_denied"), ("receipt-id", "r:1")];
        error(version, "no: not here", &headers, "this session may not do that on this channel", out);
    }),
    ("a message with JSON", |version, out| {
        message(version, false, &publication(Data::Json(Bytes::from_static(b"{\"a\":1}")), &[], None), out);
    }),
    ("a message with text of a recoverable channel", |version, out| {
        let data = Data::Text(Bytes::from_static("h\u{e9}llo".as_bytes()));
        message(version, false, &publication(data, &[], Some("1763700000000000-42")), out);
    }),
    ("a message with bytes, to be acknowledged", |version, out| {
        let data = Data::Binary(Bytes::from_static(b"a\0b\nc"));
        message(version, version == Version::V1_2, &publication(data, &[], None), out);
    }),
    ("an empty message", |version, out| {
        message(version, false, &publication(Data::Text(Bytes::new()), &[], None), out);
    }),
    ("a message with headers", |version, out| {
        let headers = [
            ("a:b", "colon in the name"),
            ("back", "c:\\d"),
            ("content-type", "text/html;charset=utf-8"),
            ("cr", "a\rb"),
            ("destination", "/topic/forged"),
            ("lf", "a\nb"),
            ("plain", " spaced "),
        ];
        message(version, false, &publication(Data::Text(Bytes::from_static(b"<p>")), &headers, None), out);
    }),
    ("a message of a subscription without an id", |version, out| {
        message_head(&message_label(version, None, "/queue/a"), MessageId { subscription: 0, message: 1 }, false, out);
        message_tail(version, &publication(Data::Text(Bytes::from_static(b"x")), &[], None), out);
    }),
    ("a gap", |version, out| {
        message_head(
            &message_label(version, Some("1"), "/topic/a"),
            MessageId { subscription: 0, message: 3 },
            false,
            out,
        );
        let gap = Gap { from: 1_700_000_000_000, to: 1_700_000_000_500, reason: GapReason::BrokerLink, position: None };
        gap_tail(version, &gap, out);
    }),
    ("a gap in a recoverable channel, to be acknowledged", |version, out| {
        let label = message_label(version, Some("1"), "/topic/a");
        message_head(&label, MessageId { subscription: 0, message: 3 }, version == Version::V1_2, out);
        gap_tail(version, &Gap { from: 1, to: 2, reason: GapReason::History, position: Position::parse("8-0") }, out);
    }),
];

#[test]
fn a_node_writes_the_golden_frames() {
    for (version, expected) in SERVER {
        let mut written = String::new();
        for (name, write) in FRAMES {
            let mut bytes = Vec::new();
            write(version, &mut bytes);
            assert!(read_frame(version, &bytes).is_ok(), "{name}");
            let text = String::from_utf8(bytes).unwrap().replace('\0', "^@").replace('\r', "^M");
            written.push_str(&format!("=== {name}\n{text}\n"));
        }
        assert!(written == expected, "STOMP {} is written otherwise:\n{written}", version.name());
    }
}
