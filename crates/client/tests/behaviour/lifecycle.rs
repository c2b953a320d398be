//! How a client ends: by the user's will, by the node's word, or because nobody needs it.

use fastwebsockets::OpCode;
use tokio::net::TcpListener;
use ullim_client::{CommandError, Config, ConfigError, Data, Event, Reason, connect};

use crate::server::{Server, next, quick, subscribe, within};

#[tokio::test]
async fn a_refused_token_is_final() {
    let refused = Reason::Refused { code: 107, name: "bad_token".to_owned(), message: "because".to_owned() };
    for (code, name, reason) in [(107, "bad_token", refused), (108, "token_expired", Reason::TokenExpired)] {
        let mut server = Server::start().await;
        let mut config = quick(&[&server.url]);
        config.token = Some("eyJ".into());
        let (client, mut events) = connect(config).unwrap();
        let mut peer = server.peer().await;
        let command = peer.refuse(code, name, false).await;
        assert_eq!(command["connect"]["token"], "eyJ");
        let disconnected = Event::Disconnected { code: None, reason: reason.clone(), retry_in: None };
        assert_eq!(next(&mut events).await, disconnected);
        assert_eq!(next(&mut events).await, Event::Closed { reason });
        assert_eq!(events.next().await, None);
        assert_eq!(client.ping().await, Err(CommandError::Closed));
    }
}

#[tokio::test]
async fn a_close_code_without_retry_is_final() {
    for code in [1000, 1002, 1003, 1007, 1009] {
        let mut server = Server::start().await;
        let (client, mut events) = server.client();
        let mut peer = server.session().await;
        subscribe(&client, &mut peer, "c").await;
        peer.close(code, "name: text").await;
        let reason = Reason::Closed("name: text".to_owned());
        let disconnected = Event::Disconnected { code: Some(code), reason: reason.clone(), retry_in: None };
        assert_eq!(next(&mut events).await, disconnected);
        assert_eq!(next(&mut events).await, Event::Closed { reason });
        assert_eq!(events.next().await, None);
    }
}

#[tokio::test]
async fn the_final_codes_of_a_session_are_told_by_name() {
    for (code, reason) in [(4006, Reason::EndedByBackend), (4007, Reason::SessionReplaced)] {
        let mut server = Server::start().await;
        let (_client, mut events) = server.client();
        server.session().await.close(code, "name: text").await;
        let disconnected = Event::Disconnected { code: Some(code), reason: reason.clone(), retry_in: None };
        assert_eq!(next(&mut events).await, disconnected);
        assert_eq!(next(&mut events).await, Event::Closed { reason });
        assert_eq!(events.next().await, None);
    }
}

#[tokio::test]
async fn closing_says_so_and_waits() {
    let mut server = Server::start().await;
    let (client, mut events) = server.client();
    let mut peer = server.session().await;
    let other = client.clone();
    let publish = other.publish("c", Data::Text("x".to_owned()));
    let (published, ()) = tokio::join!(publish, async {
        peer.command().await;
        let (_, (opcode, payload)) = tokio::join!(client.close(), peer.frame());
        assert_eq!(opcode, OpCode::Close);
        assert_eq!(payload, 1000_u16.to_be_bytes());
    });
    assert_eq!(published, Err(CommandError::Closed));
    assert_eq!(next(&mut events).await, Event::Closed { reason: Reason::User });
    assert_eq!(events.next().await, None);
    assert_eq!(other.ping().await, Err(CommandError::Closed));
}

#[tokio::test]
async fn closing_does_not_wait_for_a_user_that_does_not_read() {
    let mut server = Server::start().await;
    let mut config = quick(&[&server.url]);
    config.events = 1;
    let (client, mut events) = connect(config).unwrap();
    // One event fills the queue, so that the client waits to tell the next.
    let _peer = server.session().await;
    within("the end", client.close()).await;
    assert!(matches!(events.next().await, Some(Event::Connecting { .. })));
    assert!(matches!(events.next().await, Some(Event::Closed { .. })));
}

#[tokio::test]
async fn closing_ends_the_attempts() {
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", dead.local_addr().unwrap());
    drop(dead);
    let (client, mut events) = connect(quick(&[&url])).unwrap();
    assert!(matches!(next(&mut events).await, Event::Disconnected { .. }));
    within("the end", client.close()).await;
}

#[tokio::test]
async fn a_client_that_nobody_needs_closes() {
    let mut server = Server::start().await;
    let (client, mut events) = server.client();
    let mut peer = server.session().await;
    subscribe(&client, &mut peer, "c").await;
    drop(client);
    peer.publish("c", "still there").await;
    assert!(matches!(next(&mut events).await, Event::Publication { .. }));
    drop(events);
    let (opcode, payload) = peer.frame().await;
    assert_eq!((opcode, payload), (OpCode::Close, 1000_u16.to_be_bytes().to_vec()));
}

#[tokio::test]
async fn events_may_be_left_alone() {
    let mut server = Server::start().await;
    let (client, events) = server.client();
    drop(events);
    let mut peer = server.session().await;
    subscribe(&client, &mut peer, "c").await;
    for _ in 0..3000 {
        peer.publish("c", "x").await;
    }
    let (outcome, _) = tokio::join!(client.ping(), peer.grant("ping"));
    outcome.unwrap();
}

#[tokio::test]
async fn configurations_that_cannot_work_are_refused() {
    let refused = |urls: &[&str]| connect(Config::new(urls.iter().copied())).err();
    assert_eq!(refused(&[]), Some(ConfigError::NoUrls));
    assert!(matches!(refused(&["localhost:80"]), Some(ConfigError::BadUrl { .. })));
}
