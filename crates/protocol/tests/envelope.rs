//! Golden vectors of the envelope, written by hand from `docs/redis.md`, and its properties.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use proptest::prelude::*;
use ullim_protocol::envelope::{Content, Envelope, EnvelopeError, decode, encode};
use ullim_protocol::position::{Epoch, Position};
use ullim_protocol::presence::{Info, PresenceEvent};
use ullim_protocol::publication::{Data, Headers, Kind, PayloadRule};
use ullim_protocol::session::SessionId;

fn documented_example(number: usize) -> Vec<u8> {
    let page = include_str!("../../../docs/redis.md");
    let block = page.split("```hex\n").nth(number).unwrap().split("```").next().unwrap();
    let bytes = block.lines().flat_map(|line| line.split("  ").next().unwrap().split(' '));
    bytes.filter(|byte| !byte.is_empty()).map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

#[test]
fn the_documented_envelope_is_the_one_that_is_written_and_read() {
    let envelope = Envelope {
        data: Data::Text(Bytes::from_static(b"hi")),
        time: Some(1_763_700_000_000),
        exclude: Some(SessionId([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15])),
        headers: Headers::new([("a".to_owned(), "b".to_owned())]),
        position: None,
        cut: None,
    };
    let mut written = Vec::new();
    encode(&envelope, &mut written);
    assert_eq!(written, documented_example(1));
    assert_eq!(decode(Bytes::from(written), PayloadRule::Auto), Ok(Content::Publication(envelope)));
}

fn read(fields_and_data: &[u8]) -> Result<Content, EnvelopeError> {
    decode(Bytes::from([b"\x89ULLIM\r\n\x01", fields_and_data].concat()), PayloadRule::Auto)
}

fn decoded(fields_and_data: &[u8]) -> Result<Envelope, EnvelopeError> {
    read(fields_and_data).map(|content| match content {
        Content::Publication(envelope) => envelope,
        Content::Presence(event) => panic!("{event:?}"),
    })
}

#[test]
fn the_documented_coming_is_read() {
    let event = PresenceEvent { joined: true, user: "alice".into(), info: Info::parse("{\"a\":1}") };
    assert_eq!(decode(Bytes::from(documented_example(2)), PayloadRule::Auto), Ok(Content::Presence(event)));
}

#[test]
fn comings_and_goings_that_are_not_whole_are_refused() {
    let event = |fields: &[u8], data: &[u8]| read(&[fields, &[0], data].concat());
    let (left, json) = (b"\x85\x00\x01\x02", b"\x81\x00\x01\x01");
    let fields = [&json[..], left].concat();
    let alice = PresenceEvent { joined: false, user: "alice".into(), info: None };
    let extended = b"{\"later\":[1],\"user\":\"alice\"}";
    assert_eq!(event(&fields, extended), Ok(Content::Presence(alice)));
    let (long, large) = ("a".repeat(256), "1".repeat(4097));
    let bad = [
        "",
        "[\"alice\"]",
        "{}",
        "{\"user\":7}",
        "{\"user\":\"\"}",
        &format!("{{\"user\":\"{long}\"}}"),
        &format!("{{\"user\":\"alice\",\"info\":{large}}}"),
        "{\"user\":\"alice\",\"info\":1e999}",
    ];
    for data in bad {
        assert_eq!(event(&fields, data.as_bytes()), Err(EnvelopeError::Data), "{data}");
    }
    assert_eq!(event(left, b"{\"user\":\"alice\"}"), Err(EnvelopeError::NoKind));
    let text = [&b"\x81\x00\x01\x02"[..], left].concat();
    assert_eq!(event(&text, b"{\"user\":\"alice\"}"), Err(EnvelopeError::Data));
    assert_eq!(event(b"\x85\x00\x01\x03", b""), Err(EnvelopeError::Value(0x85)));
}

#[test]
fn unknown_fields_are_skipped_unless_they_are_critical() {
    let envelope = decoded(b"\x7f\x00\x03abc\x81\x00\x01\x03\x00\x00\xff").unwrap();
    assert_eq!(envelope.data, Data::Binary(Bytes::from_static(b"\x00\xff")));
    assert_eq!(decoded(b"\xff\x00\x00\x81\x00\x01\x03\x00"), Err(EnvelopeError::Critical(0xff)));
}

#[test]
fn on_a_recoverable_channel_the_rule_says_what_data_is() {
    let position = b"\x86\x00\x10\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\x01";
    let envelope = decoded(&[&position[..], b"\x00[1]"].concat()).unwrap();
    assert_eq!(envelope.data, Data::Json(Bytes::from_static(b"[1]")));
    assert_eq!(envelope.position.unwrap().to_string(), "9-1");
    let text = decoded(&[&position[..], b"\x81\x00\x01\x02\x00[1]"].concat()).unwrap();
    assert_eq!(text.data, Data::Text(Bytes::from_static(b"[1]")));
    for wrong in [
        &b"\x86\x00\x01\x09"[..],
        &[b"\x86\x00\x10", &[0; 16][..]].concat(),
        &[b"\x87\x00\x10", &[255; 16][..]].concat(),
    ] {
        assert_eq!(decoded(&[wrong, b"\x00"].concat()), Err(EnvelopeError::Value(wrong[0])));
    }
}

#[test]
fn every_kind_of_bad_envelope_is_named() {
    use EnvelopeError::{Data, NoKind, Repeated, Truncated, Value};
    let cases: [(&[u8], EnvelopeError); 12] = [
        (b"", Truncated),
        (b"\x81\x00", Truncated),
        (b"\x81\xff\xff\x01", Truncated),
        (b"\x81\x00\x01\x02", Truncated),
        (b"\x00x", NoKind),
        (b"\x81\x00\x01\x04\x00", Value(0x81)),
        (b"\x81\x00\x00\x00", Value(0x81)),
        (b"\x81\x00\x01\x01\x81\x00\x01\x01\x00", Repeated(0x81)),
        (b"\x02\x00\x08\xff\xff\xff\xff\xff\xff\xff\xff", Value(0x02)),
        (b"\x83\x00\x02ab\x00", Value(0x83)),
        (b"\x04\x00\x07{\"a\":1}\x00", Value(0x04)),
        (b"\x81\x00\x01\x01\x00not json", Data),
    ];
    for (bytes, error) in cases {
        assert_eq!(decoded(bytes), Err(error), "{bytes:02x?}");
    }
    let decode = |payload| decode(Bytes::from_static(payload), PayloadRule::Auto);
    assert_eq!(decode(b"\x89ULLIM\r\n\x02"), Err(EnvelopeError::Version(2)));
    assert_eq!(decode(b"\x89ULLIM\r\n"), Err(Truncated));
    assert_eq!(decode(b"{}"), Err(EnvelopeError::NoMagic));
}

fn any_envelope() -> impl Strategy<Value = Envelope> {
    let data = prop_oneof![
        "\\PC{0,40}".prop_map(|text| Data::Text(Bytes::from(text))),
        any::<Vec<u8>>().prop_map(|bytes| Data::Binary(Bytes::from(bytes))),
        any::<i64>().prop_map(|number| Data::Json(Bytes::from(format!("[{number}]")))),
    ];
    let headers = proptest::collection::vec(("\\PC{0,20}", "\\PC{0,20}"), 0..8);
    let position = || {
        let position = (1..1u64 << 53, 1..1u64 << 53);
        proptest::option::of(
            position.prop_map(|(epoch, offset)| Position { epoch: Epoch::new(epoch).unwrap(), offset }),
        )
    };
    let time = proptest::option::of(0..1u64 << 53);
    let (exclude, headers) = (any::<Option<[u8; 16]>>(), proptest::option::of(headers));
    (data, time, exclude, headers, position(), position()).prop_map(|(data, time, exclude, headers, position, cut)| {
        Envelope { data, time, exclude: exclude.map(SessionId), headers: headers.and_then(Headers::new), position, cut }
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(envelope in any_envelope()) {
        let mut bytes = Vec::new();
        encode(&envelope, &mut bytes);
        prop_assert_eq!(decode(Bytes::from(bytes), PayloadRule::Auto), Ok(Content::Publication(envelope)));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in any::<Vec<u8>>()) {
        if let Ok(Content::Publication(envelope)) = read(&bytes) {
            prop_assert!(envelope.data.kind() == Kind::Binary || std::str::from_utf8(envelope.data.bytes()).is_ok());
        }
    }
}
