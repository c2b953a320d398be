//! What is sent comes to all who subscribed, in order, whole, with its headers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use ullim_tests::Node;

use super::program::Way;
use super::server::Server;

#[tokio::test]
async fn every_library_hears_what_every_other_sends_in_order() {
    const EACH: usize = 20;
    const ROOM: &str = "/topic/chat:room";
    let server = Server::start().await;
    let mut programs = Vec::new();
    for way in Way::ALL {
        let mut program = way.connect(&server).await;
        program.subscribe(ROOM, "the room", json!({})).await;
        programs.push(program);
    }
    for number in 0..EACH {
        for (way, program) in Way::ALL.iter().zip(&mut programs) {
            let headers = json!({"from": format!("{way:?}"), "content-type": "application/json"});
            let body = json!({"n": number, "grüße": "☃"}).to_string();
            program.run("send", json!({"destination": ROOM, "headers": headers, "body": body}));
        }
    }
    for (way, program) in Way::ALL.iter().zip(&mut programs) {
        let mut heard: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let mut ids = BTreeSet::new();
        for _ in 0..EACH * Way::ALL.len() {
            let message = program.message().await;
            assert_eq!(message.header("destination"), ROOM, "{way:?}: {message:?}");
            assert_eq!(message.header("subscription"), "the room", "{way:?}: {message:?}");
            assert_eq!(message.header("content-type"), "application/json", "{way:?}: {message:?}");
            assert_eq!(message.header("content-length"), message.body().len().to_string(), "{way:?}: {message:?}");
            assert!(ids.insert(message.header("message-id").to_owned()), "{way:?}: {message:?} came twice");
            let body: serde_json::Value = serde_json::from_str(message.body()).unwrap();
            assert_eq!(body["grüße"], "☃", "{way:?}: {message:?}");
            let number = usize::try_from(body["n"].as_u64().unwrap()).unwrap();
            heard.entry(message.header("from").to_owned()).or_default().push(number);
        }
        for from in Way::ALL {
            assert!(heard[&format!("{from:?}")].iter().copied().eq(0..EACH), "{way:?} heard {from:?}: {heard:?}");
        }
        program.disconnect().await;
    }
}

#[tokio::test]
async fn bodies_of_a_megabyte_come_whole() {
    const SIZE: usize = 1 << 20;
    const BIG: &str = "/topic/chat:big";
    let server = Server::of(Node::builder().set("client.message_bytes", "2097152")).await;
    for way in Way::ALL {
        let mut program = way.connect(&server).await;
        program.subscribe(BIG, "1", json!({})).await;
        program.run("send", json!({"destination": BIG, "headers": {}, "body": "x", "times": SIZE}));
        program.send(BIG, "small");
        let message = program.message().await;
        assert_eq!(message.header("content-length"), SIZE.to_string(), "{way:?}");
        assert!(message.body().len() == SIZE && message.body().bytes().all(|byte| byte == b'x'), "{way:?}");
        program.hears(&["small"]).await;
    }
}

#[tokio::test]
async fn bodies_with_nuls_come_as_they_were_sent() {
    const BINARY: &str = "/topic/chat:binary";
    /// 0, 255, 0, 10, 0: not UTF-8, and five frames to who looks for NULs.
    const OCTETS: &str = "AP8ACgA=";
    let server = Server::start().await;
    for way in Way::ALL {
        // stomp.py sends text messages over WebSocket unless it is asked not to.
        let more = if way == Way::PythonWebSocket { json!({"binary": true}) } else { json!({}) };
        let mut program = way.connect_with(&server, more).await;
        program.subscribe(BINARY, "1", json!({})).await;
        program.run("send", json!({"destination": BINARY, "headers": {}, "base64": OCTETS}));
        let message = program.message().await;
        assert_eq!((message.base64(), message.header("content-length")), (OCTETS, "5"), "{way:?}");
        assert_eq!(message.header("content-type"), "application/octet-stream", "{way:?}");
        program.run("send", json!({"destination": BINARY, "headers": {}, "body": "\0a\0"}));
        assert_eq!(program.message().await.body(), "\0a\0", "{way:?}");
    }
}

#[tokio::test]
async fn headers_come_as_they_were_sent() {
    const HEADERS: &str = "/topic/chat:headers";
    let server = Server::start().await;
    for way in Way::ALL {
        let mut program = way.connect(&server).await;
        program.subscribe(HEADERS, "1", json!({})).await;
        let mut sent = json!({
            "empty": "",
            "größe": "☃ und 🦀",
            "two words": "in the name",
            "x-time": "12:34:56",
            "content-type": "application/vnd.ullim+json; v=1",
        });
        if way.version() != "1.0" {
            // There are no escapes in 1.0.
            sent["lines"] = json!("one\ntwo\\three");
        }
        if way == Way::Python12 || way == Way::PythonWebSocket {
            // stompjs trims what it reads, and undoes escapes one after the other, so that `\\c` becomes `\:` there.
            sent["spaces"] = json!("  around  ");
            sent["all"] = json!("\\n\n\\c:\\\\\\r\r");
        }
        program.run("send", json!({"destination": HEADERS, "headers": sent, "body": "{}"}));
        let message = program.message().await;
        for (name, value) in sent.as_object().unwrap() {
            assert_eq!(&message.headers()[name], value, "{way:?}, {name}: {message:?}");
        }
    }
}

#[tokio::test]
async fn each_subscription_gets_its_message_until_it_ends() {
    const TWICE: &str = "/topic/chat:twice";
    let server = Server::start().await;
    for way in Way::ALL {
        let mut program = way.connect(&server).await;
        program.subscribe(TWICE, "one", json!({})).await;
        program.subscribe(TWICE, "two", json!({})).await;
        program.send(TWICE, "to both");
        let mut subscriptions = BTreeSet::new();
        for _ in 0..2 {
            let message = program.message().await;
            assert_eq!(message.body(), "to both", "{way:?}");
            subscriptions.insert(message.header("subscription").to_owned());
        }
        assert!(subscriptions.iter().eq(["one", "two"]), "{way:?}: {subscriptions:?}");
        let receipt = program.receipt();
        program.run("unsubscribe", json!({"id": "one", "headers": {"receipt": receipt}}));
        program.received(&receipt).await;
        program.send(TWICE, "to one");
        let message = program.message().await;
        assert_eq!((message.body(), message.header("subscription")), ("to one", "two"), "{way:?}");
        assert!(program.messages_so_far().await.is_empty(), "{way:?}: something came beside it");
    }
}

#[tokio::test]
async fn a_subscription_of_1_0_needs_no_id() {
    const PLAIN: &str = "/topic/chat:plain";
    let server = Server::start().await;
    let mut program = Way::Python10.connect(&server).await;
    program.run("subscribe", json!({"destination": PLAIN, "headers": {"receipt": "in"}}));
    program.received("in").await;
    program.send(PLAIN, "heard");
    let message = program.message().await;
    assert_eq!((message.body(), message.headers().get("subscription")), ("heard", None), "{message:?}");
    program.run("unsubscribe", json!({"destination": PLAIN, "headers": {"receipt": "out"}}));
    program.received("out").await;
    program.subscribe(PLAIN, "again", json!({})).await;
    program.send(PLAIN, "heard once");
    program.hears(&["heard once"]).await;
    assert!(program.messages_so_far().await.is_empty(), "the first subscription had ended");
}

#[tokio::test]
async fn a_queue_is_a_channel_of_its_own() {
    let server = Server::start().await;
    let mut program = Way::Browser.connect(&server).await;
    program.subscribe("/queue/letters-userabc", "queue", json!({})).await;
    program.subscribe("/topic/letters-userabc", "topic", json!({})).await;
    program.send("/queue/letters-userabc", "a letter");
    let message = program.message().await;
    assert_eq!((message.header("subscription"), message.body()), ("queue", "a letter"));
    assert_eq!(message.header("destination"), "/queue/letters-userabc");
    assert!(program.messages_so_far().await.is_empty(), "it came to the topic too");
}
