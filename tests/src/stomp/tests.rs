//! A server that breaks a rule is found out, and one that does not is not.

use super::{Frame, Parsed, Rules, Version};

use Version::{V1_0, V1_1, V1_2};

fn parsed(bytes: &[u8], version: Version) -> Result<Option<(Parsed, usize)>, String> {
    let whole = Frame::parse(bytes, version);
    // However little has come: no more of it is no other frame, and no error that the whole is not.
    for end in 0..bytes.len() {
        match Frame::parse(&bytes[..end], version) {
            Ok(None) => {}
            Ok(early) => assert_eq!(Ok(early), whole),
            Err(_) => assert!(whole.is_err(), "an error at {end} of {bytes:?}"),
        }
    }
    whole
}

fn frame(bytes: &[u8], version: Version) -> Frame {
    match parsed(bytes, version) {
        Ok(Some((Parsed::Frame(frame), length))) if length == bytes.len() => frame,
        other => panic!("{other:?}"),
    }
}

fn rule_of(bytes: &[u8], version: Version) -> String {
    parsed(bytes, version).unwrap_err()
}

#[test]
fn what_is_written_is_read_again_in_the_same_version() {
    let message = Frame::new("MESSAGE").with("a", "b:c\\d\ne\r").with("ü:", "").body([0, 1, 0]);
    assert_eq!(frame(&message.bytes(V1_2), V1_2), message);
    let older = Frame::new("MESSAGE").with("a", "b:c\\d\ne").with("ü:", " x ");
    assert_eq!(frame(&older.bytes(V1_1), V1_1), older);
    let oldest = Frame::new("MESSAGE").with("a", "b:c\\d").body("text");
    assert_eq!(frame(&oldest.bytes(V1_0), V1_0), oldest);
    let connected = Frame::new("CONNECTED").with("session", "a:b\\c");
    assert_eq!(frame(&connected.bytes(V1_2), V1_2), connected);
}

#[test]
fn ends_of_lines_between_frames_are_heart_beats() {
    assert_eq!(parsed(b"\n", V1_1), Ok(Some((Parsed::HeartBeat, 1))));
    assert_eq!(parsed(b"\r\n", V1_2), Ok(Some((Parsed::HeartBeat, 2))));
    assert_eq!(frame(b"RECEIPT\r\nreceipt-id:1\r\n\r\n\0", V1_2), Frame::new("RECEIPT").with("receipt-id", "1"));
}

#[test]
fn bytes_that_are_no_frame_are_found() {
    for (bytes, version, rule) in [
        (&b"MESSAGE\na\n\n\0"[..], V1_2, "no colon"),
        (b"MESSAGE\n:b\n\n\0", V1_2, "no name"),
        (b"MESSAGE\na:b:c\n\n\0", V1_2, "a bare colon"),
        (b"MESSAGE\na:b\rc\n\n\0", V1_2, "a bare CR"),
        (b"MESSAGE\na:\\t\n\n\0", V1_2, "an undefined escape"),
        (b"MESSAGE\na:\\r\n\n\0", V1_1, "an undefined escape"),
        (b"MESSAGE\na:\\\n\n\0", V1_2, "an undefined escape"),
        (b"MESSAGE\na:1\na:2\n\n\0", V1_2, "came before"),
        (b"MESSAGE\na:\xff\n\n\0", V1_2, "not UTF-8"),
        (b"MESSAGE\ncontent-length:3\n\nab\0\n", V1_2, "no NUL where"),
        (b"MESSAGE\ncontent-length:1\n\nab\0", V1_2, "no NUL where"),
        (b"MESSAGE\ncontent-length:+1\n\na\0", V1_2, "no number"),
        (b"MESSAGE\na:b\0", V1_2, "before the blank line"),
    ] {
        let found = rule_of(bytes, version);
        assert!(found.contains(rule), "{rule}: {found}");
    }
}

#[test]
fn before_a_version_is_agreed_upon_nothing_is_escaped() {
    let mut rules = Rules::default();
    rules.say(&Frame::new("CONNECT").with("accept-version", "1.1,1.2"));
    assert_eq!((rules.reading(), rules.version()), (V1_0, V1_2));
    rules.hear(&Frame::new("CONNECTED").with("version", "1.1")).unwrap();
    assert_eq!((rules.reading(), rules.version()), (V1_1, V1_1));
}

/// Rules in which a session of this version stands, with the subscription `1` to `/topic/a`.
fn subscribed(version: Version, further: &[(&str, &str)]) -> Rules {
    let mut rules = Rules::default();
    rules.say(&Frame::new("CONNECT").with("accept-version", "1.0,1.1,1.2"));
    let connected = Frame::new("CONNECTED").with("version", version.name()).with("heart-beat", "0,25000");
    rules.hear(&connected.with("session", "s").with("server", "ullim/1.0")).unwrap();
    let subscribe = Frame::new("SUBSCRIBE").with("id", "1").with("destination", "/topic/a").with("receipt", "r1");
    rules.say(&further.iter().fold(subscribe, |frame, (name, value)| frame.with(name, value)));
    rules.hear(&Frame::new("RECEIPT").with("receipt-id", "r1")).unwrap();
    rules
}

fn message() -> Frame {
    let message = Frame::new("MESSAGE").with("subscription", "1").with("message-id", "1-1");
    message.with("destination", "/topic/a").with("content-type", "text/plain").body("x")
}

/// The message with another value of a header, or without it.
fn changed(name: &str, value: Option<&str>) -> Frame {
    let mut message = message();
    message.headers.retain(|(other, _)| other != name);
    match value {
        Some(value) => message.with(name, value),
        None => message,
    }
}

#[test]
fn good_servers_are_good_in_every_version() {
    for version in [V1_0, V1_1, V1_2] {
        subscribed(version, &[]).hear(&message()).unwrap();
    }
    let mut rules = subscribed(V1_2, &[("ack", "client")]);
    rules.hear(&message().with("ack", "1-1").with("epoch", "7").with("offset", "1").with("own", "x")).unwrap();
    let mut rules = subscribed(V1_1, &[("ack", "client")]);
    rules.hear(&message()).unwrap();
    let mut rules = subscribed(V1_2, &[("gap", "true")]);
    let gap = Frame::new("MESSAGE").with("subscription", "1").with("message-id", "1-2").with("destination", "/topic/a");
    rules.hear(&gap.with("gap", "overload").with("gap-from", "1").with("gap-to", "2")).unwrap();
    rules.say(&Frame::new("UNSUBSCRIBE").with("id", "1").with("receipt", "r2"));
    rules.hear(&message()).unwrap();
    rules.hear(&Frame::new("RECEIPT").with("receipt-id", "r2")).unwrap();
    rules.hear(&Frame::new("ERROR").with("message", "over").with("code", "3001")).unwrap();
}

#[test]
fn messages_that_break_a_rule_are_found() {
    let gap = || message().with("gap", "overload").with("gap-from", "2").with("gap-to", "3");
    for (frame, rule) in [
        (changed("subscription", None), "without subscription"),
        (changed("subscription", Some("2")), "does not stand"),
        (changed("message-id", None), "without message-id"),
        (changed("destination", None), "without destination"),
        (changed("destination", Some("/topic/b")), "another destination"),
        (changed("content-type", None), "without content-type"),
        (changed("content-length", None), "without content-length"),
        (message().with("ack", "1-1"), "`ack` is for 1.2"),
        (message().with("receipt", "1"), "with receipt"),
        (message().with("login", "me"), "with login"),
        (message().with("epoch", "7"), "half a position"),
        (message().with("epoch", "7").with("offset", "-1"), "no number"),
        (gap(), "nobody asked for"),
        (message().with("gap-from", "1"), "without its reason"),
    ] {
        let found = subscribed(V1_2, &[]).hear(&frame).unwrap_err();
        assert!(found.contains(rule), "{rule}: {found}");
    }
    let found = subscribed(V1_2, &[("gap", "true")]).hear(&gap()).unwrap_err();
    assert!(found.contains("an empty body"), "{found}");
    let found = subscribed(V1_2, &[("ack", "client")]).hear(&message()).unwrap_err();
    assert!(found.contains("`ack`"), "{found}");
    let found = subscribed(V1_2, &[("ack", "client")]).hear(&message().with("ack", "1-2")).unwrap_err();
    assert!(found.contains("not the message-id"), "{found}");
    let mut rules = subscribed(V1_2, &[]);
    rules.hear(&message()).unwrap();
    assert!(rules.hear(&message()).unwrap_err().contains("not new"));
}

#[test]
fn what_comes_at_a_wrong_time_is_found() {
    let connected = || Frame::new("CONNECTED").with("version", "1.1");
    let receipt = || Frame::new("RECEIPT").with("receipt-id", "r1");
    let found = |rules: &mut Rules, frame: &Frame, rule: &str| {
        let found = rules.hear(frame).unwrap_err();
        assert!(found.contains(rule), "{rule}: {found}");
    };
    let mut rules = Rules::default();
    rules.say(&Frame::new("CONNECT").with("accept-version", "1.2"));
    found(&mut rules, &message(), "before CONNECTED");
    found(&mut rules, &connected(), "not offered");
    found(&mut rules, &Frame::new("CONNECTED").with("version", "1.2").with("x", "y"), "the header \"x\"");
    found(&mut rules, &Frame::new("CONNECTED").with("version", "1.2").with("heart-beat", "0"), "no pair");
    let mut rules = subscribed(V1_2, &[]);
    found(&mut rules, &connected(), "twice");
    found(&mut rules, &receipt(), "not due");
    found(&mut rules, &Frame::new("SEND"), "no frame of a server's");
    found(&mut rules, &Frame::new("ERROR"), "without a message");
    found(&mut rules, &Frame::new("ERROR").with("message", "m").with("receipt-id", "r9"), "not due");
    rules.say(&Frame::new("UNSUBSCRIBE").with("id", "1").with("receipt", "r2"));
    found(&mut rules, &Frame::new("RECEIPT").with("receipt-id", "r2").with("recovered", "true"), "without a position");
    rules.hear(&Frame::new("RECEIPT").with("receipt-id", "r2")).unwrap();
    found(&mut rules, &message(), "does not stand");
    rules.hear(&Frame::new("ERROR").with("message", "m")).unwrap();
    found(&mut rules, &message(), "behind an ERROR");
}
