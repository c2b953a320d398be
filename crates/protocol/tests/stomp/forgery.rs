//! Nothing that is published, whoever publishes it, can forge a second frame or a header that only the node writes.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use ullim_protocol::outgoing::{Gap, GapReason};
use ullim_protocol::position::Position;
use ullim_protocol::publication::{Data, Headers, Publication};
use ullim_protocol::stomp::{
    MessageId, Version, connected, content_type_of, error, gap_tail, message_head, message_label, message_tail, receipt,
};

use crate::client::{ServerFrame, read_frame};

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

const NUMBER: MessageId = MessageId { subscription: 7, message: 42 };

fn message(version: Version, publication: &Publication) -> Vec<u8> {
    let label = message_label(version, Some("sub"), "/topic/a");
    let mut out = Vec::new();
    message_head(&label, NUMBER, version == Version::V1_2, &mut out);
    message_tail(version, publication, &mut out);
    out
}

fn publication(headers: &[(&str, &str)], body: &'static str) -> Publication {
    let entries: BTreeMap<_, _> = headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let data = Data::Text(Bytes::from_static(body.as_bytes()));
    Publication { data, time: 0, headers: Headers::new(entries), position: None }
}

/// Whether a version can carry this header of a publication's.
fn is_carried(version: Version, name: &str, value: &str) -> bool {
    let has = |characters: &[char]| name.contains(characters) || value.contains(characters);
    let trimmed = trim(name);
    let by_version = match version {
        Version::V1_0 => !has(&['\n', '\r']) && !name.contains(':') && trimmed == name,
        Version::V1_1 => !has(&['\r']),
        Version::V1_2 => true,
    };
    by_version && !has(&['\0']) && !name.is_empty() && !RESERVED.contains(&trimmed) && trimmed != "content-type"
}

/// A name as the most generous reader would take it.
fn trim(name: &str) -> &str {
    name.trim_matches(|c: char| c <= ' ' || c.is_whitespace())
}

/// What a strict reader would make of a value.
fn as_read(version: Version, value: &str) -> String {
    if version == Version::V1_0 { value.trim().to_owned() } else { value.to_owned() }
}

#[test]
fn reserved_headers_are_the_nodes_alone() {
    let forged: Vec<_> = RESERVED.iter().map(|name| (*name, "forged")).chain([("own", "kept")]).collect();
    for version in Version::ALL {
        let read = read_frame(version, &message(version, &publication(&forged, "hello"))).unwrap();
        assert!(read.headers.iter().all(|(_, value)| value != "forged"), "{read:?}");
        assert_eq!((read.get("own"), read.get("destination")), (Some("kept"), Some("/topic/a")));
        assert_eq!((read.get("ack").is_some(), read.get("epoch")), (version == Version::V1_2, None));
    }
}

#[test]
fn a_header_that_a_version_cannot_carry_is_left_out() {
    let headers =
        [("lf", "a\nb"), ("cr", "a\rb"), ("nul", "a\0b"), ("a:b", "x"), (" edge", "x"), ("", "x"), ("ok", "a:b\\n")];
    let carried = |version| {
        let read = read_frame(version, &message(version, &publication(&headers, ""))).unwrap();
        let names = headers.map(|(name, _)| name);
        read.headers.into_iter().map(|(name, _)| name).filter(|name| names.contains(&name.as_str())).collect::<Vec<_>>()
    };
    assert_eq!(carried(Version::V1_0), ["ok"]);
    assert_eq!(carried(Version::V1_1), [" edge", "a:b", "lf", "ok"]);
    assert_eq!(carried(Version::V1_2), [" edge", "a:b", "cr", "lf", "ok"]);
}

#[test]
fn spaces_make_no_second_destination() {
    for name in [
        " destination",
        "destination ",
        "\tdestination",
        "content-length\u{b}",
        "\u{a0}offset\u{2003}",
        " content-type",
    ] {
        for version in Version::ALL {
            let bytes = message(version, &publication(&[(name, "99")], "hello"));
            let read = read_frame(version, &bytes).unwrap();
            let alike: Vec<_> = read.headers.iter().filter(|(other, _)| trim(other) == trim(name)).collect();
            assert!(alike.len() <= 1, "{version:?} {name:?} {read:?}");
            let is_forged = alike.iter().any(|(_, value)| value == "99");
            assert!(!is_forged || trim(name) == "content-type", "{version:?} {name:?} {read:?}");
        }
    }
}

#[test]
fn a_subscription_that_a_client_names_strangely_is_echoed() {
    for version in [Version::V1_1, Version::V1_2] {
        let mut out = Vec::new();
        message_head(&message_label(version, Some("a:b\\c\nd"), "/topic/a:b"), NUMBER, false, &mut out);
        message_tail(version, &publication(&[], ""), &mut out);
        let read = read_frame(version, &out).unwrap();
        assert_eq!((read.get("subscription"), read.get("destination")), (Some("a:b\\c\nd"), Some("/topic/a:b")));
    }
}

#[test]
fn a_user_that_connected_cannot_carry_is_left_out() {
    for user in ["a\nb", "a\rb", "a\0b"] {
        let mut out = Vec::new();
        connected(Version::V1_2, "s", "ullim/1", (0, 0), Some(user), &mut out);
        assert_eq!(read_frame(Version::V1_2, &out).unwrap().get("user-name"), None);
    }
    let mut out = Vec::new();
    connected(Version::V1_2, "s", "ullim/1", (1, 2), Some("a:b\\c"), &mut out);
    assert_eq!(read_frame(Version::V1_2, &out).unwrap().get("user-name"), Some("a:b\\c"));
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-c \\\\:\n\r\0é]{0,8}",
        1 => any::<String>().prop_map(|text| text.chars().take(40).collect()),
    ]
}

fn any_name() -> impl Strategy<Value = String> {
    let reserved = proptest::sample::select(RESERVED.as_slice());
    prop_oneof![
        3 => any_text(),
        1 => reserved.clone().prop_map(str::to_owned),
        1 => (reserved, "[ \t\r\n]{0,2}", "[ \t\r\n]{0,2}").prop_map(|(name, a, b)| format!("{a}{name}{b}")),
        1 => Just("content-type".to_owned()),
    ]
}

fn any_data() -> impl Strategy<Value = Data> {
    let frame = "\0\n\nMESSAGE\nsubscription:x\n\nforged\0";
    prop_oneof![
        any_text().prop_map(|text| Data::Text(text.into())),
        Just(Data::Text(Bytes::from_static(frame.as_bytes()))),
        any::<Vec<u8>>().prop_map(|bytes| Data::Binary(bytes.into())),
        Just(Data::Json(Bytes::from_static(b"{\"a\":[1]}"))),
    ]
}

fn any_publication() -> impl Strategy<Value = Publication> {
    let headers = proptest::collection::btree_map(any_name(), any_text(), 0..8).prop_map(Headers::new);
    let position = proptest::option::of((1u64..1 << 53, 0u64..1 << 53));
    (any_data(), headers, position).prop_map(|(data, headers, position)| {
        let position = position.map(|(epoch, offset)| Position::parse(&format!("{epoch}-{offset}")).unwrap());
        Publication { data, time: 1, headers, position }
    })
}

fn check_message(version: Version, publication: &Publication, read: &ServerFrame) {
    let own: Vec<_> = publication.headers.iter().flat_map(|headers| headers.entries()).collect();
    let own_type = own.iter().find(|(name, value)| trim(name) == "content-type" && is_carried(version, "x", value));
    let content_type = own_type.map_or(content_type_of(&publication.data).to_owned(), |(_, value)| (*value).clone());
    let mut expected: Vec<(String, String)> =
        [("subscription", "sub"), ("destination", "/topic/a"), ("message-id", "7-42")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec();
    if version == Version::V1_2 {
        expected.push(("ack".into(), "7-42".into()));
    }
    if let Some(position) = publication.position {
        expected.push(("epoch".into(), position.epoch.to_string()));
        expected.push(("offset".into(), position.offset.to_string()));
    }
    expected.push(("content-type".into(), as_read(version, &content_type)));
    expected.push(("content-length".into(), publication.data.bytes().len().to_string()));
    let carried = own.iter().filter(|(name, value)| is_carried(version, name, value));
    expected.extend(carried.map(|(name, value)| ((*name).clone(), as_read(version, value))));
    assert_eq!((read.command.as_str(), &read.headers), ("MESSAGE", &expected));
    assert_eq!(read.body, publication.data.bytes()[..]);
}

proptest! {
    #[test]
    fn no_publication_forges_a_frame_or_a_header(publication in any_publication()) {
        for version in Version::ALL {
            let bytes = message(version, &publication);
            match read_frame(version, &bytes) {
                Ok(read) => check_message(version, &publication, &read),
                Err(error) => prop_assert!(false, "{version:?}: {error}"),
            }
        }
    }

    #[test]
    fn no_text_of_a_clients_forges_a_frame_in_an_answer(text in any_text(), name in any_name(), user in any_text()) {
        for version in Version::ALL {
            let mut out = Vec::new();
            error(version, &text, &[("receipt-id", &text), ("x", &text)], &text, &mut out);
            let read = read_frame(version, &out).unwrap();
            prop_assert_eq!((read.command.as_str(), &read.body[..]), ("ERROR", text.as_bytes()));
            prop_assert!(read.get("message").is_some());

            out.clear();
            receipt(version, &text, &[("epoch", &user)], &mut out);
            prop_assert_eq!(read_frame(version, &out).unwrap().command, "RECEIPT");

            out.clear();
            connected(version, &name, "ullim/1", (0, 25_000), Some(&user), &mut out);
            let read = read_frame(version, &out).unwrap();
            prop_assert_eq!((read.command.as_str(), read.get("heart-beat")), ("CONNECTED", Some("0,25000")));

            out.clear();
            message_head(&message_label(version, Some(&name), &text), NUMBER, true, &mut out);
            let gap = Gap { from: 1, to: 2, reason: GapReason::Overload, position: None };
            gap_tail(version, &gap, &mut out);
            let read = read_frame(version, &out).unwrap();
            prop_assert_eq!((read.get("gap"), read.get("gap-to"), read.body.len()), (Some("overload"), Some("2"), 0));
        }
    }
}
