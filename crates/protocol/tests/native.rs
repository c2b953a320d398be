//! Golden vectors of the native dialect, written by hand from `docs/protocol.md`, in both encodings.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use proptest::prelude::*;
use ullim_protocol::codes::{self, ErrorCode};
use ullim_protocol::command::{Command, MembersOf, Publish, Refusal, Request, Subscribe};
use ullim_protocol::native::{json, msgpack};
use ullim_protocol::outgoing::{Connected, Gap, GapReason, Outgoing, Push, Refreshed, Reply, Subscribed};
use ullim_protocol::presence::{Info, Member, MembersPage, Occupancy, PresenceEvent};
use ullim_protocol::publication::{Data, Headers, Publication};
use ullim_protocol::session::SessionId;

fn publish(data: Data) -> Command {
    Command::Publish(Publish { channel: "chat:42".to_owned(), data, headers: None, echo: true, id: None })
}

fn json_data(text: &'static str) -> Data {
    Data::Json(Bytes::from_static(text.as_bytes()))
}

fn connect(token: Option<&str>, resume: Option<&str>) -> Command {
    Command::Connect { token: token.map(str::to_owned), resume: resume.map(str::to_owned) }
}

fn with_options() -> Subscribe {
    Subscribe { token: Some("eyJ".to_owned()), presence: true, events: true, ..Subscribe::plain("chat:42") }
}

#[test]
fn json_commands_are_read() {
    let cases = [
        (r#"{"id":1,"connect":{"token":"eyJ"}}"#, connect(Some("eyJ"), None)),
        (r#"{"id":1,"connect":{}}"#, connect(None, None)),
        (r#"{"id":1,"connect":{"token":"eyJ","resume":"kZ3"}}"#, connect(Some("eyJ"), Some("kZ3"))),
        (r#"{"id":1,"refresh":{"token":"eyJ"}}"#, Command::Refresh { token: "eyJ".to_owned() }),
        (r#"{"subscribe":{"channel":"chat:42","later":[1]},"id":1}"#, Command::Subscribe(Subscribe::plain("chat:42"))),
        (
            r#"{"id":1,"subscribe":{"channel":"chat:42","token":"eyJ","presence":true,"events":true}}"#,
            Command::Subscribe(with_options()),
        ),
        (
            r#"{"id":1,"subscribe":{"channel":"a","presence":false,"events":false}}"#,
            Command::Subscribe(Subscribe::plain("a")),
        ),
        (
            r#"{"id":1,"subscribe":{"channels":[{"channel":"a","events":true},{"channel":"b"}]}}"#,
            Command::SubscribeMany(vec![Subscribe { events: true, ..Subscribe::plain("a") }, Subscribe::plain("b")]),
        ),
        (
            r#"{"id":1,"presence":{"channel":"a","limit":500,"cursor":"17:x"}}"#,
            Command::Presence(MembersOf { channel: "a".to_owned(), limit: 500, cursor: Some("17:x".to_owned()) }),
        ),
        (
            r#"{"id":1,"presence":{"channel":"a"}}"#,
            Command::Presence(MembersOf { channel: "a".to_owned(), limit: 100, cursor: None }),
        ),
        (r#"{"id":1,"presence_count":{"channel":"a"}}"#, Command::PresenceCount("a".to_owned())),
        (r#"{"id":1,"unsubscribe":{"channel":"a"}}"#, Command::Unsubscribe("a".to_owned())),
        (
            r#"{"id":1,"publish":{"channel":"chat:42","data": {"b": 1, "a":[ ]}}}"#,
            publish(json_data(r#"{"b": 1, "a":[ ]}"#)),
        ),
        (r#"{"id":1,"publish":{"channel":"chat:42","data":null}}"#, publish(json_data("null"))),
        (r#"{"id":1,"publish":{"channel":"chat:42","text":"h\u00e9"}}"#, publish(Data::Text("hé".into()))),
        (
            r#"{"id":1,"publish":{"channel":"chat:42","b64":"/wA="}}"#,
            publish(Data::Binary(b"\xff\0".as_slice().into())),
        ),
        (r#" {"id":1, "ping":{}, "future":{"a":[[]]}} "#, Command::Ping),
    ];
    for (text, command) in cases {
        assert_eq!(json::decode(text), Ok(Request { id: 1, command }), "{text}");
    }
    let options =
        r#"{"id":9007199254740991,"publish":{"channel":"c","text":"x","echo":false,"headers":{"z":"v","a":""}}}"#;
    let headers = headers(&[("z", "v"), ("a", "")]);
    let command = Command::Publish(Publish {
        channel: "c".to_owned(),
        data: Data::Text("x".into()),
        headers,
        echo: false,
        id: None,
    });
    assert_eq!(json::decode(options), Ok(Request { id: (1 << 53) - 1, command }));
}

#[test]
fn bad_json_commands_get_their_code_and_their_id() {
    let deep = format!(r#"{{"id":8,"publish":{{"channel":"c","data":{}{}}}}}"#, "[".repeat(128), "]".repeat(128));
    let cases: [(&str, Option<u64>, &ErrorCode); 28] = [
        ("", None, &codes::BAD_MESSAGE),
        ("{", None, &codes::BAD_MESSAGE),
        ("[]", None, &codes::BAD_MESSAGE),
        // Arrays of the fields' values, which serde would take for objects.
        ("[1,null,null,null,null,{}]", None, &codes::BAD_MESSAGE),
        (r#"{"id":1,"subscribe":["chat:1",null]}"#, Some(1), &codes::BAD_MESSAGE),
        (r#"{"id":1,"publish":["chat:1",1,null,null,null,null]}"#, Some(1), &codes::BAD_MESSAGE),
        ("{}", None, &codes::BAD_MESSAGE),
        (r#"{"id":1}{"#, None, &codes::BAD_MESSAGE),
        (r#"{"id":0,"ping":{}}"#, None, &codes::BAD_MESSAGE),
        (r#"{"id":-1,"ping":{}}"#, None, &codes::BAD_MESSAGE),
        (r#"{"id":9007199254740992,"ping":{}}"#, None, &codes::BAD_MESSAGE),
        (r#"{"id":2,"fly":{}}"#, Some(2), &codes::UNKNOWN_COMMAND),
        (r#"{"id":2}"#, Some(2), &codes::UNKNOWN_COMMAND),
        (r#"{"id":3,"ping":{},"connect":{}}"#, Some(3), &codes::BAD_MESSAGE),
        (r#"{"id":4,"subscribe":{"channel":7}}"#, Some(4), &codes::BAD_MESSAGE),
        (r#"{"id":5,"subscribe":{}}"#, Some(5), &codes::BAD_MESSAGE),
        (r#"{"id":6,"publish":{"channel":"c"}}"#, Some(6), &codes::BAD_MESSAGE),
        (r#"{"id":6,"publish":{"channel":"c","text":"a","b64":""}}"#, Some(6), &codes::BAD_MESSAGE),
        (r#"{"id":7,"publish":{"channel":"c","b64":"a"}}"#, Some(7), &codes::BAD_DATA),
        (&deep, Some(8), &codes::BAD_DATA),
        (r#"{"id":9,"refresh":{}}"#, Some(9), &codes::BAD_MESSAGE),
        (r#"{"id":9,"connect":{"resume":7}}"#, Some(9), &codes::BAD_MESSAGE),
        (r#"{"id":9,"subscribe":{"channel":"a","events":1}}"#, Some(9), &codes::BAD_MESSAGE),
        (r#"{"id":9,"subscribe":{"channels":[["a",null,null,null]]}}"#, Some(9), &codes::BAD_MESSAGE),
        (r#"{"id":9,"presence":{"channel":"a","limit":0}}"#, Some(9), &codes::BAD_MESSAGE),
        (r#"{"id":9,"presence":{"channel":"a","limit":501}}"#, Some(9), &codes::BAD_MESSAGE),
        (r#"{"id":9,"presence":{"channel":"a","limit":-1}}"#, Some(9), &codes::BAD_MESSAGE),
        (r#"{"id":9,"presence_count":{}}"#, Some(9), &codes::BAD_MESSAGE),
    ];
    for (text, id, code) in cases {
        let error = json::decode(text).unwrap_err();
        assert_eq!((error.id, error.refusal.code), (id, code), "{text} {}", error.refusal.message);
    }
    let unknown = json::decode(r#"{"id":2,"fly":{}}"#).unwrap_err().refusal.message;
    let listed = "connect, refresh, subscribe, unsubscribe, publish, presence, presence_count, history, ping";
    assert_eq!(unknown, format!("\"fly\" is not a command; the commands are {listed}"));
}

#[test]
fn an_error_does_not_quote_a_message_at_length() {
    let long = format!(r#"{{"id":1,"connect":"{}"}}"#, "x".repeat(10_000));
    assert_eq!(json::decode(&long).unwrap_err().refusal.message.len(), 200);
}

#[test]
fn messagepack_commands_are_read() {
    let cases: [(&[u8], Command); 11] = [
        (b"\x82\xa2id\x01\xa4ping\x80", Command::Ping),
        (b"\x82\xa2id\x01\xa7connect\x82\xa5token\xa3eyJ\xa6resume\xa3kZ3", connect(Some("eyJ"), Some("kZ3"))),
        (b"\x82\xa2id\x01\xa7refresh\x81\xa5token\xa3eyJ", Command::Refresh { token: "eyJ".to_owned() }),
        (b"\x82\xa2id\x01\xa9subscribe\x81\xa7channel\xa7chat:42", Command::Subscribe(Subscribe::plain("chat:42"))),
        (
            b"\x82\xa2id\x01\xa9subscribe\x84\xa7channel\xa7chat:42\xa5token\xa3eyJ\xa8presence\xc3\xa6events\xc3",
            Command::Subscribe(with_options()),
        ),
        (
            b"\x82\xa2id\x01\xa8presence\x83\xa7channel\xa1a\xa5limit\xcd\x01\xf4\xa6cursor\xa1x",
            Command::Presence(MembersOf { channel: "a".to_owned(), limit: 500, cursor: Some("x".to_owned()) }),
        ),
        (b"\x82\xa2id\x01\xaepresence_count\x81\xa7channel\xa1a", Command::PresenceCount("a".to_owned())),
        (
            b"\x82\xa2id\x01\xa7publish\x82\xa7channel\xa7chat:42\xa4data\x81\xa1a\xc0",
            publish(json_data(r#"{"a":null}"#)),
        ),
        (b"\x82\xa2id\x01\xa7publish\x82\xa7channel\xa7chat:42\xa4data\xc0", publish(json_data("null"))),
        (b"\x82\xa2id\x01\xa7publish\x82\xa7channel\xa7chat:42\xa4text\xa2hi", publish(Data::Text("hi".into()))),
        (
            b"\x82\xa2id\x01\xa7publish\x82\xa7channel\xa7chat:42\xa3bin\xc4\x02\xff\x00",
            publish(Data::Binary(b"\xff\0".as_slice().into())),
        ),
    ];
    for (bytes, command) in cases {
        assert_eq!(msgpack::decode(bytes), Ok(Request { id: 1, command }), "{bytes:02x?}");
    }
    let written = b"\x82\xa2id\x01\xa7publish\x83\xa7channel\xa1c\xa4text\xa0\xa7headers\x82\xa1z\xa1v\xa1a\xa0";
    let Ok(Request { command: Command::Publish(command), .. }) = msgpack::decode(written) else { panic!("not read") };
    assert_eq!(command.headers, headers(&[("z", "v"), ("a", "")]));
}

#[test]
fn bad_messagepack_commands_get_their_code_and_their_id() {
    let deep = |depth: usize| {
        [b"\x82\xa2id\x08\xa7publish\x82\xa7channel\xa1c\xa4data".as_slice(), &vec![0x91; depth], b"\xc0"].concat()
    };
    let (deep, deeper) = (deep(200), deep(100_000));
    let cases: [(&[u8], Option<u64>, &ErrorCode); 10] = [
        (b"", None, &codes::BAD_MESSAGE),
        (b"\xc1", None, &codes::BAD_MESSAGE),
        (b"\x96\x01\xc0\xc0\xc0\xc0\x80", None, &codes::BAD_MESSAGE),
        (b"\xdf\xff\xff\xff\xff", None, &codes::BAD_MESSAGE),
        (b"\x82\xa2id\x01\xa4ping\x80\x00", None, &codes::BAD_MESSAGE),
        (b"\x82\xa2id\x02\xa3fly\x80", Some(2), &codes::UNKNOWN_COMMAND),
        (b"\x82\xa2id\x03\xa9subscribe\x81\xa7channel\x07", Some(3), &codes::BAD_MESSAGE),
        // Binary within JSON data.
        (b"\x82\xa2id\x04\xa7publish\x82\xa7channel\xa1c\xa4data\x91\xc4\x01a", Some(4), &codes::BAD_MESSAGE),
        (&deep, Some(8), &codes::BAD_MESSAGE),
        (&deeper, None, &codes::BAD_MESSAGE),
    ];
    for (bytes, id, code) in cases {
        let error = msgpack::decode(bytes).unwrap_err();
        assert_eq!(
            (error.id, error.refusal.code),
            (id, code),
            "{:02x?} {}",
            &bytes[..bytes.len().min(40)],
            error.refusal.message
        );
    }
}

fn encoded(outgoing: &Outgoing<'_>) -> (String, Vec<u8>) {
    let (mut text, mut bytes) = (Vec::new(), Vec::new());
    json::encode(outgoing, &mut text);
    msgpack::encode(outgoing, &mut bytes);
    (String::from_utf8(text).unwrap(), bytes)
}

fn headers(entries: &[(&str, &str)]) -> Option<Headers> {
    Headers::new(entries.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())))
}

fn publication(data: Data) -> Publication {
    Publication { data, time: 1000, headers: None, position: None }
}

#[test]
fn pushes_are_written_as_documented() {
    let json = publication(json_data(r#"{"a": 1}"#));
    let (text, bytes) = encoded(&Outgoing::Push("c", Push::Publication(&json)));
    assert_eq!(text, r#"{"push":{"channel":"c","pub":{"data":{"a": 1},"time":1000}}}"#);
    assert_eq!(bytes, b"\x81\xa4push\x82\xa7channel\xa1c\xa3pub\x82\xa4data\x81\xa1a\x01\xa4time\xcd\x03\xe8");

    let mut with_headers = publication(Data::Text("q\"".into()));
    with_headers.headers = headers(&[("z", "v"), ("a", "w")]);
    let (text, bytes) = encoded(&Outgoing::Push("c", Push::Publication(&with_headers)));
    assert_eq!(text, r#"{"push":{"channel":"c","pub":{"text":"q\"","headers":{"z":"v","a":"w"},"time":1000}}}"#);
    let mut expected = b"\x81\xa4push\x82\xa7channel\xa1c\xa3pub\x83\xa4text\xa2q\"".to_vec();
    expected.extend_from_slice(b"\xa7headers\x82\xa1z\xa1v\xa1a\xa1w\xa4time\xcd\x03\xe8");
    assert_eq!(bytes, expected);

    let binary = publication(Data::Binary(b"\xff\0".as_slice().into()));
    let (text, bytes) = encoded(&Outgoing::Push("c", Push::Publication(&binary)));
    assert_eq!(text, r#"{"push":{"channel":"c","pub":{"b64":"/wA=","time":1000}}}"#);
    assert_eq!(bytes, b"\x81\xa4push\x82\xa7channel\xa1c\xa3pub\x82\xa3bin\xc4\x02\xff\x00\xa4time\xcd\x03\xe8");

    let gap = Gap { from: 1, to: 2, reason: GapReason::BrokerLink, position: None };
    let (text, bytes) = encoded(&Outgoing::Push("c", Push::Gap(gap)));
    assert_eq!(text, r#"{"push":{"channel":"c","gap":{"from":1,"to":2,"reason":"broker_link"}}}"#);
    assert_eq!(bytes, b"\x81\xa4push\x82\xa7channel\xa1c\xa3gap\x83\xa4from\x01\xa2to\x02\xa6reason\xabbroker_link");

    let (text, bytes) = encoded(&Outgoing::Push("c", Push::Unsubscribed(&codes::SUBSCRIPTION_ENDED)));
    assert_eq!(text, r#"{"push":{"channel":"c","unsubscribed":{"code":113,"name":"subscription_ended"}}}"#);
    assert_eq!(
        bytes,
        b"\x81\xa4push\x82\xa7channel\xa1c\xacunsubscribed\x82\xa4code\x71\xa4name\xb2subscription_ended"
    );
}

#[test]
fn joins_and_leaves_are_written_as_documented() {
    let info = Info::parse(r#"{"a": [1]}"#);
    let join = PresenceEvent { joined: true, user: "alice".into(), info };
    let (text, bytes) = encoded(&Outgoing::Push("c", Push::Presence(&join)));
    assert_eq!(text, r#"{"push":{"channel":"c","join":{"user":"alice","info":{"a": [1]}}}}"#);
    let expected = b"\x81\xa4push\x82\xa7channel\xa1c\xa4join\x82\xa4user\xa5alice\xa4info\x81\xa1a\x91\x01";
    assert_eq!(bytes, expected);

    let leave = PresenceEvent { joined: false, user: "~x".into(), info: None };
    let (text, bytes) = encoded(&Outgoing::Push("c", Push::Presence(&leave)));
    assert_eq!(text, r#"{"push":{"channel":"c","leave":{"user":"~x"}}}"#);
    assert_eq!(bytes, b"\x81\xa4push\x82\xa7channel\xa1c\xa5leave\x81\xa4user\xa2~x");
}

fn page() -> MembersPage {
    let (session, info) = (SessionId([0; 16]), Info::parse("{}"));
    let alice = Member { session, user: Some("alice".into()), info, since: 1000 };
    let anonymous = Member { session, user: None, info: None, since: 7 };
    MembersPage { members: vec![alice, anonymous], cursor: Some("17".to_owned()) }
}

/// The page as it stands in replies.
const PAGE: &str = r#""presence":{"members":[{"session":"AAAAAAAAAAAAAAAAAAAAAA","user":"alice","info":{},"since":1000},{"session":"AAAAAAAAAAAAAAAAAAAAAA","since":7}],"cursor":"17"}"#;

const PACKED_PAGE: &[u8] = b"\xa8presence\x82\xa7members\x92\
    \x84\xa7session\xb6AAAAAAAAAAAAAAAAAAAAAA\xa4user\xa5alice\xa4info\x80\xa5since\xcd\x03\xe8\
    \x82\xa7session\xb6AAAAAAAAAAAAAAAAAAAAAA\xa5since\x07\xa6cursor\xa217";

#[test]
fn members_are_written_as_documented() {
    let (text, bytes) = encoded(&Outgoing::Reply(4, Reply::Presence(&page())));
    assert_eq!(text, format!("{{\"id\":4,{PAGE}}}"));
    assert_eq!(bytes, [b"\x82\xa2id\x04", PACKED_PAGE].concat());

    let (text, bytes) = encoded(&Outgoing::Reply(4, Reply::Presence(&MembersPage::default())));
    assert_eq!(text, r#"{"id":4,"presence":{"members":[]}}"#);
    assert_eq!(bytes, b"\x82\xa2id\x04\xa8presence\x81\xa7members\x90");

    let subscribed = Subscribed { presence: Some(page()), ..Subscribed::default() };
    let (text, bytes) = encoded(&Outgoing::Reply(2, Reply::Subscribe(&subscribed)));
    assert_eq!(text, format!("{{\"id\":2,\"subscribe\":{{{PAGE}}}}}"));
    assert_eq!(bytes, [b"\x82\xa2id\x02\xa9subscribe\x81", PACKED_PAGE].concat());

    let many = [("a".to_owned(), Ok(subscribed)), ("b".to_owned(), Ok(Subscribed::default()))];
    let (text, bytes) = encoded(&Outgoing::Reply(3, Reply::SubscribeMany(&many)));
    assert_eq!(text, format!(r#"{{"id":3,"subscribe":{{"channels":[{{"channel":"a",{PAGE}}},{{"channel":"b"}}]}}}}"#));
    let head = b"\x82\xa2id\x03\xa9subscribe\x81\xa8channels\x92\x82\xa7channel\xa1a".as_slice();
    assert_eq!(bytes, [head, PACKED_PAGE, b"\x81\xa7channel\xa1b"].concat());

    let (text, bytes) = encoded(&Outgoing::Reply(5, Reply::PresenceCount(Occupancy { connections: 3, users: 2 })));
    assert_eq!(text, r#"{"id":5,"presence_count":{"connections":3,"users":2}}"#);
    assert_eq!(bytes, b"\x82\xa2id\x05\xaepresence_count\x82\xabconnections\x03\xa5users\x02");
}

#[test]
fn refreshed_and_anonymous_sessions_are_written_as_documented() {
    let refreshed = Refreshed { expires: Some(1_763_703_600), resume: Some("Vw1") };
    let (text, bytes) = encoded(&Outgoing::Reply(6, Reply::Refresh(refreshed)));
    assert_eq!(text, r#"{"id":6,"refresh":{"expires":1763703600,"resume":"Vw1"}}"#);
    assert_eq!(bytes, b"\x82\xa2id\x06\xa7refresh\x82\xa7expires\xce\x69\x1f\xfb\x30\xa6resume\xa3Vw1");
    let (text, bytes) = encoded(&Outgoing::Reply(6, Reply::Refresh(Refreshed { expires: None, resume: Some("x") })));
    assert_eq!(text, r#"{"id":6,"refresh":{"resume":"x"}}"#);
    assert_eq!(bytes, b"\x82\xa2id\x06\xa7refresh\x81\xa6resume\xa1x");

    let anonymous = Connected {
        session: SessionId([0; 16]),
        resume: None,
        resumed: false,
        user: None,
        expires: None,
        ping_ms: 1,
        message_bytes: 2,
        subscriptions: 3,
    };
    let (text, bytes) = encoded(&Outgoing::Reply(1, Reply::Connect(anonymous)));
    assert_eq!(
        text,
        r#"{"id":1,"connect":{"session":"AAAAAAAAAAAAAAAAAAAAAA","ping":1,"features":["publish","presence","refresh","resume","recover","history","reconnect"],"limits":{"message":2,"subscriptions":3}}}"#
    );
    let expected: &[u8] = b"\x82\xa2id\x01\xa7connect\x84\xa7session\xb6AAAAAAAAAAAAAAAAAAAAAA\xa4ping\x01\
        \xa8features\x97\xa7publish\xa8presence\xa7refresh\xa6resume\xa7recover\xa7history\xa9reconnect\xa6limits\x82\xa7message\x02\xadsubscriptions\x03";
    assert_eq!(bytes, expected);
}

#[test]
fn replies_are_written_as_documented() {
    let connected = Connected {
        session: SessionId([0; 16]),
        resume: Some("kZ3"),
        resumed: true,
        user: Some("alice"),
        expires: Some(1_763_700_000),
        ping_ms: 25000,
        message_bytes: 65536,
        subscriptions: 128,
    };
    let (text, bytes) = encoded(&Outgoing::Reply(1, Reply::Connect(connected)));
    assert_eq!(
        text,
        r#"{"id":1,"connect":{"session":"AAAAAAAAAAAAAAAAAAAAAA","resume":"kZ3","resumed":true,"user":"alice","expires":1763700000,"ping":25000,"features":["publish","presence","refresh","resume","recover","history","reconnect"],"limits":{"message":65536,"subscriptions":128}}}"#
    );
    let expected: &[u8] =
        b"\x82\xa2id\x01\xa7connect\x88\xa7session\xb6AAAAAAAAAAAAAAAAAAAAAA\xa6resume\xa3kZ3\xa7resumed\xc3\
        \xa4user\xa5alice\xa7expires\xce\x69\x1f\xed\x20\xa4ping\xcd\x61\xa8\
        \xa8features\x97\xa7publish\xa8presence\xa7refresh\xa6resume\xa7recover\xa7history\xa9reconnect\xa6limits\x82\xa7message\xce\x00\x01\x00\x00\xadsubscriptions\xcc\x80";
    assert_eq!(bytes, expected);

    for (reply, name) in [
        (Reply::Subscribe(&Subscribed::default()), "subscribe"),
        (Reply::Unsubscribe, "unsubscribe"),
        (Reply::Publish(None), "publish"),
        (Reply::Ping, "ping"),
    ] {
        let (text, bytes) = encoded(&Outgoing::Reply(2, reply));
        assert_eq!(text, format!(r#"{{"id":2,"{name}":{{}}}}"#));
        let head = [b"\x82\xa2id\x02".as_slice(), &[0xa0 | name.len() as u8], name.as_bytes(), b"\x80"].concat();
        assert_eq!(bytes, head);
    }

    let refusal = Refusal::new(&codes::PERMISSION_DENIED, "no");
    let many = [("a".to_owned(), Ok(Subscribed::default())), ("b".to_owned(), Err(refusal.clone()))];
    let (text, bytes) = encoded(&Outgoing::Reply(3, Reply::SubscribeMany(&many)));
    let error = r#""error":{"code":103,"name":"permission_denied","message":"no","retry":false}"#;
    assert_eq!(text, format!(r#"{{"id":3,"subscribe":{{"channels":[{{"channel":"a"}},{{"channel":"b",{error}}}]}}}}"#));
    let packed_error: &[u8] = b"\xa5error\x84\xa4code\x67\xa4name\xb1permission_denied\xa7message\xa2no\xa5retry\xc2";
    let head = b"\x82\xa2id\x03\xa9subscribe\x81\xa8channels\x92\x81\xa7channel\xa1a\x82\xa7channel\xa1b".as_slice();
    assert_eq!(bytes, [head, packed_error].concat());

    let (text, bytes) = encoded(&Outgoing::Error(Some(4), &refusal));
    assert_eq!(text, format!(r#"{{"id":4,{error}}}"#));
    assert_eq!(bytes, [b"\x82\xa2id\x04", packed_error].concat());
    let (text, bytes) = encoded(&Outgoing::Error(None, &refusal));
    assert_eq!(text, format!("{{{error}}}"));
    assert_eq!(bytes, [b"\x81", packed_error].concat());
}

proptest! {
    #[test]
    fn json_survives_messagepack(value in any_json()) {
        let text = value.to_string();
        let publication = publication(Data::Json(text.into()));
        let (_, bytes) = encoded(&Outgoing::Push("c", Push::Publication(&publication)));
        let read: serde_json::Value = rmp_serde::from_slice(&bytes).unwrap();
        prop_assert_eq!(&read["push"]["pub"]["data"], &value);
    }

    #[test]
    fn info_is_the_same_value_in_both_encodings(value in any_json()) {
        let text = value.to_string();
        prop_assume!(text.len() <= ullim_protocol::presence::MAX_INFO_BYTES);
        let event = PresenceEvent { joined: true, user: "alice".into(), info: Info::parse(&text) };
        let (text, bytes) = encoded(&Outgoing::Push("c", Push::Presence(&event)));
        let packed: serde_json::Value = rmp_serde::from_slice(&bytes).unwrap();
        prop_assert_eq!(&packed["push"]["join"]["info"], &value);
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&read["push"]["join"]["info"], &value);
    }

    #[test]
    fn no_bytes_make_the_readers_panic(bytes in any::<Vec<u8>>(), text in "[\\[\\]{}\",:a-z0-9 \\\\]{0,60}") {
        let _ = msgpack::decode(&bytes);
        let _ = json::decode(&text);
    }
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        (-1e300..1e300f64).prop_map(Into::into),
        "\\PC{0,20}".prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            proptest::collection::hash_map("\\PC{0,8}", inner, 0..6)
                .prop_map(|entries| serde_json::Value::Object(entries.into_iter().collect())),
        ]
    })
}
