//! What the node pushes, as the user hears it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fastwebsockets::{Frame, OpCode};
use serde_json::json;
use ullim_client::{CommandError, Data, Event, GapReason, IndexMap, Publication, connect};

use crate::server::{Server, next, quick, subscribe, text_of};

#[tokio::test]
async fn publications_keep_their_kind() {
    let mut server = Server::start().await;
    let (client, mut events) = server.client();
    let mut peer = server.session().await;
    let connecting = events.next().await.unwrap();
    let url = server.url.clone();
    let attempt = 1;
    assert_eq!(connecting, Event::Connecting { url, attempt });
    let connected = Event::Connected {
        session: "s".to_owned(),
        user: Some("alice".to_owned()),
        url: server.url.clone(),
        resumed: false,
    };
    assert_eq!(events.next().await.unwrap(), connected);

    subscribe(&client, &mut peer, "c").await;
    let published = [
        (json!({"data": {"a": null}, "time": 1}), Data::json(&json!({"a": null})).unwrap()),
        (json!({"data": null, "time": 1}), Data::json(&json!(null)).unwrap()),
        (json!({"text": "é", "time": 1}), Data::Text("é".to_owned())),
        (json!({"b64": "AP8=", "time": 1}), Data::Binary(vec![0, 255].into())),
    ];
    for (body, data) in published {
        peer.send(json!({"push": {"channel": "c", "pub": body}})).await;
        let publication = Publication { data, time: 1, headers: IndexMap::new(), position: None };
        let channel = "c".to_owned();
        assert_eq!(next(&mut events).await, Event::Publication { channel, publication });
    }
    let body = json!({"text": "x", "time": 1, "headers": {"trace": "1f"}});
    peer.send(json!({"push": {"channel": "c", "pub": body}})).await;
    let Event::Publication { publication, .. } = next(&mut events).await else {
        panic!("a publication was expected");
    };
    assert_eq!(publication.headers["trace"], "1f");
}

#[tokio::test]
async fn gaps_come_in_their_place() {
    let mut server = Server::start().await;
    let (client, mut events) = server.client();
    let mut peer = server.session().await;
    subscribe(&client, &mut peer, "c").await;
    let reasons = [
        ("broker_link", GapReason::BrokerLink),
        ("overload", GapReason::Overload),
        ("undecodable", GapReason::Undecodable),
        ("earthquake", GapReason::Other("earthquake".to_owned())),
    ];
    for (name, reason) in reasons {
        peer.send(json!({"push": {"channel": "c", "gap": {"from": 1, "to": 2, "reason": name}}})).await;
        peer.publish("c", name).await;
        let gap = Event::Gap { channel: "c".to_owned(), from: 1, to: 2, reason, position: None };
        assert_eq!(next(&mut events).await, gap);
        assert_eq!(text_of(next(&mut events).await), name);
    }
}

#[tokio::test]
async fn a_publication_of_an_unknown_kind_is_a_gap() {
    let mut server = Server::start().await;
    let (client, mut events) = server.client();
    let mut peer = server.session().await;
    subscribe(&client, &mut peer, "c").await;
    peer.send(json!({"push": {"channel": "c", "pub": {"cbor": "oA==", "time": 9}}})).await;
    let gap = Event::Gap { channel: "c".to_owned(), from: 9, to: 9, reason: GapReason::Undecodable, position: None };
    assert_eq!(next(&mut events).await, gap);
}

#[tokio::test]
async fn what_is_unknown_is_ignored() {
    let mut server = Server::start().await;
    let (client, mut events) = server.client();
    let mut peer = server.session().await;
    subscribe(&client, &mut peer, "c").await;
    for message in [
        json!({"push": {"channel": "c", "presence": {"joined": "bob"}}}),
        json!({"push": {"weather": "fine"}}),
        json!({"notice": "hello"}),
        json!({"id": 999, "subscribe": {}}),
        json!({"error": {"code": 100, "name": "bad_message", "message": "", "retry": false}}),
        json!({"push": {"channel": "not subscribed", "pub": {"text": "x", "time": 1}}}),
        json!({"push": {"channel": "c", "new": 1, "pub": {"text": "x", "time": 1, "new": []}}}),
    ] {
        peer.send(message).await;
    }
    assert_eq!(text_of(next(&mut events).await), "x");
}

#[tokio::test]
async fn the_node_ends_a_subscription() {
    let mut server = Server::start().await;
    let (client, mut events) = server.client();
    let mut peer = server.session().await;
    subscribe(&client, &mut peer, "a").await;
    subscribe(&client, &mut peer, "b").await;
    let ended = json!({"code": 113, "name": "subscription_ended"});
    peer.send(json!({"push": {"channel": "a", "unsubscribed": ended}})).await;
    let unsubscribed =
        Event::Unsubscribed { channel: "a".to_owned(), code: 113, name: "subscription_ended".to_owned() };
    assert_eq!(next(&mut events).await, unsubscribed);
    drop(peer);
    let mut peer = server.session().await;
    assert_eq!(peer.resubscribe().await, ["b"]);
}

#[tokio::test]
async fn a_slow_reader_loses_nothing_and_the_socket_is_not_read_meanwhile() {
    const MANY: usize = 2000;
    let mut server = Server::start().await;
    let mut config = quick(&[&server.url]);
    config.events = 4;
    config.command_timeout = Duration::from_millis(200);
    let (client, mut events) = connect(config).unwrap();
    let mut peer = server.session().await;
    subscribe(&client, &mut peer, "c").await;

    let padding = "x".repeat(10_000);
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = sent.clone();
    let mut sending = tokio::task::JoinSet::new();
    sending.spawn(async move {
        for number in 0..MANY {
            peer.publish("c", &format!("{number} {padding}")).await;
            counter.fetch_add(1, Ordering::Relaxed);
        }
        peer.send_frame(Frame::new(true, OpCode::Ping, None, b"?".to_vec().into())).await;
        loop {
            if peer.frame().await == (OpCode::Pong, b"?".to_vec()) {
                return peer;
            }
        }
    });
    assert_eq!(client.ping().await, Err(CommandError::Timeout));
    // 20 MB do not fit the sockets' buffers, which take a fraction of that time to fill.
    assert!(sent.load(Ordering::Relaxed) < MANY);
    for number in 0..MANY {
        let text = text_of(next(&mut events).await);
        assert_eq!(text.split_once(' ').unwrap().0, number.to_string());
    }
    let mut peer = sending.join_next().await.unwrap().unwrap();
    peer.publish("c", "done").await;
    assert_eq!(text_of(next(&mut events).await), "done");
}

#[tokio::test]
async fn messages_in_fragments_are_put_together() {
    let mut server = Server::start().await;
    let (client, mut events) = server.client();
    let mut peer = server.session().await;
    subscribe(&client, &mut peer, "c").await;
    let text = json!({"push": {"channel": "c", "pub": {"text": "é", "time": 1}}}).to_string();
    let middle = text.find('é').unwrap() + 1;
    let (head, tail) = text.as_bytes().split_at(middle);
    let part = |fin, opcode, bytes: &[u8]| Frame::new(fin, opcode, None, bytes.to_vec().into());
    peer.send_frame(part(false, OpCode::Text, head)).await;
    peer.send_frame(part(true, OpCode::Ping, b"!")).await;
    peer.send_frame(part(true, OpCode::Continuation, tail)).await;
    assert_eq!(text_of(next(&mut events).await), "é");
    assert_eq!(peer.frame().await, (OpCode::Pong, b"!".to_vec()));
}
