//! What backends ask for, and what becomes of it.

use serde_json::json;
use ullim_broker::{ChannelsRequest, Control, PageRequest};
use ullim_protocol::channel::ChannelName;
use ullim_protocol::publication::Data;

use crate::fixture::{assert_refused, listener, parts};

#[tokio::test]
async fn a_backend_publishes_with_the_key() {
    let listener = listener().await;
    let body = r#"{"channel":"chat:1","data":{"a":1}}"#;
    assert_eq!(parts(&listener.post("/api/publish", body).await), (200, json!({})));
    let refused = listener.ask("POST", "/api/publish", "another key", body).await;
    assert_refused(&refused, 401, "permission_denied");
    assert!(refused.contains("www-authenticate: Bearer\r\n"), "{refused}");
    let unknown = listener.post("/api/publish", r#"{"channel":"chatt:1","text":"x"}"#).await;
    assert_refused(&unknown, 404, "unknown_namespace");
    assert_eq!(listener.broker.channels_heard(), ["chat:1"]);
    *listener.broker.is_away.lock().unwrap() = true;
    assert_refused(&listener.post("/api/publish", body).await, 503, "unavailable");
}

#[tokio::test]
async fn what_is_wrong_with_one_channel_stops_no_other() {
    let listener = listener().await;
    let body = r#"{"channels":["chat:2","chat:*","chat:1","nowhere:1","","chat:2"],"text":"x"}"#;
    let (status, answer) = parts(&listener.post("/api/publish_many", body).await);
    assert_eq!(status, 200);
    let names: Vec<_> = answer["results"].as_array().unwrap().iter().map(|it| it["error"]["name"].as_str()).collect();
    let (ok, bad) = (None, Some("bad_channel"));
    assert_eq!(names, [ok, bad, ok, Some("unknown_namespace"), bad, ok]);
    assert_eq!(answer["results"][0], json!({}));
    assert_eq!(listener.broker.channels_heard(), ["chat:2", "chat:1", "chat:2"]);
    assert!(listener.broker.published.lock().unwrap().iter().all(|it| it.data == Data::Text("x".into())));
}

#[tokio::test]
async fn a_thousand_channels_are_published_on_in_their_order() {
    let listener = listener_of_large_bodies().await;
    let channels: Vec<_> = (0..1000).map(|number| format!("chat:{number}")).collect();
    let (status, answer) =
        parts(&listener.post("/api/publish_many", &json!({"channels": channels, "data": 1}).to_string()).await);
    assert_eq!((status, answer["results"].as_array().unwrap().len()), (200, 1000));
    assert_eq!(listener.broker.channels_heard(), channels);
    let more: Vec<_> = (0..1001).map(|number| format!("chat:{number}")).collect();
    let refused = listener.post("/api/publish_many", &json!({"channels": more, "data": 1}).to_string()).await;
    assert_refused(&refused, 400, "bad_message");
}

async fn listener_of_large_bodies() -> crate::fixture::Listener {
    crate::fixture::listener_for(crate::fixture::with_key(), 1 << 20).await
}

#[tokio::test]
async fn members_come_in_pages() {
    let listener = listener().await;
    let (status, first) = parts(&listener.post("/api/presence", r#"{"channel":"people:1"}"#).await);
    let alice = json!({"session": "AAAAAAAAAAAAAAAAAAAAAA", "user": "alice", "info": {"name": "Alice"}, "since": 5});
    let anonymous = json!({"session": "_____________________w", "since": 6});
    assert_eq!((status, first), (200, json!({"members": [alice, anonymous], "cursor": "next"})));
    let last = listener.post("/api/presence", r#"{"channel":"people:1","limit":500,"cursor":"next"}"#).await;
    assert!(parts(&last).1.get("cursor").is_none(), "{last}");
    let asked = listener.broker.asked_for_members.lock().unwrap().clone();
    let channel = ChannelName::parse("people:1").unwrap();
    let pages = [(None, 100), (Some("next".to_owned()), 500)];
    assert_eq!(asked, pages.map(|(cursor, limit)| (channel.clone(), PageRequest { cursor, limit })));
    let wrong = listener.post("/api/presence", r#"{"channel":"people:1","cursor":"other"}"#).await;
    assert_refused(&wrong, 400, "bad_message");
}

#[tokio::test]
async fn members_are_counted() {
    let listener = listener().await;
    let counted = listener.post("/api/presence_count", r#"{"channel":"people:1"}"#).await;
    assert_eq!(parts(&counted), (200, json!({"connections": 3, "users": 2})));
}

#[tokio::test]
async fn only_namespaces_with_presence_have_members() {
    let listener = listener().await;
    for path in ["/api/presence", "/api/presence_count"] {
        let refused = listener.post(path, r#"{"channel":"chat:1"}"#).await;
        assert_refused(&refused, 409, "no_presence");
        assert!(refused.contains("namespaces.chat.presence"), "{refused}");
        assert_refused(&listener.post(path, r#"{"channel":"nowhere:1"}"#).await, 404, "unknown_namespace");
        assert_refused(&listener.post(path, r#"{"channel":"people:*"}"#).await, 400, "bad_channel");
    }
    assert!(listener.broker.asked_for_members.lock().unwrap().is_empty());
    *listener.broker.is_away.lock().unwrap() = true;
    assert_refused(&listener.post("/api/presence", r#"{"channel":"people:1"}"#).await, 503, "unavailable");
}

#[tokio::test]
async fn channels_come_in_pages() {
    let listener = listener().await;
    let (status, page) = parts(&listener.post("/api/channels", "{}").await);
    assert_eq!((status, page), (200, json!({"channels": ["chat:1", "chat:2"], "more": true})));
    listener.post("/api/channels", r#"{"prefix":"chat:","after":"chat:2","limit":1000}"#).await;
    let all = ChannelsRequest { prefix: String::new(), after: None, limit: 100 };
    let page = ChannelsRequest { prefix: "chat:".to_owned(), after: Some("chat:2".to_owned()), limit: 1000 };
    assert_eq!(*listener.broker.asked_for_channels.lock().unwrap(), [all, page]);
    *listener.broker.is_away.lock().unwrap() = true;
    assert_refused(&listener.post("/api/channels", "{}").await, 503, "unavailable");
}

#[tokio::test]
async fn orders_about_a_user_are_given_to_the_nodes() {
    let listener = listener().await;
    assert_eq!(parts(&listener.post("/api/disconnect", r#"{"user":"alice"}"#).await), (200, json!({})));
    let unsubscribe = r#"{"user":"alice","channel":"chat:1"}"#;
    assert_eq!(parts(&listener.post("/api/unsubscribe", unsubscribe).await), (200, json!({})));
    let channel = ChannelName::parse("chat:1").unwrap();
    let user = || "alice".into();
    let expected = [Control::Disconnect { user: user() }, Control::Unsubscribe { user: user(), channel }];
    assert_eq!(*listener.broker.controls.lock().unwrap(), expected);
    for (path, body, status, name) in [
        ("/api/unsubscribe", r#"{"user":"alice","channel":"nowhere:1"}"#, 404, "unknown_namespace"),
        ("/api/unsubscribe", r#"{"user":"alice","channel":"chat:*"}"#, 400, "bad_channel"),
        ("/api/unsubscribe", r#"{"user":"alice"}"#, 400, "bad_message"),
        ("/api/unsubscribe", r#"{"user":"","channel":"chat:1"}"#, 400, "bad_message"),
        ("/api/disconnect", r#"{"user":""}"#, 400, "bad_message"),
        ("/api/disconnect", r#"{"user":null}"#, 400, "bad_message"),
        ("/api/disconnect", r#"{"user":"alice","channel":"chat:1"}"#, 400, "bad_message"),
    ] {
        assert_refused(&listener.post(path, body).await, status, name);
    }
    let long = json!({"user": "é".repeat(128)}).to_string();
    assert_refused(&listener.post("/api/disconnect", &long).await, 400, "bad_message");
    assert_eq!(listener.broker.controls.lock().unwrap().len(), 2);
}
