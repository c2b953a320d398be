//! Tokens of single channels: sent with each subscription, and fetched again when they expire.

use std::time::Duration;

use serde_json::{Value, json};
use ullim_client::{Client, CommandError, Event, GapReason, SubscribeOptions, Token};

use crate::server::{Peer, Server, next, subscribe};
use crate::tokens::{denied, numbered, scripted, unavailable};

fn with(token: Token) -> SubscribeOptions {
    SubscribeOptions { token: Some(token), ..SubscribeOptions::default() }
}

/// Subscribes `client` at `peer`; gives what the client said.
async fn subscribed(client: &Client, peer: &mut Peer, channel: &str, token: Token) -> Value {
    let subscribe = client.subscribe_with(channel, with(token));
    let (outcome, said) = tokio::join!(subscribe, peer.answer("subscribe", json!({})));
    outcome.unwrap();
    said
}

async fn expire(peer: &mut Peer, channel: &str) {
    let ended = json!({"code": 114, "name": "subscription_expired"});
    peer.push(channel, json!({"unsubscribed": ended})).await;
}

#[tokio::test]
async fn a_callback_is_asked_at_each_subscribe() {
    let mut server = Server::start().await;
    let (client, _events) = server.client();
    let mut peer = server.session().await;
    let said = subscribed(&client, &mut peer, "fixed", "eyJ".into()).await;
    assert_eq!(said, json!({"channel": "fixed", "token": "eyJ"}));
    let said = subscribed(&client, &mut peer, "fetched", numbered()).await;
    assert_eq!(said, json!({"channel": "fetched", "token": "1"}));
    drop(peer);

    let mut peer = server.session().await;
    let said = peer.answer("subscribe", json!({"channels": [{"channel": "fixed"}]})).await;
    assert_eq!(said, json!({"channels": [{"channel": "fixed", "token": "eyJ"}]}));
    assert_eq!(peer.answer("subscribe", json!({})).await, json!({"channel": "fetched", "token": "2"}));
}

#[tokio::test]
async fn an_expired_subscription_is_renewed_and_the_gap_told() {
    let mut server = Server::start().await;
    let (client, mut events) = server.client();
    let mut peer = server.session().await;
    subscribed(&client, &mut peer, "c", numbered()).await;
    expire(&mut peer, "c").await;
    assert_eq!(peer.refuse(114, "subscription_expired", false).await["subscribe"]["token"], "2");
    assert_eq!(peer.answer("subscribe", json!({})).await["token"], "3");
    assert!(
        matches!(next(&mut events).await, Event::Gap { channel, reason: GapReason::Disconnected, .. } if channel == "c")
    );
}

#[tokio::test]
async fn an_expired_subscription_with_a_fixed_token_ends() {
    let mut server = Server::start().await;
    let (client, mut events) = server.client();
    let mut peer = server.session().await;
    subscribed(&client, &mut peer, "c", "eyJ".into()).await;
    expire(&mut peer, "c").await;
    let unsubscribed =
        Event::Unsubscribed { channel: "c".to_owned(), code: 114, name: "subscription_expired".to_owned() };
    assert_eq!(next(&mut events).await, unsubscribed);
}

#[tokio::test]
async fn a_callback_without_a_token_fails_the_command_and_nothing_is_sent() {
    let mut server = Server::start().await;
    let (client, _events) = server.client();
    let mut peer = server.session().await;
    for error in [unavailable(), denied()] {
        let answer = error.clone();
        let outcome = client.subscribe_with("c", with(scripted(move |_| Err(answer.clone())))).await;
        assert_eq!(outcome, Err(CommandError::Token(error)));
    }
    let (outcome, _) = tokio::join!(client.ping(), peer.grant("ping"));
    outcome.unwrap();
}

#[tokio::test]
async fn a_subscription_waits_for_a_callback_that_is_away_and_ends_when_it_denies() {
    let mut server = Server::start().await;
    let (client, mut events) = server.client();
    let mut peer = server.session().await;
    let token = scripted(|number| match number {
        1 | 3 => Ok(number.to_string()),
        2 => Err(unavailable()),
        _ => Err(denied()),
    });
    subscribed(&client, &mut peer, "c", token).await;
    drop(peer);
    let mut peer = server.session().await;
    assert_eq!(peer.answer("subscribe", json!({})).await["token"], "3");
    assert!(matches!(next(&mut events).await, Event::Disconnected { .. }));
    assert!(matches!(next(&mut events).await, Event::Gap { .. }));
    expire(&mut peer, "c").await;
    let unsubscribed = Event::Unsubscribed { channel: "c".to_owned(), code: 103, name: "permission_denied".to_owned() };
    assert_eq!(next(&mut events).await, unsubscribed);
}

#[tokio::test]
async fn a_callback_that_hangs_holds_up_nothing_else() {
    let mut server = Server::start().await;
    let mut config = crate::server::quick(&[&server.url]);
    config.command_timeout = Duration::from_millis(300);
    let (client, _events) = ullim_client::connect(config).unwrap();
    let mut peer = server.session().await;
    let hanging = client.subscribe_with("slow", with(Token::callback(std::future::pending)));
    let (outcome, ()) = tokio::join!(hanging, async {
        subscribe(&client, &mut peer, "quick").await;
        let (outcome, _) = tokio::join!(client.ping(), peer.grant("ping"));
        outcome.unwrap();
    });
    assert!(outcome.is_err());
}

#[tokio::test]
async fn many_channels_get_their_tokens_after_a_reconnect() {
    const MANY: usize = 50;
    let mut server = Server::start().await;
    let (client, _events) = server.client();
    let mut peer = server.session().await;
    for number in 0..MANY {
        subscribed(&client, &mut peer, &format!("c{number}"), numbered()).await;
    }
    drop(peer);
    let mut peer = server.session().await;
    let mut renewed = std::collections::BTreeSet::new();
    for _ in 0..MANY {
        let said = peer.answer("subscribe", json!({})).await;
        assert_eq!(said["token"], "2");
        renewed.insert(said["channel"].as_str().unwrap().to_owned());
    }
    assert_eq!(renewed.len(), MANY);
}
