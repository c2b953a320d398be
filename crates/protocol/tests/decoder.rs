//! The WebSocket decoder: vectors from RFC 6455, every rule that a hostile client can break, and that no way of
//! cutting the bytes changes what is read.

use proptest::prelude::*;
use ullim_protocol::websocket::{Decoder, Event, Limits, Violation};

const LIMITS: Limits = Limits { message_bytes: 1000, fragments: 4 };

/// A client frame with the mask of RFC 6455, 5.7.
fn frame(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![first_byte];
    match payload.len() {
        length @ 0..=125 => bytes.push(0x80 | length as u8),
        length @ 126..=65535 => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// What is read when `bytes` arrive in pieces of `piece` bytes: each event's name, then the violation if there is one.
fn read_in_pieces(bytes: &[u8], piece: usize) -> Vec<String> {
    let mut decoder = Decoder::default();
    let mut read = Vec::new();
    for chunk in bytes.chunks(piece.max(1)) {
        let mut chunk = chunk.to_vec();
        let mut position = 0;
        loop {
            match decoder.next(&mut chunk, &mut position, &LIMITS) {
                Ok(Some(event)) => {
                    let ended = matches!(event, Event::Close(_));
                    read.push(name(&event));
                    if ended {
                        return read;
                    }
                }
                Ok(None) => break,
                Err(violation) => {
                    read.push(format!("{violation:?}"));
                    return read;
                }
            }
        }
        assert_eq!(position, chunk.len());
    }
    read
}

fn name(event: &Event<'_>) -> String {
    match event {
        Event::Text(text) => format!("text {text}"),
        Event::Binary(bytes) => format!("binary {bytes:?}"),
        Event::Ping(payload) => format!("ping {payload:?}"),
        Event::Pong => "pong".to_owned(),
        Event::Close(code) => format!("close {code:?}"),
    }
}

fn read(bytes: &[u8]) -> Vec<String> {
    let whole = read_in_pieces(bytes, bytes.len());
    for piece in 1..bytes.len().min(20) {
        assert_eq!(read_in_pieces(bytes, piece), whole, "in pieces of {piece}");
    }
    whole
}

#[test]
fn the_masked_hello_of_the_rfc() {
    let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(read(&hello), ["text Hello"]);
    assert_eq!(frame(0x81, b"Hello"), hello);
}

#[test]
fn fragments_join_and_control_frames_may_stand_between_them() {
    let bytes = [frame(0x01, "h\u{e9}".as_bytes()), frame(0x89, b"p"), frame(0x00, b""), frame(0x80, b"llo")].concat();
    assert_eq!(read(&bytes), ["ping [112]", "text héllo"]);
    let split_character = [frame(0x01, b"\xf0\x9f"), frame(0x80, b"\x98\x80")].concat();
    assert_eq!(read(&split_character), ["text 😀"]);
}

#[test]
fn several_frames_in_one_read() {
    let bytes = [frame(0x81, b"a"), frame(0x82, b"\x00"), frame(0x8a, b""), frame(0x88, b"\x03\xe8bye")].concat();
    assert_eq!(read(&bytes), ["text a", "binary [0]", "pong", "close Some(1000)"]);
    assert_eq!(read(&frame(0x88, b"")), ["close None"]);
}

#[test]
fn every_rule_that_a_client_breaks_is_named() {
    let protocol = |bytes: Vec<u8>, text: &str| {
        let last = read(&bytes).pop().unwrap();
        assert_eq!(last, format!("{:?}", Violation::Protocol(leak(text))), "{bytes:02x?}");
    };
    protocol(b"\x81\x05Hello".to_vec(), "a client must mask its frames");
    protocol(frame(0xc1, b""), "reserved bits are set");
    protocol(frame(0x83, b""), "the opcode is reserved");
    protocol(frame(0x8b, b""), "the opcode is reserved");
    protocol(frame(0x89, &[0; 126]), "a control frame has more than 125 bytes");
    protocol(frame(0x09, b""), "a control frame is fragmented");
    protocol(vec![0x81, 0xfe, 0, 125, 0, 0, 0, 0], "a length is not written in the fewest bytes");
    protocol(vec![0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff], "a length is not written in the fewest bytes");
    protocol(vec![0x81, 0xff, 0xff, 0, 0, 0, 0, 1, 0, 0], "a length has its highest bit set");
    protocol(frame(0x80, b""), "a continuation without a message");
    protocol([frame(0x01, b"a"), frame(0x81, b"b")].concat(), "a message within a message");
    protocol(frame(0x88, b"\x03"), "a close code has one byte");
    for code in [0u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000] {
        protocol(frame(0x88, &code.to_be_bytes()), "a close code is reserved");
    }
}

fn leak(text: &str) -> &'static str {
    text.to_owned().leak()
}

#[test]
fn text_that_is_not_utf8_is_refused_as_soon_as_it_is_seen() {
    let utf8 = format!("{:?}", Violation::Utf8);
    assert_eq!(read(&frame(0x81, b"\xff")), std::slice::from_ref(&utf8));
    assert_eq!(read(&frame(0x88, b"\x03\xe8\xff")), std::slice::from_ref(&utf8));
    assert_eq!(read(&[frame(0x01, b"\xf0\x9f"), frame(0x80, b"x")].concat()), std::slice::from_ref(&utf8));
    assert_eq!(read(&[frame(0x01, b"a\xf0\x9f"), frame(0x80, b"")].concat()), std::slice::from_ref(&utf8));
    assert_eq!(read(&frame(0x01, b"\xff")), [utf8], "before the message has ended");
}

#[test]
fn the_sum_and_the_number_of_fragments_are_bounded() {
    let bytes = format!("{:?}", Violation::MessageBytes(1000));
    assert_eq!(read(&frame(0x81, &[b'x'; 1001])), std::slice::from_ref(&bytes));
    assert_eq!(read(&[frame(0x01, &[b'x'; 600]), frame(0x80, &[b'x'; 401])].concat()), std::slice::from_ref(&bytes));
    assert_eq!(read(&[0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]), [bytes]);
    let five = [frame(0x01, b"a"), frame(0x00, b"a"), frame(0x00, b"a"), frame(0x00, b"a"), frame(0x80, b"a")];
    assert_eq!(read(&five.concat()), [format!("{:?}", Violation::Fragments(4))]);
}

#[test]
fn an_idle_decoder_keeps_nothing() {
    assert_eq!(size_of::<Decoder>(), size_of::<usize>());
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![8 => Just(0x81u8), 2 => Just(0x01), 4 => Just(0x80), 4 => Just(0x82), 1 => Just(0x89), 1 => any::<u8>()];
    let payload =
        prop_oneof!["[a-zé😀]{0,60}".prop_map(String::into_bytes), proptest::collection::vec(any::<u8>(), 0..300)];
    (first, payload).prop_map(|(first, payload)| frame(first, &payload))
}

proptest! {
    #[test]
    fn no_cut_changes_what_is_read(frames in proptest::collection::vec(any_frame(), 1..8), piece in 1usize..200) {
        let bytes = frames.concat();
        prop_assert_eq!(read_in_pieces(&bytes, piece), read_in_pieces(&bytes, bytes.len()));
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in any::<Vec<u8>>(), piece in 1usize..16) {
        read_in_pieces(&bytes, piece);
    }
}
