//! What the user asks for, as the node hears it, and how it can fail.

use std::time::Duration;

use serde_json::json;
use ullim_client::{CommandError, Data, IndexMap, PublishOptions, connect};

use crate::server::{Server, next, quick, subscribe, text_of};

#[tokio::test]
async fn publishing_says_what_the_protocol_says() {
    let mut server = Server::start().await;
    let (client, _events) = server.client();
    let mut peer = server.session().await;
    let options = PublishOptions {
        echo: false,
        headers: IndexMap::from([("trace", "1f"), ("a", "2")].map(|(name, value)| (name.to_owned(), value.to_owned()))),
        ..PublishOptions::default()
    };
    let data = Data::Binary(vec![1].into());
    let (outcome, command) = tokio::join!(client.publish_with("c", data, options), peer.grant("publish"));
    assert_eq!(outcome, Ok(None));
    let body = json!({"channel": "c", "b64": "AQ==", "echo": false, "headers": {"trace": "1f", "a": "2"}});
    // As texts: the order of the headers counts.
    assert_eq!(command["publish"].to_string(), body.to_string());
}

#[tokio::test]
async fn a_refused_publication_tells_the_code() {
    let mut server = Server::start().await;
    let (client, _events) = server.client();
    let mut peer = server.session().await;
    let refuse = peer.refuse(111, "unavailable", true);
    let (outcome, _) = tokio::join!(client.publish("c", Data::Text("x".to_owned())), refuse);
    let refused =
        CommandError::Refused { code: 111, name: "unavailable".to_owned(), message: "because".to_owned(), retry: true };
    assert_eq!(outcome, Err(refused));
    // It was not repeated: the next command is another.
    let (outcome, _) = tokio::join!(client.ping(), peer.grant("ping"));
    assert!(outcome.unwrap() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_refused_subscription_is_forgotten() {
    let mut server = Server::start().await;
    let (client, _events) = server.client();
    let mut peer = server.session().await;
    let refuse = peer.refuse(103, "permission_denied", false);
    let (outcome, _) = tokio::join!(client.subscribe("secret"), refuse);
    assert!(matches!(outcome, Err(CommandError::Refused { code: 103, retry: false, .. })));
    subscribe(&client, &mut peer, "open").await;
    drop(peer);
    assert_eq!(server.session().await.resubscribe().await, ["open"]);
}

#[tokio::test]
async fn after_an_unsubscription_nothing_comes() {
    let mut server = Server::start().await;
    let (client, mut events) = server.client();
    let mut peer = server.session().await;
    subscribe(&client, &mut peer, "a").await;
    subscribe(&client, &mut peer, "b").await;
    let (outcome, command) = tokio::join!(client.unsubscribe("a"), async {
        peer.publish("a", "late").await;
        peer.grant("unsubscribe").await
    });
    assert_eq!(outcome, Ok(()));
    assert_eq!(command["unsubscribe"]["channel"], "a");
    peer.publish("a", "later").await;
    peer.publish("b", "other").await;
    let mut text = text_of(next(&mut events).await);
    if text == "late" {
        // It was read before the command was given.
        text = text_of(next(&mut events).await);
    }
    assert_eq!(text, "other");
    drop(peer);
    assert_eq!(server.session().await.resubscribe().await, ["b"]);
}

#[tokio::test]
async fn commands_without_a_connection_wait_for_one() {
    let mut server = Server::start().await;
    let (client, _events) = server.client();
    let mut peer = server.peer().await;
    let (subscribed, published, ()) =
        tokio::join!(client.subscribe("c"), client.publish("c", Data::Text("x".to_owned())), async {
            peer.greet().await;
            peer.grant("subscribe").await;
            peer.grant("publish").await;
        });
    assert_eq!((subscribed, published), (Ok(None), Ok(None)));
}

#[tokio::test]
async fn a_command_that_timed_out_before_it_was_sent_is_not_sent() {
    let mut server = Server::start().await;
    let mut config = quick(&[&server.url]);
    config.command_timeout = Duration::from_millis(50);
    let (client, _events) = connect(config).unwrap();
    let mut peer = server.peer().await;
    let publish = client.publish("c", Data::Text("x".to_owned()));
    assert_eq!(publish.await, Err(CommandError::Timeout));
    assert_eq!(client.subscribe("c").await, Err(CommandError::Timeout));
    peer.greet().await;
    let mut patient = None;
    // Only the ping arrives, be it the first or a later one.
    let command = tokio::join!(async { patient = client.ping().await.ok() }, peer.command()).1;
    assert!(command["ping"].is_object(), "{command}");
}

#[tokio::test]
async fn a_subscription_that_was_given_up_is_undone() {
    let mut server = Server::start().await;
    let mut config = quick(&[&server.url]);
    config.command_timeout = Duration::from_millis(50);
    let (client, _events) = connect(config).unwrap();
    let mut peer = server.session().await;
    let (outcome, command) = tokio::join!(client.subscribe("c"), peer.command());
    assert_eq!(outcome, Err(CommandError::Timeout));
    peer.send(json!({"id": command["id"], "subscribe": {}})).await;
    assert_eq!(peer.grant("unsubscribe").await["unsubscribe"]["channel"], "c");
}

#[tokio::test]
async fn a_message_that_the_node_would_not_take_is_not_sent() {
    let mut server = Server::start().await;
    let (client, _events) = server.client();
    let limits = json!({"message": 100, "subscriptions": 128});
    let mut peer = server.peer().await;
    peer.greet_with(json!({"session": "s", "ping": 25_000, "limits": limits})).await;
    let outcome = client.publish("c", Data::Text("x".repeat(100))).await;
    assert!(matches!(outcome, Err(CommandError::Refused { code: 110, .. })));
    let outcome = client.subscribe(&"c".repeat(100)).await;
    assert!(matches!(outcome, Err(CommandError::Refused { code: 104, .. })));
    let (outcome, _) = tokio::join!(client.ping(), peer.grant("ping"));
    outcome.unwrap();
}
