//! A client's bytes, whole and cut anywhere: nothing panics, the same is read, and memory stays within the limits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ullim_protocol::stomp::{Decoder, Event, Limits, Version};

/// Small, so that the fuzzer finds their edges.
const LIMITS: Limits = Limits { headers: 6, header_bytes: 160, body_bytes: 64 };

/// The most that a decoder may keep: a head or its headers with their places, and a body.
const MOST_KEPT: usize = LIMITS.header_bytes + 16 * (LIMITS.headers + 2) + LIMITS.body_bytes;

/// What was read. Heart-beats that follow each other are one: how many there are depends on the cuts.
#[derive(Debug, PartialEq)]
enum Read {
    Frame(&'static str, Vec<(String, String)>, Vec<u8>),
    HeartBeat,
    Violation(String, Option<String>),
    Midway,
}

fn read(version: Version, bytes: &[u8], sizes: &[usize]) -> Vec<Read> {
    let mut decoder = Decoder::default();
    let mut read = Vec::new();
    let (mut rest, mut sizes) = (bytes, sizes.iter().cycle());
    while !rest.is_empty() {
        let size = sizes.next().map_or(rest.len(), |size| (*size).clamp(1, rest.len()));
        let (piece, behind) = rest.split_at(size);
        rest = behind;
        let mut position = 0;
        loop {
            let before = position;
            match decoder.next(piece, &mut position, version, &LIMITS) {
                Ok(Some(Event::HeartBeat)) => {
                    if read.last() != Some(&Read::HeartBeat) {
                        read.push(Read::HeartBeat);
                    }
                }
                Ok(Some(Event::Frame(frame))) => {
                    assert!(frame.headers.len() <= LIMITS.headers && frame.headers.bytes() <= LIMITS.header_bytes);
                    assert!(frame.body.len() <= LIMITS.body_bytes);
                    let headers = frame.headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
                    read.push(Read::Frame(frame.command.name(), headers.collect(), frame.body.to_vec()));
                }
                Ok(None) => break,
                Err(violation) => {
                    assert!(!violation.rule.contains(char::is_control) && violation.rule.len() < 400);
                    read.push(Read::Violation(violation.rule.into_owned(), violation.receipt));
                    return read;
                }
            }
            assert!(position > before && !decoder.is_midway() && decoder.kept_bytes() == 0);
        }
        assert_eq!(position, piece.len());
        assert!(decoder.kept_bytes() <= MOST_KEPT, "{}", decoder.kept_bytes());
    }
    if decoder.is_midway() {
        read.push(Read::Midway);
    }
    read
}

/// Writes what was read as a client of this version would have.
fn write(version: Version, read: &Read, out: &mut Vec<u8>) {
    let Read::Frame(command, headers, body) = read else { return };
    let escaped = |text: &str| {
        if version == Version::V1_0 || *command == "CONNECT" {
            return text.to_owned();
        }
        text.replace('\\', "\\\\").replace('\n', "\\n").replace(':', "\\c").replace('\r', "\\r")
    };
    out.extend(format!("{command}\n").bytes());
    for (name, value) in headers {
        out.extend(format!("{}:{}\n", escaped(name), escaped(value)).bytes());
    }
    out.push(b'\n');
    out.extend(body);
    out.push(0);
}

fuzz_target!(|input: &[u8]| {
    let Some((&[version, cuts @ ..], bytes)) = input.split_first_chunk::<5>() else { return };
    let version = Version::ALL[usize::from(version) % Version::ALL.len()];
    let whole = read(version, bytes, &[bytes.len()]);
    assert_eq!(read(version, bytes, &cuts.map(|cut| usize::from(cut) + 1)), whole);
    assert_eq!(read(version, bytes, &[1]), whole);

    for frame in whole.iter().filter(|read| matches!(read, Read::Frame(..))) {
        let mut again = Vec::new();
        write(version, frame, &mut again);
        // Escapes make it longer, perhaps too long.
        if again.len() <= LIMITS.header_bytes {
            assert_eq!(read(version, &again, &[again.len()]), std::slice::from_ref(frame));
        }
    }
});
