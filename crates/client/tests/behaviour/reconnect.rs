//! What happens when a connection breaks: another one, the same subscriptions, and an honest gap.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;
use tokio::net::TcpListener;
use ullim_client::{CommandError, Data, Event, Events, GapReason, connect};

use crate::server::{Server, error, next, quick, subscribe, text_of, within};

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

async fn disconnected(events: &mut Events) -> (Option<u16>, String) {
    match next(events).await {
        Event::Disconnected { code, reason, retry_in: Some(_) } => (code, reason.to_string()),
        other => panic!("{other:?} is not a disconnection that is retried"),
    }
}

#[tokio::test]
async fn subscriptions_are_renewed_and_the_gap_comes_first() {
    let mut server = Server::start().await;
    let (client, mut events) = server.client();
    let mut peer = server.session().await;
    subscribe(&client, &mut peer, "a").await;
    subscribe(&client, &mut peer, "b").await;
    let before = now();
    peer.publish("a", "old").await;
    assert_eq!(text_of(next(&mut events).await), "old");
    drop(peer);
    disconnected(&mut events).await;

    let mut peer = server.session().await;
    let replied = now();
    assert_eq!(peer.resubscribe().await, ["a", "b"]);
    peer.publish("a", "new").await;
    for name in ["a", "b"] {
        match next(&mut events).await {
            Event::Gap { channel, from, to, reason: GapReason::Disconnected, position: None } => {
                assert_eq!(channel, name);
                assert!((before..=replied).contains(&from), "{before} {from} {replied}");
                assert!((replied..=now()).contains(&to), "{replied} {to}");
            }
            other => panic!("{other:?} is not the gap of {name}"),
        }
    }
    assert_eq!(text_of(next(&mut events).await), "new");
}

#[tokio::test]
async fn many_channels_are_renewed_in_batches_that_the_node_takes() {
    let mut server = Server::start().await;
    let (client, mut events) = server.client();
    let mut peer = server.session().await;
    for number in 0..300 {
        subscribe(&client, &mut peer, &format!("c{number:03}")).await;
    }
    drop(peer);
    disconnected(&mut events).await;
    let mut peer = server.session().await;
    let mut sizes = Vec::new();
    while sizes.iter().sum::<usize>() < 300 {
        sizes.push(peer.resubscribe().await.len());
    }
    assert_eq!(sizes, [128, 128, 44]);
    drop(peer);

    let mut peer = server.peer().await;
    peer.greet_with(json!({"session": "s", "ping": 25_000, "limits": {"message": 1000}})).await;
    let mut total = 0;
    while total < 300 {
        let channels = peer.resubscribe().await;
        assert!(channels.len() < 50);
        total += channels.len();
    }
    assert_eq!(total, 300);
}

#[tokio::test]
async fn a_channel_refused_for_now_is_tried_again_and_one_refused_for_good_is_dropped() {
    let mut server = Server::start().await;
    let (client, mut events) = server.client();
    let mut peer = server.session().await;
    subscribe(&client, &mut peer, "a").await;
    subscribe(&client, &mut peer, "b").await;
    drop(peer);
    disconnected(&mut events).await;

    let mut peer = server.session().await;
    let id = peer.command().await["id"].clone();
    let channels = json!([
        {"channel": "a", "error": error(111, "unavailable", true)},
        {"channel": "b", "error": error(103, "permission_denied", false)},
    ]);
    peer.send(json!({"id": id, "subscribe": {"channels": channels}})).await;
    let unsubscribed = Event::Unsubscribed { channel: "b".to_owned(), code: 103, name: "permission_denied".to_owned() };
    assert_eq!(next(&mut events).await, unsubscribed);
    let again = peer.refuse(112, "rate_limited", true).await;
    assert_eq!(again["subscribe"]["channels"], json!([{"channel": "a"}]));
    assert_eq!(peer.resubscribe().await, ["a"]);
    assert!(matches!(
        next(&mut events).await,
        Event::Gap { channel, reason: GapReason::Disconnected, .. } if channel == "a"
    ));
}

#[tokio::test]
async fn what_is_in_flight_fails_and_is_not_repeated() {
    let mut server = Server::start().await;
    let (client, _events) = server.client();
    let mut peer = server.session().await;
    let (published, subscribed, ()) =
        tokio::join!(client.publish("c", Data::Text("x".to_owned())), client.subscribe("c"), async {
            peer.command().await;
            peer.command().await;
            drop(peer);
        });
    assert_eq!(published, Err(CommandError::Disconnected));
    assert_eq!(subscribed, Err(CommandError::Disconnected));
    let mut peer = server.session().await;
    let (outcome, _) = tokio::join!(client.ping(), peer.grant("ping"));
    outcome.unwrap();
}

#[tokio::test]
async fn close_codes_that_allow_it_lead_to_another_connection() {
    let mut server = Server::start().await;
    let (_client, mut events) = server.client();
    for code in [1001, 1011, 1012, 4001, 4002, 4003, 4004] {
        server.session().await.close(code, "name: text").await;
        let expected = (Some(code), "name: text".to_owned());
        assert_eq!(disconnected(&mut events).await, expected);
    }
    server.session().await;
}

#[tokio::test]
async fn a_refused_connect_that_allows_it_leads_to_another_attempt() {
    let mut server = Server::start().await;
    let (_client, mut events) = server.client();
    server.peer().await.refuse(111, "unavailable", true).await;
    assert_eq!(disconnected(&mut events).await.1, "unavailable: because");
    server.session().await;
}

#[tokio::test]
async fn dead_and_foreign_urls_are_passed_over() {
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead_url = format!("ws://{}", dead.local_addr().unwrap());
    drop(dead);
    let foreign = Server::speaking("ullim.v1.msgpack").await;
    let mut server = Server::start().await;
    let urls = [dead_url.as_str(), foreign.url.as_str(), server.url.as_str()];
    let (_client, mut events) = connect(quick(&urls)).unwrap();
    drop(server.session().await);
    server.session().await;

    let mut failures = Vec::new();
    let mut connections = 0;
    while connections < 2 {
        match within("an event", events.next()).await.unwrap() {
            Event::Connected { url, .. } => {
                assert_eq!(url, server.url);
                connections += 1;
            }
            Event::Disconnected { reason, .. } => failures.push(reason.to_string()),
            _ => {}
        }
    }
    assert!(failures.iter().any(|reason| reason.starts_with("cannot connect")), "{failures:?}");
    let foreign = "the server does not speak ullim.v1.json";
    assert!(failures.iter().any(|reason| reason == foreign), "{failures:?}");
}

#[tokio::test]
async fn a_silent_node_is_given_up() {
    let mut server = Server::start().await;
    let (_client, mut events) = server.client();
    let mut peer = server.peer().await;
    peer.greet_with(json!({"session": "s", "ping": 50})).await;
    assert_eq!(disconnected(&mut events).await.1, "nothing was heard for 100ms");
    server.session().await;
}

#[tokio::test]
async fn a_node_that_does_not_answer_connect_is_given_up() {
    let mut server = Server::start().await;
    let mut config = quick(&[&server.url]);
    config.connect_timeout = Duration::from_millis(100);
    let (_client, mut events) = connect(config).unwrap();
    let _silent = server.peer().await;
    assert!(disconnected(&mut events).await.1.contains("100ms"));
    server.session().await;
}

#[tokio::test]
async fn a_message_that_is_not_json_ends_the_connection() {
    let mut server = Server::start().await;
    let (client, mut events) = server.client();
    let mut peer = server.session().await;
    subscribe(&client, &mut peer, "c").await;
    peer.send_frame(fastwebsockets::Frame::text(b"{".to_vec().into())).await;
    let (opcode, payload) = peer.frame().await;
    assert_eq!(opcode, fastwebsockets::OpCode::Close);
    assert_eq!(payload, 1002_u16.to_be_bytes());
    drop(peer);
    assert!(disconnected(&mut events).await.1.starts_with("an unreadable message"));
    assert_eq!(server.session().await.resubscribe().await, ["c"]);
    assert!(matches!(next(&mut events).await, Event::Gap { .. }));
}
