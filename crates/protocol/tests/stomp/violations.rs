//! Every rule that a client can break, by its name, and the receipt that goes with it.

use ullim_protocol::stomp::Version;

use crate::pieces::{LIMITS, Read, read};

/// The violation that `bytes` end in, however they are cut.
fn violation(version: Version, bytes: impl AsRef<[u8]>) -> (String, Option<String>) {
    match read(version, bytes.as_ref()).pop() {
        Some(Read::Violation { rule, receipt }) => (rule, receipt),
        other => panic!("{other:?} of {:?}", String::from_utf8_lossy(bytes.as_ref())),
    }
}

fn breaks(version: Version, bytes: impl AsRef<[u8]>, rule: &str) {
    assert_eq!(violation(version, &bytes).0, rule, "{:?}", String::from_utf8_lossy(bytes.as_ref()));
}

fn is_fine(version: Version, bytes: impl AsRef<[u8]>) -> Vec<Read> {
    let read = read(version, bytes.as_ref());
    let is_read = |read: &Read| matches!(read, Read::Frame { .. } | Read::HeartBeat);
    assert!(!read.is_empty() && read.iter().all(is_read), "{read:?}");
    read
}

#[test]
fn commands_that_no_client_has() {
    for version in Version::ALL {
        for command in ["MESSAGE", "RECEIPT", "ERROR", "CONNECTED", "send", "SEND ", " SEND", "S", "X\u{e9}"] {
            let rule = format!("the command {command:?} is unknown");
            breaks(version, format!("{command}\n\n\0"), &rule);
            breaks(version, format!("{command}\r\n\r\n\0"), &rule);
        }
        breaks(version, b"\xff\n\n\0", "the command \"\u{fffd}\" is unknown");
        breaks(version, "\x1b[2J\n\n\0", "the command \"\\u{1b}[2J\" is unknown");
        // As soon as no command is so long, whatever follows.
        breaks(version, "GET / HTTP/1.", "the command is unknown");
        breaks(version, b"\x16\x03\x01\x02\x00", "a NUL before the end of the headers");
    }
}

#[test]
fn header_lines_that_are_none() {
    for version in Version::ALL {
        breaks(version, "SEND\ndestination\n\n\0", "the header line \"destination\" has no colon");
        let long = format!("SEND\n{}\n\n\0", "x".repeat(100));
        breaks(version, long, &format!("the header line \"{}\"… has no colon", "x".repeat(40)));
        breaks(version, "SEND\n:x\n\n\0", "a header has no name");
        breaks(version, b"SEND\na:\xff\n\n\0", "a header is not UTF-8");
        breaks(version, b"SEND\na:\xed\xa0\x80\n\n\0", "a header is not UTF-8");
        breaks(version, "SEND\na:b\rc\n\n\0", "a CR within a header");
        breaks(version, "SEND\na:b\r\r\n\n\0", "a CR within a header");
        breaks(version, "SEND\n\ra:b\n\n\0", "a CR within a header");
        breaks(version, "SEND\na:b\0c\n\n\0", "a NUL before the end of the headers");
        breaks(version, "DISCONNECT\n\0", "a NUL before the end of the headers");
        breaks(version, "\0", "a NUL before the end of the headers");
        breaks(version, "\r\n\rSEND\n\n\0", "a CR between frames that no LF follows");
        breaks(version, "\r\0", "a CR between frames that no LF follows");
    }
    breaks(Version::V1_0, "SEND\n :x\n\n\0", "a header has no name");
}

#[test]
fn escapes_that_the_version_does_not_define() {
    let of = |value: &str| format!("SEND\nname:{value}\n\n\0");
    let rule = "the header \"name\" has an escape that is not defined";
    for value in [r"\t", r"\", r"a\", r"\x41", r"\\\", r"\C"] {
        breaks(Version::V1_1, of(value), rule);
        breaks(Version::V1_2, of(value), rule);
        is_fine(Version::V1_0, of(value));
    }
    breaks(Version::V1_1, of(r"\r"), rule);
    is_fine(Version::V1_2, of(r"\r"));
    breaks(Version::V1_2, "SEND\nna\\me:x\n\n\0", "the header \"na\\\\me\" has an escape that is not defined");
    // CONNECT has no escapes in any version.
    for command in ["CONNECT", "STOMP"] {
        is_fine(Version::V1_2, format!("{command}\naccept-version:1.2\npasscode:a\\b\\\n\n\0"));
    }
}

#[test]
fn lengths_that_are_none_or_not_the_bodys() {
    for version in Version::ALL {
        let of = |length: &str| format!("SEND\ncontent-length:{length}\n\nabc\0");
        for length in ["", "-3", "+3", "3x", "0x3", "3,3", "3.0", "\u{663}"] {
            breaks(version, of(length), "content-length is not a number");
        }
        for length in ["1001", "4294967299", "18446744073709551619", &"9".repeat(100)] {
            breaks(version, of(length), "a body has at most 1000 bytes");
        }
        for length in ["0", "2"] {
            breaks(version, of(length), "no NUL where the body ends by its content-length");
        }
        is_fine(version, of("003"));
        assert_eq!(read(version, of("4").as_bytes()), [Read::Midway]);
        // The first counts.
        is_fine(version, "SEND\ncontent-length:3\ncontent-length:x\n\na\0c\0");
        breaks(version, "SEND\ncontent-length:x\ncontent-length:3\n\na\0c\0", "content-length is not a number");
    }
    let spaced = "SEND\ncontent-length: 3 \n\nabc\0";
    is_fine(Version::V1_0, spaced);
    breaks(Version::V1_1, spaced, "content-length is not a number");
    breaks(Version::V1_2, spaced, "content-length is not a number");
}

#[test]
fn bodies_where_none_may_be() {
    for version in Version::ALL {
        for command in ["CONNECT", "STOMP", "SUBSCRIBE", "UNSUBSCRIBE", "ACK", "NACK", "BEGIN", "DISCONNECT"] {
            breaks(version, format!("{command}\n\nx\0"), "only SEND has a body");
            breaks(version, format!("{command}\ncontent-length:1\n\n"), "only SEND has a body");
            is_fine(version, format!("{command}\ncontent-length:0\n\n\0"));
        }
    }
}

#[test]
fn more_than_the_limits() {
    for version in Version::ALL {
        let headers = |count: usize| (0..count).map(|at| format!("h{at}:x\n")).collect::<String>();
        is_fine(version, format!("SEND\n{}\n\0", headers(LIMITS.headers)));
        breaks(version, format!("SEND\n{}\n\0", headers(LIMITS.headers + 1)), "a frame has at most 8 headers");
        // Repeated ones count.
        breaks(version, format!("SEND\n{}\n\0", "a:b\n".repeat(9)), "a frame has at most 8 headers");

        let head = |bytes: usize| format!("SEND\na:{}\n\n", "x".repeat(bytes - "SEND\na:\n\n".len()));
        is_fine(version, format!("{}\0", head(LIMITS.header_bytes)));
        let rule = "a frame has at most 1000 bytes of headers";
        breaks(version, format!("{}\0", head(LIMITS.header_bytes + 1)), rule);
        // Though it never ends.
        breaks(version, format!("SEND\n{}", "x".repeat(1000)), rule);
        breaks(version, format!("SEND\n{}", "x".repeat(LIMITS.header_bytes - 4)), rule);

        let rule = "a body has at most 1000 bytes";
        is_fine(version, format!("SEND\n\n{}\0", "x".repeat(1000)));
        breaks(version, format!("SEND\n\n{}\0", "x".repeat(1001)), rule);
        breaks(version, format!("SEND\n\n{}", "x".repeat(1001)), rule);
        is_fine(version, format!("SEND\ncontent-length:1000\n\n{}\0", "\0".repeat(1000)));
        breaks(version, "SEND\ncontent-length:1001\n\n", rule);
    }
}

#[test]
fn a_violation_carries_the_receipt_that_was_asked_for() {
    let receipt = |version, text: String| violation(version, text).1;
    let asked = Some("r:1".to_owned());
    for (version, line) in
        [(Version::V1_0, "receipt: r:1\n"), (Version::V1_1, "receipt:r\\c1\n"), (Version::V1_2, "receipt:r\\c1\r\n")]
    {
        assert_eq!(receipt(version, format!("SEND\n{line}nocolon\n\n\0")), asked, "{version:?}");
        assert_eq!(receipt(version, format!("SEND\nnocolon\n{line}\n\0")), asked, "{version:?}");
        assert_eq!(receipt(version, format!("NONE\n{line}\n\0")), asked, "{version:?}");
        assert_eq!(receipt(version, format!("SUBSCRIBE\n{line}\nx\0")), asked, "{version:?}");
        assert_eq!(receipt(version, format!("SEND\n{line}content-length:x\n\n\0")), asked, "{version:?}");
        assert_eq!(receipt(version, format!("SEND\n{line}\n{}", "x".repeat(2000))), asked, "{version:?}");
        assert_eq!(receipt(version, format!("SEND\n{line}{}\n\0", "a:b\n".repeat(8))), asked, "{version:?}");
        assert_eq!(receipt(version, format!("SEND\n{line}{}", "x".repeat(2000))), asked, "{version:?}");
    }
    assert_eq!(receipt(Version::V1_2, "SEND\nnocolon\n\n\0".to_owned()), None);
    assert_eq!(receipt(Version::V1_2, "SEND\nnocolon\nreceipt:\\t\n\n\0".to_owned()), None);
    assert_eq!(receipt(Version::V1_2, "SEND\nnocolon\nreceipt:\n\n\0".to_owned()), None);
}
