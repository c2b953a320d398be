//! What frames ask for and are answered, without a hub.

use std::borrow::Cow;

use ullim_hub::Then;
use ullim_protocol::codes::{self, CloseCode};
use ullim_protocol::command::{Command, Refusal};
use ullim_protocol::outgoing::{Outgoing, Push, Reply, Subscribed};
use ullim_protocol::position::Position;
use ullim_protocol::publication::Kind;
use ullim_protocol::stomp::destination::NamespaceSeparator;
use ullim_protocol::stomp::{ClientCommand, Frame, Limits, Version};

use super::{Rules, Session};
use ClientCommand::{Abort, Ack, Begin, Commit, Connect, Disconnect, Nack, Send, Subscribe, Unsubscribe};

fn rules() -> Rules {
    Rules {
        limits: Limits { headers: 64, header_bytes: 16 << 10, body_bytes: 64 << 10 },
        separator: NamespaceSeparator::None,
        transactions: 2,
        transaction_frames: 3,
        transaction_bytes: 2000,
        subscriptions: 3,
    }
}

/// The commands that a frame asks for.
fn take(
    session: &mut Session,
    command: ClientCommand,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<Vec<Command>, String> {
    let headers = headers.iter().copied().collect();
    let frame = Frame { command, headers, body: Cow::Borrowed(body.as_bytes()) };
    let taken = session.take(frame, &rules());
    taken.map(|requests| requests.into_iter().map(|request| request.command).collect()).map_err(|it| it.text.into())
}

fn one(session: &mut Session, command: ClientCommand, headers: &[(&str, &str)]) -> Command {
    let mut commands = take(session, command, headers, "").unwrap();
    assert_eq!(commands.len(), 1);
    commands.remove(0)
}

fn fault(session: &mut Session, command: ClientCommand, headers: &[(&str, &str)]) -> String {
    take(session, command, headers, "").unwrap_err()
}

fn connected(versions: &str) -> Session {
    let mut session = Session::new(None);
    one(&mut session, Connect, &[("accept-version", versions)]);
    session
}

fn told(session: &mut Session, message: &Outgoing<'_>) -> String {
    let mut out = Vec::new();
    session.tell(message, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn the_first_credentials_that_are_there_count() {
    let token = |token: &str| Command::Connect { token: Some(token.to_owned()), resume: None };
    let login = |login: Option<&str>, passcode: Option<&str>| Command::Login {
        login: login.map(str::to_owned),
        passcode: passcode.map(str::to_owned),
    };
    let nobody = Command::Connect { token: None, resume: None };
    let bearer = ("Authorization", "Bearer b");
    let both = [("login", "l"), ("passcode", "p")];
    type Headers<'h> = &'h [(&'h str, &'h str)];
    let cases: [(Headers<'_>, Option<&str>, Command); 9] = [
        (&[("token", "t"), bearer, both[0], both[1]], Some("h"), token("t")),
        (&[bearer, both[0], both[1]], Some("h"), token("b")),
        (&both, Some("h"), login(Some("l"), Some("p"))),
        (&[both[1]], Some("h"), login(None, Some("p"))),
        (&[both[0]], Some("h"), login(Some("l"), None)),
        (&[("login", ""), ("passcode", "")], Some("h"), token("h")),
        (&[("token", "")], Some("h"), token("h")),
        (&[], None, nobody),
        (&[("authorization", "bearer  b ")], None, token("b")),
    ];
    for (headers, handshake, expected) in cases {
        let mut session = Session::new(handshake.map(str::to_owned));
        assert_eq!(one(&mut session, Connect, headers), expected, "{headers:?}");
    }
    for strange in ["Basic x", "Bearer", "Bearer "] {
        let mut session = Session::new(None);
        let fault = fault(&mut session, Connect, &[("Authorization", strange), ("token", "")]);
        assert!(fault.contains("Bearer"), "it is not passed over: {fault}");
    }
}

#[test]
fn there_is_one_connect_and_nothing_before_it() {
    let mut session = Session::new(None);
    assert_eq!(fault(&mut session, Send, &[]), "the first frame must be CONNECT or STOMP");
    let mut session = connected("1.1,1.2");
    assert_eq!(session.version(), Version::V1_2);
    assert_eq!(fault(&mut session, Connect, &[("accept-version", "1.0")]), "a connection has one CONNECT");
    assert_eq!(session.version(), Version::V1_2);
    let mut session = Session::new(None);
    assert!(fault(&mut session, Connect, &[("accept-version", "2.0")]).contains("accept-version"));
    let mut session = Session::new(None);
    assert!(fault(&mut session, Connect, &[("heart-beat", "1")]).contains("heart-beat"));
}

#[test]
fn a_subscription_says_what_it_means() {
    let mut session = connected("1.2");
    let topic = ("destination", "/topic/a");
    for (headers, expected) in [
        (&[topic][..], "lacks the header \"id\""),
        (&[("id", "1")], "lacks the header \"destination\""),
        (&[("id", "1"), ("destination", "/app/a")], "a destination begins with"),
        (&[("id", "1"), topic, ("ack", "manual")], "\"ack\""),
        (&[("id", "1"), topic, ("prefetch-count", "0")], "\"prefetch-count\""),
        (&[("id", "1"), topic, ("prefetch-count", "1001")], "\"prefetch-count\""),
        (&[("id", "1"), topic, ("epoch", "1")], "go together"),
        (&[("id", "1"), topic, ("epoch", "0"), ("offset", "1")], "\"epoch\""),
        (&[("id", "1"), topic, ("epoch", "1"), ("offset", "-1")], "\"offset\""),
        (&[("id", "1"), topic, ("gap", "yes")], "\"gap\""),
        (&[("id", "1"), topic, ("selector", "a=1")], "selectors"),
        (&[("id", "1"), ("destination", "/queue/a"), ("ack", "client")], "ack:auto"),
    ] {
        let fault = fault(&mut session, Subscribe, headers);
        assert!(fault.contains(expected), "{headers:?}: {fault}");
    }
    let Command::Subscribe(subscribe) = one(&mut session, Subscribe, &[("id", "1"), topic, ("gap", "true")]) else {
        panic!("no subscribe");
    };
    let label = subscribe.label.unwrap();
    assert_eq!((subscribe.channel.as_str(), label.window, label.gaps), ("a", None, true));
    assert!(fault(&mut session, Subscribe, &[("id", "1"), topic]).contains("another subscription's"));
    let positioned = [("id", "2"), topic, ("ack", "client"), ("epoch", "5"), ("offset", "7")];
    let Command::Subscribe(subscribe) = one(&mut session, Subscribe, &positioned) else { panic!("no subscribe") };
    let label = subscribe.label.unwrap();
    assert_eq!((subscribe.recover, label.window, label.gaps), (Position::parse("5-7"), Some(100), true));
    one(&mut session, Subscribe, &[("id", "3"), ("destination", "/queue/a")]);
    assert!(fault(&mut session, Subscribe, &[("id", "4"), topic]).contains("at most 3 subscriptions"));
    let withdrawn = one(&mut session, Unsubscribe, &[("id", "3")]);
    assert_eq!(withdrawn, Command::Withdraw { channel: "queue/a".to_owned(), label: 3 });
    assert!(fault(&mut session, Unsubscribe, &[("id", "3")]).contains("names no subscription"));
    one(&mut session, Subscribe, &[("id", "3"), topic]);
}

#[test]
fn acknowledgements_name_a_message_as_their_version_does() {
    let client = [("id", "s"), ("destination", "/topic/a"), ("ack", "client")];
    let mut newest = connected("1.2");
    one(&mut newest, Subscribe, &client);
    let Command::Acknowledge(acknowledge) = one(&mut newest, Ack, &[("id", "1-7")]) else { panic!("no ACK") };
    assert_eq!((acknowledge.label, acknowledge.number, acknowledge.cumulative), (1, 7, true));
    assert!(fault(&mut newest, Ack, &[("message-id", "1-7")]).contains("lacks the header \"id\""));
    for unknown in ["", "1", "0-1", "2-1", "x-1", "1-x"] {
        assert!(fault(&mut newest, Ack, &[("id", unknown)]).contains("names no message"), "{unknown}");
    }
    one(&mut newest, Subscribe, &[("id", "t"), ("destination", "/topic/a"), ("ack", "client-individual")]);
    let Command::Acknowledge(acknowledge) = one(&mut newest, Nack, &[("id", "2-1")]) else { panic!("no NACK") };
    assert!(!acknowledge.cumulative);
    one(&mut newest, Subscribe, &[("id", "u"), ("destination", "/topic/a")]);
    assert!(fault(&mut newest, Ack, &[("id", "3-1")]).contains("ack:auto"));
    one(&mut newest, Unsubscribe, &[("id", "s")]);
    assert_eq!(one(&mut newest, Ack, &[("id", "1-8")]), Command::Ping, "on its way when it was unsubscribed");

    let mut middle = connected("1.1");
    one(&mut middle, Subscribe, &client);
    assert!(fault(&mut middle, Ack, &[("message-id", "1-7")]).contains("lacks the header \"subscription\""));
    assert!(fault(&mut middle, Ack, &[("message-id", "1-7"), ("subscription", "t")]).contains("not the message's"));
    assert!(matches!(one(&mut middle, Ack, &[("message-id", "1-7"), ("subscription", "s")]), Command::Acknowledge(_)));

    let mut oldest = connected("1.0");
    one(&mut oldest, Subscribe, &[("destination", "/topic/a"), ("ack", "client")]);
    assert!(matches!(one(&mut oldest, Ack, &[("message-id", "1-7")]), Command::Acknowledge(_)));
    assert_eq!(fault(&mut oldest, Nack, &[("message-id", "1-7")]), "STOMP 1.0 has no NACK");
    one(&mut oldest, Unsubscribe, &[("destination", "/topic/a")]);
}

#[test]
fn transactions_are_bounded_and_carried_out_at_their_commit() {
    let mut session = connected("1.2");
    let send = |session: &mut Session, transaction: &str, body: &str| {
        take(session, Send, &[("destination", "/topic/a"), ("transaction", transaction)], body)
    };
    assert!(send(&mut session, "t", "x").unwrap_err().contains("not open"));
    one(&mut session, Begin, &[("transaction", "t")]);
    assert!(fault(&mut session, Begin, &[("transaction", "t")]).contains("open already"));
    one(&mut session, Begin, &[("transaction", "u")]);
    assert!(fault(&mut session, Begin, &[("transaction", "v")]).contains("at most 2 open"));
    for body in ["1", "2", "3"] {
        assert_eq!(send(&mut session, "t", body).unwrap(), [Command::Ping]);
    }
    assert!(send(&mut session, "t", "4").unwrap_err().contains("at most 3 frames"));
    assert!(send(&mut session, "u", &"x".repeat(2000)).unwrap_err().contains("bytes"));
    let committed = take(&mut session, Commit, &[("transaction", "t")], "").unwrap();
    let bodies = committed.iter().filter_map(|command| match command {
        Command::Publish(publish) => Some(publish.data.bytes().to_vec()),
        _ => None,
    });
    assert_eq!(bodies.collect::<Vec<_>>(), [b"1", b"2", b"3"]);
    assert!(fault(&mut session, Commit, &[("transaction", "t")]).contains("not open"));
    assert!(fault(&mut session, Abort, &[]).contains("lacks the header"));
}

#[test]
fn what_was_aborted_leaves_room() {
    let mut session = connected("1.2");
    for _ in 0..5 {
        one(&mut session, Begin, &[("transaction", "t")]);
        let headers = [("destination", "/topic/a"), ("transaction", "t")];
        assert_eq!(take(&mut session, Send, &headers, &"x".repeat(1000)).unwrap(), [Command::Ping]);
        one(&mut session, Abort, &[("transaction", "t")]);
    }
}

#[test]
fn a_body_and_its_headers_become_a_publication() {
    let mut session = connected("1.2");
    let headers = [("destination", "/topic/chat:42"), ("receipt", "r"), ("b", "2"), ("a", "1"), ("message-id", "x")];
    let commands = take(&mut session, Send, &headers, "{\"n\":1}").unwrap();
    let [Command::Publish(publish)] = commands.as_slice() else { panic!("{commands:?}") };
    assert_eq!((publish.channel.as_str(), publish.data.kind(), publish.echo), ("chat:42", Kind::Json, true));
    let kept: Vec<_> = publish.headers.as_ref().unwrap().entries().iter().collect();
    assert_eq!(kept.len(), 2);
    assert_eq!((kept[0].0.as_str(), kept[1].0.as_str()), ("b", "a"), "in their order");
}

#[test]
fn receipts_come_for_those_who_asked_in_the_order_of_the_answers() {
    let mut session = connected("1.2");
    take(&mut session, Send, &[("destination", "/topic/a")], "").unwrap(); // 2
    take(&mut session, Send, &[("destination", "/topic/a"), ("receipt", "r3")], "").unwrap();
    take(&mut session, Subscribe, &[("id", "1"), ("destination", "/topic/a"), ("receipt", "r4")], "").unwrap();
    take(&mut session, Begin, &[("transaction", "t")], "").unwrap(); // 5
    for _ in 0..2 {
        take(&mut session, Send, &[("destination", "/topic/a"), ("transaction", "t")], "").unwrap(); // 6, 7
    }
    take(&mut session, Commit, &[("transaction", "t"), ("receipt", "c")], "").unwrap(); // 8, 9, 10
    let published = |number| Outgoing::Reply(number, Reply::Publish(None));
    assert_eq!(told(&mut session, &Outgoing::Reply(1, Reply::Ping)), "", "CONNECT's, which the hub answers otherwise");
    assert_eq!(told(&mut session, &published(2)), "");
    assert_eq!(told(&mut session, &published(3)), "RECEIPT\nreceipt-id:r3\n\n\0");
    let subscribed = Subscribed { position: Position::parse("5-7"), recovered: Some(false), ..Subscribed::default() };
    let expected = "RECEIPT\nreceipt-id:r4\nepoch:5\noffset:7\nrecovered:false\n\n\0";
    assert_eq!(told(&mut session, &Outgoing::Reply(4, Reply::Subscribe(&subscribed))), expected);
    for number in 5..=9 {
        assert_eq!(told(&mut session, &published(number)), "");
    }
    assert_eq!(told(&mut session, &Outgoing::Reply(10, Reply::Ping)), "RECEIPT\nreceipt-id:c\n\n\0");
}

#[test]
fn a_refusal_within_a_commit_names_the_commits_receipt() {
    let mut session = connected("1.2");
    take(&mut session, Begin, &[("transaction", "t")], "").unwrap(); // 2
    take(&mut session, Send, &[("destination", "/topic/a"), ("transaction", "t")], "").unwrap(); // 3
    take(&mut session, Commit, &[("transaction", "t"), ("receipt", "c")], "").unwrap(); // 4, 5
    told(&mut session, &Outgoing::Reply(1, Reply::Ping));
    let refusal = Refusal::new(&codes::UNAVAILABLE, "not now");
    let mut out = Vec::new();
    let then = session.tell(&Outgoing::Error(Some(4), &refusal), &mut out);
    assert!(matches!(then, Then::Close(CloseCode { number: 4008, .. })));
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("\nreceipt-id:c\n") && text.contains("\nretry:true\n"), "{text}");
    let mut out = Vec::new();
    session.tell_end(&codes::REFUSED, "a second reason", &mut out);
    assert!(out.is_empty(), "there is one ERROR");
}

#[test]
fn nothing_counts_behind_disconnect() {
    let mut session = connected("1.2");
    one(&mut session, Disconnect, &[("receipt", "bye")]);
    assert_eq!(take(&mut session, Send, &[], "").unwrap(), [], "not even what is wrong");
    told(&mut session, &Outgoing::Reply(1, Reply::Ping));
    let mut out = Vec::new();
    let then = session.tell(&Outgoing::Reply(2, Reply::Ping), &mut out);
    assert!(matches!(then, Then::Close(CloseCode { number: 1000, .. })));
    assert_eq!(out, b"RECEIPT\nreceipt-id:bye\n\n\0");
}

#[test]
fn a_subscription_that_the_node_ends_is_the_end() {
    let mut session = connected("1.2");
    let mut out = Vec::new();
    let then = session.tell(&Outgoing::Push("a", Push::Unsubscribed(&codes::HISTORY_RESET)), &mut out);
    assert!(matches!(then, Then::Close(_)));
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with("ERROR\n") && text.contains("\ncode:117\nname:history_reset\n"), "{text}");
}
