//! A session that outlives its connections.

use serde_json::json;
use ullim_client::{Event, Events, connect};

use crate::server::{Server, quick, seconds_from_now, within};
use crate::tokens::numbered;

/// The next session, and whether it is the one before.
async fn connected(events: &mut Events) -> (String, bool) {
    loop {
        if let Event::Connected { session, resumed, .. } = within("an event", events.next()).await.unwrap() {
            return (session, resumed);
        }
    }
}

#[tokio::test]
async fn a_session_is_resumed_with_what_the_node_said_last() {
    let mut server = Server::start().await;
    let (_client, mut events) = server.client();
    let mut peer = server.peer().await;
    let said = peer.greet_as(json!({"session": "first", "resume": "one"})).await;
    assert!(said.get("resume").is_none(), "{said}");
    assert_eq!(connected(&mut events).await, ("first".to_owned(), false));
    drop(peer);

    let mut peer = server.peer().await;
    let said = peer.greet_as(json!({"session": "first", "resume": "two", "resumed": true})).await;
    assert_eq!(said["resume"], "one");
    assert_eq!(connected(&mut events).await, ("first".to_owned(), true));
    drop(peer);

    // A failed attempt does not lose it.
    server.peer().await.refuse(111, "unavailable", true).await;
    let mut peer = server.peer().await;
    assert_eq!(peer.greet_as(json!({"session": "second"})).await["resume"], "two");
    assert_eq!(connected(&mut events).await, ("second".to_owned(), false));
    drop(peer);

    // A node that gives none takes it away.
    let said = server.peer().await.greet_as(json!({})).await;
    assert!(said.get("resume").is_none(), "{said}");
}

#[tokio::test]
async fn a_refresh_gives_another_way_to_resume() {
    let mut server = Server::start().await;
    let mut config = quick(&[&server.url]);
    config.token = Some(numbered());
    let (_client, _events) = connect(config).unwrap();
    let mut peer = server.peer().await;
    peer.greet_as(json!({"resume": "one", "expires": seconds_from_now(2)})).await;
    peer.answer("refresh", json!({"expires": seconds_from_now(3600), "resume": "two"})).await;
    drop(peer);
    assert_eq!(server.peer().await.greet_as(json!({})).await["resume"], "two");
}
