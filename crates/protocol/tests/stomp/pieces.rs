//! What a client sent is read alike however the bytes are cut, and is what it meant.

use proptest::prelude::*;
use ullim_protocol::stomp::{Decoder, Event, Limits, Version};

use crate::client::ClientFrame;

pub(crate) const LIMITS: Limits = Limits { headers: 8, header_bytes: 1000, body_bytes: 1000 };

/// Something that was read. Heart-beats that follow each other count as one: how many there are depends on the cuts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Read {
    Frame {
        command: &'static str,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
    },
    HeartBeat,
    Violation {
        rule: String,
        receipt: Option<String>,
    },
    /// The input ended in the middle of something.
    Midway,
}

impl Read {
    fn of(event: Event<'_>) -> Self {
        match event {
            Event::HeartBeat => Self::HeartBeat,
            Event::Frame(frame) => Self::Frame {
                command: frame.command.name(),
                headers: frame.headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
                body: frame.body.into_owned(),
            },
        }
    }
}

/// What is read when `bytes` arrive in pieces of these sizes, over and over.
pub(crate) fn read_in_pieces(version: Version, bytes: &[u8], sizes: &[usize]) -> Vec<Read> {
    let mut decoder = Decoder::default();
    let mut read: Vec<Read> = Vec::new();
    let (mut rest, mut sizes) = (bytes, sizes.iter().cycle());
    while !rest.is_empty() {
        let size = sizes.next().map_or(rest.len(), |size| (*size).clamp(1, rest.len()));
        let (piece, behind) = rest.split_at(size);
        rest = behind;
        let mut position = 0;
        loop {
            match decoder.next(piece, &mut position, version, &LIMITS) {
                Ok(Some(Event::HeartBeat)) if read.last() == Some(&Read::HeartBeat) => {}
                Ok(Some(event)) => read.push(Read::of(event)),
                Ok(None) => break,
                Err(violation) => {
                    read.push(Read::Violation { rule: violation.rule.into_owned(), receipt: violation.receipt });
                    return read;
                }
            }
        }
        assert_eq!(position, piece.len());
        assert!(decoder.kept_bytes() <= 4 * LIMITS.header_bytes + LIMITS.body_bytes);
    }
    if decoder.is_midway() {
        read.push(Read::Midway);
    }
    read
}

/// What is read of `bytes`, which is the same in pieces of any size.
pub(crate) fn read(version: Version, bytes: &[u8]) -> Vec<Read> {
    let whole = read_in_pieces(version, bytes, &[bytes.len()]);
    for size in 1..bytes.len().min(20) {
        assert_eq!(read_in_pieces(version, bytes, &[size]), whole, "in pieces of {size}");
    }
    whole
}

fn versions() -> impl Strategy<Value = Version> {
    proptest::sample::select(Version::ALL.as_slice())
}

/// Frames that keep the rules of every version, where `version` can say what they say.
fn frames(version: Version) -> impl Strategy<Value = ClientFrame> {
    let text = match version {
        Version::V1_0 => "[a-zé😀\\\\]([a-zé😀\\\\ ]{0,10}[a-z])?",
        Version::V1_1 => "[a-zé😀:\n\\\\ ]{1,12}",
        Version::V1_2 => "[a-zé😀:\n\r\\\\ ]{1,12}",
    };
    let connect_text = "[a-zé😀\\\\]([a-z\\\\]{0,10}[a-z])?";
    let command = prop_oneof![
        6 => Just("SEND"),
        4 => proptest::sample::select(
            ["SUBSCRIBE", "UNSUBSCRIBE", "ACK", "NACK", "BEGIN", "COMMIT", "ABORT", "DISCONNECT"].as_slice()
        ),
        1 => proptest::sample::select(["CONNECT", "STOMP"].as_slice()),
    ];
    let body =
        prop_oneof!["[a-zé\r\n]{0,40}".prop_map(String::into_bytes), proptest::collection::vec(any::<u8>(), 0..300)];
    (command, any::<bool>(), any::<bool>(), body).prop_flat_map(
        move |(command, with_length, ends_lines_with_cr, body)| {
            let text = if ["CONNECT", "STOMP"].contains(&command) { connect_text } else { text };
            let body = if command == "SEND" { body } else { Vec::new() };
            let has_length = with_length || body.contains(&0);
            proptest::collection::vec((text, text), 0..6).prop_map(move |headers| {
                let mut seen = Vec::new();
                let is_new = |(name, _): &(String, String)| {
                    let is_new = !seen.contains(name) && !["content-length", "accept-version"].contains(&name.as_str());
                    seen.push(name.clone());
                    is_new
                };
                let headers = headers.into_iter().filter(is_new).collect();
                ClientFrame { command, headers, body: body.clone(), has_length, ends_lines_with_cr }
            })
        },
    )
}

fn meant(frame: &ClientFrame) -> Read {
    let length = frame.has_length.then(|| ("content-length".to_owned(), frame.body.len().to_string()));
    Read::Frame {
        command: if frame.command == "STOMP" { "CONNECT" } else { frame.command },
        headers: frame.headers.iter().cloned().chain(length).collect(),
        body: frame.body.clone(),
    }
}

/// Bytes that are nearly frames: pieces of grammar in any order.
fn nearly_frames() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        6 => proptest::sample::select(
            [
                "SEND\n", "CONNECT\n", "STOMP\r\n", "SUBSCRIBE\n", "MESSAGE\n", "destination:/topic/a\n", "a\\c:b\\r\n",
                "content-length:3\n", "content-length:0\n", "content-length:1001\r\n", "receipt:r\\n1\n", "a:b\r\n",
                ":\n", "accept-version:1.2\n", "\n", "\r\n", "\0", "\n\0", "abc\0", "x", "\r", "\\", ":",
            ]
            .as_slice()
        ).prop_map(|text| text.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..30),
        1 => (0usize..600).prop_map(|length| vec![b'y'; length]),
    ];
    proptest::collection::vec(part, 0..30).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn what_a_client_writes_is_what_is_read(
        (version, frames) in versions().prop_flat_map(|version| {
            (Just(version), proptest::collection::vec(frames(version), 1..6))
        }),
        sizes in proptest::collection::vec(1usize..80, 1..6),
    ) {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for frame in &frames {
            frame.write(version, &mut bytes);
            expected.push(meant(frame));
        }
        prop_assert_eq!(&read_in_pieces(version, &bytes, &[bytes.len()]), &expected);
        prop_assert_eq!(&read_in_pieces(version, &bytes, &sizes), &expected);
        prop_assert_eq!(&read_in_pieces(version, &bytes, &[1]), &expected);
    }

    #[test]
    fn no_cut_changes_what_is_read_of_anything(
        version in versions(),
        bytes in nearly_frames(),
        sizes in proptest::collection::vec(1usize..80, 1..6),
    ) {
        let whole = read_in_pieces(version, &bytes, &[bytes.len()]);
        prop_assert_eq!(&read_in_pieces(version, &bytes, &sizes), &whole);
        prop_assert_eq!(&read_in_pieces(version, &bytes, &[1]), &whole);
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(version in versions(), bytes in any::<Vec<u8>>(), size in 1usize..16) {
        let read = read_in_pieces(version, &bytes, &[size]);
        prop_assert!(bytes.is_empty() || !read.is_empty());
    }
}
