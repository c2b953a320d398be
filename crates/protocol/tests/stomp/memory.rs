//! Memory is taken as bytes arrive, and given back with the end of a frame.

use std::borrow::Cow;

use ullim_protocol::stomp::{Decoder, Event, Limits, Version};

const LIMITS: Limits = Limits { headers: 64, header_bytes: 16_384, body_bytes: 2_000_000 };

fn next<'i>(decoder: &mut Decoder, input: &'i [u8], position: &mut usize) -> Option<Event<'i>> {
    decoder.next(input, position, Version::V1_2, &LIMITS).unwrap()
}

#[test]
fn an_idle_decoder_keeps_nothing() {
    assert_eq!(size_of::<Decoder>(), size_of::<usize>());
    let mut decoder = Decoder::default();
    for piece in ["SEND\ndestina", "tion:/topic/a\n", "\nhel", "lo\0", "\n"] {
        assert_eq!(decoder.kept_bytes() > 0, decoder.is_midway());
        let mut position = 0;
        while next(&mut decoder, piece.as_bytes(), &mut position).is_some() {}
    }
    assert_eq!((decoder.kept_bytes(), decoder.is_midway()), (0, false));
}

#[test]
fn a_whole_frame_is_not_copied_and_a_part_of_one_is() {
    let input = b"SEND\ncontent-length:3\n\na\0c\0\nSEND\n\nhel";
    let (mut decoder, mut position) = (Decoder::default(), 0);
    let Some(Event::Frame(frame)) = next(&mut decoder, input, &mut position) else { panic!("no frame") };
    assert!(matches!(frame.body, Cow::Borrowed(b"a\0c")), "{frame:?}");
    assert_eq!(next(&mut decoder, input, &mut position), Some(Event::HeartBeat));
    assert_eq!(next(&mut decoder, input, &mut position), None);
    assert_eq!(position, input.len());
    let Some(Event::Frame(frame)) = next(&mut decoder, b"lo\0", &mut 0) else { panic!("no frame") };
    assert_eq!(frame.body, &b"hello"[..]);
}

#[test]
fn a_claimed_length_takes_no_memory() {
    let mut decoder = Decoder::default();
    assert_eq!(next(&mut decoder, b"SEND\ncontent-length:2000000\n\nx", &mut 0), None);
    assert!(decoder.is_midway() && decoder.kept_bytes() < 1000, "{}", decoder.kept_bytes());
}

#[test]
fn a_large_body_that_drips_takes_no_more_than_the_limit() {
    let mut decoder = Decoder::default();
    assert_eq!(next(&mut decoder, b"SEND\n\n", &mut 0), None);
    for _ in 0..LIMITS.body_bytes {
        assert_eq!(next(&mut decoder, b"x", &mut 0), None);
        assert!(decoder.kept_bytes() <= LIMITS.body_bytes + 1000);
    }
    let Some(Event::Frame(frame)) = next(&mut decoder, b"\0", &mut 0) else { panic!("no frame") };
    assert_eq!(frame.body.len(), LIMITS.body_bytes);
    assert_eq!(decoder.kept_bytes(), 0);
}

#[test]
fn a_head_that_drips_takes_no_more_than_the_limit() {
    let mut decoder = Decoder::default();
    assert_eq!(next(&mut decoder, b"SEND\na:", &mut 0), None);
    let mut read = "SEND\na:".len();
    while decoder.next(b"x", &mut 0, Version::V1_2, &LIMITS).is_ok() {
        read += 1;
        assert!(decoder.kept_bytes() <= LIMITS.header_bytes);
    }
    assert_eq!(read, LIMITS.header_bytes);
}
