//! Who is there, who comes and who goes.

use serde_json::{Value, json};
use ullim_client::{
    Client, CommandError, Event, Events, GapReason, Member, MembersPage, Occupancy, Page, SubscribeOptions,
};

use crate::server::{Peer, Server, next, subscribe, text_of};

fn alice() -> Value {
    json!({"session": "s1", "user": "alice", "info": {"name": "Alice"}, "since": 5})
}

/// The members that `event` tells of, by session.
fn sessions(event: &Event) -> Vec<&str> {
    match event {
        Event::Members { page, .. } => page.members.iter().map(|member| member.session.as_str()).collect(),
        other => panic!("{other:?} tells of no members"),
    }
}

async fn watching(client: &Client, peer: &mut Peer, channel: &str) {
    let options = SubscribeOptions { events: true, ..SubscribeOptions::default() };
    let (outcome, said) = tokio::join!(client.subscribe_with(channel, options), peer.answer("subscribe", json!({})));
    outcome.unwrap();
    assert_eq!(said, json!({"channel": channel, "events": true}));
}

async fn gap_of(events: &mut Events, channel: &str) {
    let event = next(events).await;
    assert!(matches!(&event, Event::Gap { channel: of, .. } if of == channel), "{event:?}");
}

#[tokio::test]
async fn a_subscription_tells_who_is_there_and_who_comes_and_goes() {
    let mut server = Server::start().await;
    let (client, mut events) = server.client();
    let mut peer = server.session().await;
    let options = SubscribeOptions { presence: true, events: true, ..SubscribeOptions::default() };
    let anonymous = json!({"session": "s2", "since": 6, "new": 1});
    let reply = json!({"presence": {"members": [alice(), anonymous], "cursor": "next"}});
    let (outcome, said) = tokio::join!(client.subscribe_with("c", options), peer.answer("subscribe", reply));
    outcome.unwrap();
    assert_eq!(said, json!({"channel": "c", "presence": true, "events": true}));
    let Event::Members { channel, page } = next(&mut events).await else { panic!("no members") };
    assert_eq!((channel.as_str(), page.cursor.as_deref()), ("c", Some("next")));
    assert_eq!(page.members[0].user.as_deref(), Some("alice"));
    assert_eq!(page.members[0].info.as_ref().unwrap().as_str(), r#"{"name":"Alice"}"#);
    assert_eq!(page.members[1], Member { session: "s2".to_owned(), user: None, info: None, since: 6 });

    peer.push("c", json!({"join": {"user": "bob", "info": {"n": 1}}})).await;
    peer.push("c", json!({"join": {"user": "~s3"}})).await;
    peer.push("c", json!({"wave": {"user": "bob"}})).await;
    peer.push("c", json!({"leave": {"user": "bob"}})).await;
    let Event::Joined { channel, user, info: Some(info) } = next(&mut events).await else { panic!("no join") };
    assert_eq!((channel.as_str(), user.as_str()), ("c", "bob"));
    assert_eq!(info.parse::<Value>().unwrap(), json!({"n": 1}));
    let channel = || "c".to_owned();
    assert_eq!(next(&mut events).await, Event::Joined { channel: channel(), user: "~s3".to_owned(), info: None });
    assert_eq!(next(&mut events).await, Event::Left { channel: channel(), user: "bob".to_owned() });
}

#[tokio::test]
async fn after_a_reconnect_the_members_are_told_again_behind_the_gap() {
    let mut server = Server::start().await;
    let (client, mut events) = server.client();
    let mut peer = server.session().await;
    watching(&client, &mut peer, "watched").await;
    subscribe(&client, &mut peer, "plain").await;
    drop(peer);
    let mut peer = server.session().await;
    let presence = json!({"members": [alice()]});
    let reply = json!({"channels": [{"channel": "plain"}, {"channel": "watched", "presence": presence}]});
    let said = peer.answer("subscribe", reply).await;
    let asked = json!([{"channel": "plain"}, {"channel": "watched", "presence": true, "events": true}]);
    assert_eq!(said["channels"], asked);
    assert!(matches!(next(&mut events).await, Event::Disconnected { .. }));
    gap_of(&mut events, "plain").await;
    gap_of(&mut events, "watched").await;
    assert_eq!(sessions(&next(&mut events).await), ["s1"]);
}

#[tokio::test]
async fn after_a_gap_the_members_are_asked_for_until_the_node_tells() {
    let mut server = Server::start().await;
    let (client, mut events) = server.client();
    let mut peer = server.session().await;
    watching(&client, &mut peer, "watched").await;
    subscribe(&client, &mut peer, "plain").await;
    let gap = json!({"gap": {"from": 1, "to": 2, "reason": "broker_link"}});
    peer.push("plain", gap.clone()).await;
    peer.push("watched", gap).await;
    gap_of(&mut events, "plain").await;
    gap_of(&mut events, "watched").await;
    let refused = peer.refuse(111, "unavailable", true).await;
    assert_eq!(refused["presence"], json!({"channel": "watched"}));
    peer.answer("presence", json!({"members": [alice()]})).await;
    assert_eq!(sessions(&next(&mut events).await), ["s1"]);
}

#[tokio::test]
async fn a_list_that_was_overtaken_by_a_gap_is_asked_for_again() {
    let mut server = Server::start().await;
    let (client, mut events) = server.client();
    let mut peer = server.session().await;
    watching(&client, &mut peer, "c").await;
    let gap = |to| json!({"gap": {"from": to, "to": to, "reason": "overload"}});
    peer.push("c", gap(1)).await;
    let command = peer.command().await;
    peer.push("c", gap(2)).await;
    peer.push("c", gap(3)).await;
    peer.send(json!({"id": command["id"], "presence": {"members": [alice()]}})).await;
    peer.answer("presence", json!({"members": []})).await;
    peer.publish("c", "after").await;
    for to in 1..=3 {
        let reason = GapReason::Overload;
        assert_eq!(
            next(&mut events).await,
            Event::Gap { channel: "c".to_owned(), from: to, to, reason, position: None }
        );
    }
    assert!(sessions(&next(&mut events).await).is_empty());
    assert_eq!(text_of(next(&mut events).await), "after");
}

#[tokio::test]
async fn a_channel_that_keeps_no_presence_is_refused() {
    let mut server = Server::start().await;
    let (client, _events) = server.client();
    let mut peer = server.session().await;
    let options = SubscribeOptions { presence: true, ..SubscribeOptions::default() };
    let (outcome, _) = tokio::join!(client.subscribe_with("c", options), peer.refuse(115, "no_presence", false));
    assert!(matches!(outcome, Err(CommandError::Refused { code: 115, .. })), "{outcome:?}");
}

#[tokio::test]
async fn members_are_given_page_by_page() {
    let mut server = Server::start().await;
    let (client, _events) = server.client();
    let mut peer = server.session().await;
    let reply = json!({"members": [alice()], "cursor": "next"});
    let (page, said) = tokio::join!(client.presence("c", Page::default()), peer.answer("presence", reply));
    assert_eq!(said, json!({"channel": "c"}));
    let page = page.unwrap();
    assert_eq!((page.members.len(), page.cursor.as_deref()), (1, Some("next")));
    let rest = Page { limit: Some(500), cursor: page.cursor };
    let (page, said) = tokio::join!(client.presence("c", rest), peer.answer("presence", json!({"members": []})));
    assert_eq!(said, json!({"channel": "c", "limit": 500, "cursor": "next"}));
    assert_eq!(page, Ok(MembersPage { members: Vec::new(), cursor: None }));
}

#[tokio::test]
async fn members_are_counted() {
    let mut server = Server::start().await;
    let (client, _events) = server.client();
    let mut peer = server.session().await;
    let reply = json!({"connections": 3, "users": 2});
    let (count, said) = tokio::join!(client.presence_count("c"), peer.answer("presence_count", reply));
    assert_eq!(said, json!({"channel": "c"}));
    assert_eq!(count, Ok(Occupancy { connections: 3, users: 2 }));
    let (count, _) = tokio::join!(client.presence_count("c"), peer.refuse(115, "no_presence", false));
    assert!(matches!(count, Err(CommandError::Refused { code: 115, .. })), "{count:?}");
    let (page, _) = tokio::join!(client.presence("c", Page::default()), peer.refuse(103, "permission_denied", false));
    assert!(matches!(page, Err(CommandError::Refused { code: 103, .. })), "{page:?}");
}

#[tokio::test]
async fn channels_with_members_are_renewed_in_batches_that_the_node_takes() {
    let mut server = Server::start().await;
    let (client, mut events) = server.client();
    let mut peer = server.session().await;
    for number in 0..40 {
        let options = SubscribeOptions { events: number >= 10, ..SubscribeOptions::default() };
        let channel = format!("c{number:03}");
        let answer = peer.answer("subscribe", json!({}));
        tokio::join!(client.subscribe_with(&channel, options), answer).0.unwrap();
    }
    drop(peer);
    assert!(matches!(next(&mut events).await, Event::Disconnected { .. }));
    let mut peer = server.session().await;
    let mut sizes = Vec::new();
    while sizes.iter().sum::<usize>() < 40 {
        sizes.push(peer.resubscribe().await.len());
    }
    assert_eq!(sizes, [26, 14], "sixteen lists, then fourteen");
}
