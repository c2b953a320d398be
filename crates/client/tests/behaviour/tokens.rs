//! The session's token: fetched, renewed before it expires, and the end without one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use ullim_client::{Client, Config, Event, Events, Reason, Token, TokenError, connect};

use crate::server::{Server, next, quick, seconds_from_now, subscribe};

/// A callback that gives "1", "2" and so on.
pub(crate) fn numbered() -> Token {
    scripted(|number| Ok(number.to_string()))
}

/// A callback that gives what `script` says about the call with this number, from 1 on.
pub(crate) fn scripted(script: impl Fn(usize) -> Result<String, TokenError> + Send + Sync + 'static) -> Token {
    let calls = Arc::new(AtomicUsize::new(0));
    Token::callback(move || {
        let answer = script(calls.fetch_add(1, Ordering::Relaxed) + 1);
        async move { answer }
    })
}

pub(crate) fn unavailable() -> TokenError {
    TokenError::Unavailable("the backend is away".to_owned())
}

pub(crate) fn denied() -> TokenError {
    TokenError::Denied("logged out".to_owned())
}

fn with(server: &Server, token: Token) -> (Client, Events) {
    let mut config: Config = quick(&[&server.url]);
    config.token = Some(token);
    connect(config).unwrap()
}

/// Soon enough that the refresh is due within two seconds.
fn soon() -> u64 {
    seconds_from_now(2)
}

#[tokio::test]
async fn a_callback_is_asked_at_every_connect() {
    let mut server = Server::start().await;
    let (_client, _events) = with(&server, numbered());
    for number in ["1", "2", "3"] {
        assert_eq!(server.peer().await.greet_as(json!({})).await["token"], number);
    }
}

#[tokio::test]
async fn a_callback_without_a_token_for_now_is_asked_again() {
    let mut server = Server::start().await;
    let token = scripted(|number| if number == 1 { Err(unavailable()) } else { Ok(number.to_string()) });
    let (_client, mut events) = with(&server, token);
    match next(&mut events).await {
        Event::Disconnected { reason, retry_in: Some(_), .. } => assert_eq!(reason, Reason::Token(unavailable())),
        other => panic!("{other:?}"),
    }
    assert_eq!(server.peer().await.greet_as(json!({})).await["token"], "2");
}

#[tokio::test]
async fn a_callback_that_hangs_is_given_up_with_the_attempt() {
    let server = Server::start().await;
    let mut config = quick(&[&server.url]);
    config.token = Some(Token::callback(std::future::pending));
    config.connect_timeout = Duration::from_millis(50);
    let (_client, mut events) = connect(config).unwrap();
    assert!(matches!(next(&mut events).await, Event::Disconnected { retry_in: Some(_), .. }));
}

#[tokio::test]
async fn a_callback_that_denies_ends_the_client() {
    let server = Server::start().await;
    let (_client, mut events) = with(&server, scripted(|_| Err(denied())));
    let reason = Reason::Token(denied());
    let disconnected = Event::Disconnected { code: None, reason: reason.clone(), retry_in: None };
    assert_eq!(next(&mut events).await, disconnected);
    assert_eq!(next(&mut events).await, Event::Closed { reason });
}

#[tokio::test]
async fn a_fetched_token_is_renewed_before_it_expires_again_and_again() {
    let mut server = Server::start().await;
    let (client, _events) = with(&server, numbered());
    let mut peer = server.peer().await;
    peer.greet_as(json!({"expires": soon()})).await;
    subscribe(&client, &mut peer, "c").await;
    // The first renewal is waited for after this is reckoned.
    let later = seconds_from_now(4);
    assert_eq!(peer.answer("refresh", json!({"expires": later})).await["token"], "2");
    assert_eq!(peer.answer("refresh", json!({"expires": seconds_from_now(3600)})).await["token"], "3");
    // The connection is the same all along.
    let (outcome, _) = tokio::join!(client.ping(), peer.grant("ping"));
    outcome.unwrap();
}

#[tokio::test]
async fn a_renewal_that_fails_is_tried_again() {
    let mut server = Server::start().await;
    let token = scripted(|number| if number == 2 { Err(unavailable()) } else { Ok(number.to_string()) });
    let (_client, _events) = with(&server, token);
    let mut peer = server.peer().await;
    peer.greet_as(json!({"expires": soon()})).await;
    let refused = peer.refuse(108, "token_expired", false).await;
    assert_eq!(refused["refresh"]["token"], "3");
    assert_eq!(peer.answer("refresh", json!({"expires": seconds_from_now(3600)})).await["token"], "4");
}

#[tokio::test]
async fn a_callback_that_denies_the_renewal_ends_the_client() {
    let mut server = Server::start().await;
    let token = scripted(|number| if number == 1 { Ok("1".to_owned()) } else { Err(denied()) });
    let (_client, mut events) = with(&server, token);
    let mut peer = server.peer().await;
    peer.greet_as(json!({"expires": soon()})).await;
    assert_eq!(peer.frame().await.1, 1000_u16.to_be_bytes());
    drop(peer);
    let reason = Reason::Token(denied());
    assert!(matches!(next(&mut events).await, Event::Disconnected { retry_in: None, .. }));
    assert_eq!(next(&mut events).await, Event::Closed { reason });
}

#[tokio::test]
async fn an_expired_session_is_followed_by_one_with_a_fresh_token() {
    let mut server = Server::start().await;
    let (client, mut events) = with(&server, numbered());
    let mut peer = server.session().await;
    subscribe(&client, &mut peer, "c").await;
    peer.close(4005, "token_expired: text").await;
    match next(&mut events).await {
        Event::Disconnected { code: Some(4005), reason: Reason::TokenExpired, retry_in: Some(_) } => {}
        other => panic!("{other:?}"),
    }
    // A token that has expired meanwhile is no reason to give up either.
    let refused = server.peer().await.refuse(108, "token_expired", false).await;
    assert_eq!(refused["connect"]["token"], "2");
    let mut peer = server.peer().await;
    assert_eq!(peer.greet_as(json!({})).await["token"], "3");
    assert_eq!(peer.resubscribe().await, ["c"]);
}

#[tokio::test]
async fn a_fixed_token_is_not_renewed_and_its_end_is_that_of_the_client() {
    let mut server = Server::start().await;
    let (client, mut events) = with(&server, "fixed".into());
    let mut peer = server.peer().await;
    assert_eq!(peer.greet_as(json!({"expires": soon()})).await["token"], "fixed");
    // As long as a renewal would take, with something to spare.
    let mut nothing_but_pings = async || {
        let end = tokio::time::Instant::now() + Duration::from_millis(2000);
        while tokio::time::Instant::now() < end {
            let (outcome, _) = tokio::join!(client.ping(), peer.grant("ping"));
            outcome.unwrap();
        }
    };
    nothing_but_pings().await;
    peer.close(4005, "token_expired: text").await;
    let reason = Reason::TokenExpired;
    let disconnected = Event::Disconnected { code: Some(4005), reason: reason.clone(), retry_in: None };
    assert_eq!(next(&mut events).await, disconnected);
    assert_eq!(next(&mut events).await, Event::Closed { reason });
}
