//! Recoverable channels: the client goes on where it was, hears everything once, and says so where it cannot.

use serde_json::{Value, json};
use ullim_client::{Event, Events, Part, Position, PublishOptions, SubscribeOptions};

use crate::server::{Peer, Server, next, text_of};

fn at(text: &str) -> Position {
    Position::parse(text).unwrap()
}

/// Subscribes to `c`, which stands at `position`.
async fn subscribed(position: &str) -> (Server, ullim_client::Client, Events, Peer) {
    let mut server = Server::start().await;
    let (client, events) = server.client();
    let mut peer = server.session().await;
    let Position { epoch, offset } = at(position);
    let standing = json!({"epoch": epoch.to_string(), "offset": offset});
    let (outcome, asked) = tokio::join!(client.subscribe("c"), peer.answer("subscribe", standing));
    assert_eq!(outcome, Ok(Some(at(position))));
    assert_eq!(asked, json!({"channel": "c"}));
    (server, client, events, peer)
}

async fn publish(peer: &mut Peer, offset: u64, text: &str) {
    peer.push("c", json!({"pub": {"offset": offset, "text": text, "time": 7}})).await;
}

/// What is published next, and where.
async fn heard(events: &mut Events) -> (String, String) {
    let event = next(events).await;
    let position = match &event {
        Event::Publication { publication, .. } => publication.position.unwrap().to_string(),
        other => panic!("{other:?} is no publication"),
    };
    (position, text_of(event))
}

async fn expect(events: &mut Events, expected: &[(&str, &str)]) {
    for (position, text) in expected {
        assert_eq!(heard(events).await, ((*position).to_owned(), (*text).to_owned()));
    }
}

/// The next connection asks for `c` behind `since`, and is granted `body`.
async fn resubscribe(server: &mut Server, events: &mut Events, since: &str, body: Value) -> Peer {
    assert!(matches!(next(events).await, Event::Disconnected { retry_in: Some(_), .. }));
    let mut peer = server.session().await;
    let command = peer.command().await;
    let Position { epoch, offset } = at(since);
    let wanted = json!({"channel": "c", "recover": {"epoch": epoch.to_string(), "offset": offset}});
    assert_eq!(command["subscribe"]["channels"], json!([wanted]));
    let mut granted = body;
    granted["channel"] = "c".into();
    peer.send(json!({"id": command["id"], "subscribe": {"channels": [granted]}})).await;
    peer
}

#[tokio::test]
async fn what_was_missed_comes_once_and_in_its_place() {
    let (mut server, _client, mut events, mut peer) = subscribed("5-41").await;
    publish(&mut peer, 42, "a").await;
    // One that was not for this client is no gap.
    publish(&mut peer, 44, "b").await;
    expect(&mut events, &[("5-42", "a"), ("5-44", "b")]).await;
    drop(peer);
    let pubs = json!([{"offset": 45, "text": "c", "time": 7}, {"offset": 46, "b64": "/w==", "time": 7}]);
    let body = json!({"recovered": true, "epoch": "5", "offset": 47, "pubs": pubs});
    let mut peer = resubscribe(&mut server, &mut events, "5-44", body).await;
    let recovered = Event::Recovered { channel: "c".to_owned(), since: at("5-44"), position: at("5-47") };
    assert_eq!(next(&mut events).await, recovered);
    expect(&mut events, &[("5-45", "c")]).await;
    assert!(matches!(next(&mut events).await, Event::Publication { .. }));
    // Where the channel stands counts as heard, though the last one was not for this client.
    for (offset, text) in [(46, "again"), (47, "again"), (48, "d")] {
        publish(&mut peer, offset, text).await;
    }
    expect(&mut events, &[("5-48", "d")]).await;
}

#[tokio::test]
async fn a_break_without_anything_missed_is_no_gap() {
    let (mut server, _client, mut events, peer) = subscribed("5-0").await;
    drop(peer);
    let body = json!({"recovered": true, "epoch": "5", "offset": 0, "pubs": []});
    let mut peer = resubscribe(&mut server, &mut events, "5-0", body).await;
    assert!(matches!(next(&mut events).await, Event::Recovered { .. }));
    peer.push("c", json!({"pub": {"epoch": "5", "offset": 1, "text": "a", "time": 7}})).await;
    expect(&mut events, &[("5-1", "a")]).await;
}

#[tokio::test]
async fn what_cannot_be_recovered_is_told_instead_of_a_gap() {
    let (mut server, _client, mut events, peer) = subscribed("5-41").await;
    drop(peer);
    let body = json!({"recovered": false, "epoch": "6", "offset": 3});
    let mut peer = resubscribe(&mut server, &mut events, "5-41", body).await;
    let position = Some(at("6-3"));
    assert_eq!(next(&mut events).await, Event::NotRecovered { channel: "c".to_owned(), since: at("5-41"), position });
    publish(&mut peer, 4, "a").await;
    expect(&mut events, &[("6-4", "a")]).await;
    drop(peer);
    let mut peer = resubscribe(&mut server, &mut events, "6-4", json!({"recovered": false})).await;
    assert_eq!(
        next(&mut events).await,
        Event::NotRecovered { channel: "c".to_owned(), since: at("6-4"), position: None }
    );
    // A live channel from now on.
    peer.publish("c", "live").await;
    assert_eq!(text_of(next(&mut events).await), "live");
    drop(peer);
    assert!(matches!(next(&mut events).await, Event::Disconnected { .. }));
    assert_eq!(server.session().await.resubscribe().await, ["c"]);
    assert!(matches!(next(&mut events).await, Event::Gap { reason: ullim_client::GapReason::Disconnected, .. }));
}

#[tokio::test]
async fn a_new_epoch_begins_anew_and_its_gap_keeps_the_place() {
    let (mut server, _client, mut events, mut peer) = subscribed("5-41").await;
    let gap = json!({"from": 1, "to": 2, "reason": "history", "epoch": "9", "offset": 0});
    peer.push("c", json!({"gap": gap})).await;
    peer.push("c", json!({"pub": {"epoch": "9", "offset": 1, "text": "a", "time": 7}})).await;
    // Of the epoch before: it was on its way.
    peer.push("c", json!({"pub": {"epoch": "5", "offset": 1, "text": "old", "time": 7}})).await;
    publish(&mut peer, 2, "b").await;
    let (channel, reason) = ("c".to_owned(), ullim_client::GapReason::History);
    let expected = Event::Gap { channel, from: 1, to: 2, reason, position: Some(at("9-0")) };
    assert_eq!(next(&mut events).await, expected);
    expect(&mut events, &[("9-1", "a"), ("9-2", "b")]).await;
    drop(peer);
    // It changes once more while the client is away: what remains of the old one, then the new one, then the gap.
    let pubs = json!([
        {"offset": 3, "text": "c", "time": 7},
        {"epoch": "12", "offset": 1, "text": "d", "time": 7},
        {"offset": 2, "text": "e", "time": 7},
    ]);
    let body = json!({"recovered": true, "epoch": "12", "offset": 2, "pubs": pubs});
    let mut peer = resubscribe(&mut server, &mut events, "9-2", body).await;
    peer.push("c", json!({"gap": {"from": 3, "to": 4, "reason": "history", "epoch": "12", "offset": 0}})).await;
    publish(&mut peer, 2, "again").await;
    publish(&mut peer, 3, "f").await;
    assert!(matches!(next(&mut events).await, Event::Recovered { .. }));
    expect(&mut events, &[("9-3", "c"), ("12-1", "d"), ("12-2", "e")]).await;
    assert!(matches!(next(&mut events).await, Event::Gap { .. }));
    expect(&mut events, &[("12-3", "f")]).await;
}

#[tokio::test]
async fn the_latest_publication_comes_though_the_channel_stands_there() {
    let mut server = Server::start().await;
    let (client, mut events) = server.client();
    let mut peer = server.session().await;
    let latest = json!({"epoch": "5", "offset": 41, "pubs": [{"offset": 41, "text": "latest", "time": 7}]});
    let (outcome, _) = tokio::join!(client.subscribe("c"), peer.answer("subscribe", latest));
    assert_eq!(outcome, Ok(Some(at("5-41"))));
    publish(&mut peer, 41, "again").await;
    publish(&mut peer, 42, "a").await;
    expect(&mut events, &[("5-41", "latest"), ("5-42", "a")]).await;
}

#[tokio::test]
async fn a_client_goes_on_where_an_earlier_one_was() {
    let mut server = Server::start().await;
    let (client, mut events) = server.client();
    let mut peer = server.session().await;
    let options = SubscribeOptions { since: Some(at("5-40")), ..SubscribeOptions::default() };
    let missed = json!([{"offset": 41, "text": "a", "time": 7}]);
    let body = json!({"recovered": true, "epoch": "5", "offset": 41, "pubs": missed});
    let (outcome, asked) = tokio::join!(client.subscribe_with("c", options), peer.answer("subscribe", body));
    assert_eq!(outcome, Ok(Some(at("5-41"))));
    assert_eq!(asked["recover"], json!({"epoch": "5", "offset": 40}));
    assert!(matches!(next(&mut events).await, Event::Recovered { since, .. } if since == at("5-40")));
    expect(&mut events, &[("5-41", "a")]).await;
}

#[tokio::test]
async fn a_publication_is_answered_with_its_position_and_history_can_be_read() {
    let mut server = Server::start().await;
    let (client, _events) = server.client();
    let mut peer = server.session().await;
    let options = PublishOptions { id: Some("once".to_owned()), ..PublishOptions::default() };
    let data = ullim_client::Data::Text("x".to_owned());
    let place = json!({"epoch": "5", "offset": 44});
    let (outcome, asked) = tokio::join!(client.publish_with("c", data, options), peer.answer("publish", place));
    assert_eq!(outcome, Ok(Some(at("5-44"))));
    assert_eq!(asked, json!({"channel": "c", "text": "x", "id": "once"}));

    let part = Part { since: Some(at("5-10")), limit: Some(2), reverse: true };
    let pubs = json!([{"epoch": "5", "offset": 9, "text": "i", "time": 7}, {"epoch": "4", "offset": 8, "text": "h", "time": 7}]);
    let body = json!({"epoch": "5", "offset": 44, "pubs": pubs, "more": true});
    let (outcome, asked) = tokio::join!(client.history("c", part), peer.answer("history", body));
    let history = outcome.unwrap();
    assert_eq!((history.position, history.more), (at("5-44"), true));
    let positions: Vec<_> = history.publications.iter().map(|publication| publication.position.unwrap()).collect();
    assert_eq!(positions, [at("5-9"), at("4-8")]);
    let since = json!({"epoch": "5", "offset": 10});
    assert_eq!(asked, json!({"channel": "c", "since": since, "limit": 2, "reverse": true}));
    let (outcome, _) = tokio::join!(client.history("c", Part::default()), peer.refuse(116, "no_history", false));
    assert!(matches!(outcome, Err(ullim_client::CommandError::Refused { code: 116, .. })));
}

#[tokio::test]
async fn a_node_that_ends_is_left_for_another_at_the_time_that_it_names() {
    let (mut server, client, mut events, mut peer) = subscribed("5-41").await;
    peer.send(json!({"push": {"reconnect": {"delay": 20}}})).await;
    // Until then all goes on.
    publish(&mut peer, 42, "a").await;
    expect(&mut events, &[("5-42", "a")]).await;
    let (outcome, _) = tokio::join!(client.ping(), peer.grant("ping"));
    outcome.unwrap();
    peer.close(1001, "going_away").await;
    let body = json!({"recovered": true, "epoch": "5", "offset": 42});
    let mut peer = resubscribe(&mut server, &mut events, "5-42", body).await;
    assert!(matches!(next(&mut events).await, Event::Recovered { .. }));
    // One that does not close is left by itself.
    peer.send(json!({"push": {"reconnect": {"delay": 1}}})).await;
    let mut other = server.session().await;
    assert_eq!(other.command().await["subscribe"]["channels"][0]["recover"]["offset"], 42);
}

#[tokio::test]
async fn a_history_that_has_gone_back_is_told_and_the_old_position_is_not_asked_for_again() {
    let (_server, _client, mut events, mut peer) = subscribed("5-41").await;
    publish(&mut peer, 42, "a").await;
    expect(&mut events, &[("5-42", "a")]).await;
    peer.push("c", json!({"unsubscribed": {"code": 117, "name": "history_reset"}})).await;
    let command = peer.command().await;
    assert_eq!(command["subscribe"]["channels"], json!([{"channel": "c"}]));
    // Gone back once more before it was answered.
    let error = json!({"code": 117, "name": "history_reset", "message": "", "retry": true});
    peer.send(json!({"id": command["id"], "subscribe": {"channels": [{"channel": "c", "error": error}]}})).await;
    let command = peer.command().await;
    assert_eq!(command["subscribe"]["channels"], json!([{"channel": "c"}]));
    let granted = json!({"channel": "c", "epoch": "5", "offset": 11});
    peer.send(json!({"id": command["id"], "subscribe": {"channels": [granted]}})).await;
    let position = Some(at("5-11"));
    assert_eq!(next(&mut events).await, Event::NotRecovered { channel: "c".to_owned(), since: at("5-42"), position });
    publish(&mut peer, 12, "again").await;
    expect(&mut events, &[("5-12", "again")]).await;
}

#[tokio::test]
async fn an_epoch_is_known_though_its_first_publication_was_not_for_this_client() {
    let (_server, _client, mut events, mut peer) = subscribed("5-41").await;
    peer.push("c", json!({"position": {"epoch": "6", "offset": 1}})).await;
    publish(&mut peer, 2, "a").await;
    expect(&mut events, &[("6-2", "a")]).await;
}
