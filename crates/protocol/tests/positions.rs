//! Positions, history and recovery as both encodings of the native dialect have them: golden vectors.

#![allow(clippy::unwrap_used)]

use ullim_protocol::codes;
use ullim_protocol::command::{Command, HistoryOf, Subscribe};
use ullim_protocol::outgoing::{Gap, GapReason, HistoryPage, Outgoing, Push, Reply, Subscribed};
use ullim_protocol::position::Position;
use ullim_protocol::publication::{Data, Publication};

fn json_data(text: &'static str) -> Data {
    Data::Json(text.into())
}

fn publication(data: Data) -> Publication {
    Publication { data, time: 1000, headers: None, position: None }
}

fn at(text: &str) -> Position {
    Position::parse(text).unwrap()
}

#[test]
fn positions_are_asked_for_in_both_encodings() {
    let command = |text: &str| ullim_protocol::native::json::decode(text).unwrap().command;
    let subscribe = Subscribe { recover: Some(at("7-41")), ..Subscribe::plain("c") };
    let recover = r#"{"id":1,"subscribe":{"channel":"c","recover":{"epoch":"7","offset":41}}}"#;
    assert_eq!(command(recover), Command::Subscribe(subscribe.clone()));
    let packed = b"\x82\xa2id\x01\xa9subscribe\x82\xa7channel\xa1c\xa7recover\x82\xa5epoch\xa17\xa6offset\x29";
    assert_eq!(ullim_protocol::native::msgpack::decode(packed).unwrap().command, Command::Subscribe(subscribe));
    let whole = HistoryOf { channel: "c".to_owned(), since: None, limit: 100, reverse: false };
    assert_eq!(command(r#"{"id":1,"history":{"channel":"c"}}"#), Command::History(whole.clone()));
    let part = HistoryOf { since: Some(at("7-0")), limit: 5, reverse: true, ..whole };
    let text = r#"{"id":1,"history":{"channel":"c","since":{"epoch":"7","offset":0},"limit":5,"reverse":true}}"#;
    assert_eq!(command(text), Command::History(part));
    let Command::Publish(publish) = command(r#"{"id":1,"publish":{"channel":"c","text":"x","id":"a1"}}"#) else {
        panic!("a publish")
    };
    assert_eq!(publish.id.as_deref(), Some("a1"));
    for wrong in [
        r#"{"id":1,"subscribe":{"channel":"c","recover":{"epoch":"x","offset":1}}}"#,
        r#"{"id":1,"subscribe":{"channel":"c","recover":{"epoch":7,"offset":1}}}"#,
        r#"{"id":1,"subscribe":{"channels":[{"channel":"c","recover":{"epoch":"7","offset":9007199254740992}}]}}"#,
        r#"{"id":1,"history":{"channel":"c","limit":1001}}"#,
        r#"{"id":1,"history":{"channel":"c","limit":0}}"#,
        r#"{"id":1,"publish":{"channel":"c","text":"x","id":""}}"#,
    ] {
        let error = ullim_protocol::native::json::decode(wrong).unwrap_err();
        assert_eq!(error.refusal.code, &codes::BAD_MESSAGE, "{wrong}");
    }
}

#[test]
fn positions_are_told_in_both_encodings() {
    let publication = |offset: &str| Publication { position: Some(at(offset)), ..publication(json_data("1")) };
    let subscribed = Subscribed {
        position: Some(at("8-1")),
        recovered: Some(true),
        publications: vec![publication("7-42"), publication("8-1")],
        ..Subscribed::default()
    };
    let json = r#"{"id":1,"subscribe":{"recovered":true,"epoch":"8","offset":1,"pubs":[{"offset":42,"data":1,"time":1000},{"epoch":"8","offset":1,"data":1,"time":1000}]}}"#;
    let pack = b"\x82\xa2id\x01\xa9subscribe\x84\xa9recovered\xc3\xa5epoch\xa18\xa6offset\x01\xa4pubs\x92\
        \x83\xa6offset\x2a\xa4data\x01\xa4time\xcd\x03\xe8\x84\xa5epoch\xa18\xa6offset\x01\xa4data\x01\xa4time\xcd\x03\xe8";
    told(&Outgoing::Reply(1, Reply::Subscribe(&subscribed)), json, pack);
    // The first of the new epoch was not for this client.
    let subscribed = Subscribed {
        position: Some(at("8-3")),
        recovered: Some(true),
        publications: vec![publication("8-2"), publication("8-3")],
        since: Some(at("7-9").epoch),
        ..Subscribed::default()
    };
    let json = r#"{"id":1,"subscribe":{"recovered":true,"epoch":"8","offset":3,"pubs":[{"epoch":"8","offset":2,"data":1,"time":1000},{"offset":3,"data":1,"time":1000}]}}"#;
    let pack = b"\x82\xa2id\x01\xa9subscribe\x84\xa9recovered\xc3\xa5epoch\xa18\xa6offset\x03\xa4pubs\x92\
        \x84\xa5epoch\xa18\xa6offset\x02\xa4data\x01\xa4time\xcd\x03\xe8\x83\xa6offset\x03\xa4data\x01\xa4time\xcd\x03\xe8";
    told(&Outgoing::Reply(1, Reply::Subscribe(&subscribed)), json, pack);
    let json = r#"{"push":{"channel":"c","position":{"epoch":"8","offset":1}}}"#;
    let pack = b"\x81\xa4push\x82\xa7channel\xa1c\xa8position\x82\xa5epoch\xa18\xa6offset\x01";
    told(&Outgoing::Push("c", Push::Position(at("8-1"))), json, pack);
    let page = HistoryPage { position: at("7-42"), publications: vec![publication("7-41")], more: true };
    let json = r#"{"id":1,"history":{"epoch":"7","offset":42,"pubs":[{"epoch":"7","offset":41,"data":1,"time":1000}],"more":true}}"#;
    let pack = b"\x82\xa2id\x01\xa7history\x84\xa5epoch\xa17\xa6offset\x2a\xa4pubs\x91\
        \x84\xa5epoch\xa17\xa6offset\x29\xa4data\x01\xa4time\xcd\x03\xe8\xa4more\xc3";
    told(&Outgoing::Reply(1, Reply::History(&page)), json, pack);
    let json = r#"{"id":1,"publish":{"epoch":"7","offset":44}}"#;
    let pack = b"\x82\xa2id\x01\xa7publish\x82\xa5epoch\xa17\xa6offset\x2c";
    told(&Outgoing::Reply(1, Reply::Publish(Some(at("7-44")))), json, pack);
    let gap = Gap { from: 1, to: 2, reason: GapReason::History, position: Some(at("8-0")) };
    let json = r#"{"push":{"channel":"c","gap":{"from":1,"to":2,"reason":"history","epoch":"8","offset":0}}}"#;
    let pack = b"\x81\xa4push\x82\xa7channel\xa1c\xa3gap\x85\xa4from\x01\xa2to\x02\xa6reason\xa7history\xa5epoch\xa18\xa6offset\x00";
    told(&Outgoing::Push("c", Push::Gap(gap)), json, pack);
    told(
        &Outgoing::Reconnect(850),
        r#"{"push":{"reconnect":{"delay":850}}}"#,
        b"\x81\xa4push\x81\xa9reconnect\x81\xa5delay\xcd\x03\x52",
    );
}

fn told(outgoing: &Outgoing<'_>, json: &str, pack: &[u8]) {
    let mut out = Vec::new();
    ullim_protocol::native::json::encode(outgoing, &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), json);
    let mut out = Vec::new();
    ullim_protocol::native::msgpack::encode(outgoing, &mut out);
    assert_eq!(out, pack);
}
