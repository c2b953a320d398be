//! Recoverable channels: where a publication stands, and what was published before. And the end of a node.

use serde_json::json;
use ullim_broker::HistoryRequest;
use ullim_protocol::channel::ChannelName;
use ullim_protocol::position::Position;

use crate::fixture::{assert_refused, listener, parts};

#[tokio::test]
async fn a_publication_on_a_recoverable_channel_is_answered_with_its_position() {
    let listener = listener().await;
    let taken = json!({"epoch": "5", "offset": 44});
    let body = r#"{"channel":"orders:7","data":1,"id":"once"}"#;
    assert_eq!(parts(&listener.post("/api/publish", body).await), (200, taken.clone()));
    let many = r#"{"channels":["orders:7","chat:1","nowhere:1"],"data":1,"id":"once"}"#;
    let (status, answer) = parts(&listener.post("/api/publish_many", many).await);
    assert_eq!((status, &answer["results"][0], &answer["results"][1]), (200, &taken, &json!({})));
    assert_eq!(answer["results"][2]["error"]["name"], "unknown_namespace");
    let published = listener.broker.published.lock().unwrap();
    assert!(published.len() == 3 && published.iter().all(|request| request.id.as_deref() == Some("once")));
}

#[tokio::test]
async fn an_id_has_1_to_128_bytes() {
    let listener = listener().await;
    let publish = async |id: serde_json::Value| {
        let body = json!({"channel": "orders:7", "data": 1, "id": id}).to_string();
        listener.post("/api/publish", &body).await
    };
    assert_eq!(parts(&publish(json!("é".repeat(64))).await).0, 200);
    for wrong in [json!(""), json!("é".repeat(65)), json!(null), json!(7)] {
        assert_refused(&publish(wrong).await, 400, "bad_message");
    }
    assert_eq!(listener.broker.channels_heard().len(), 1);
}

#[tokio::test]
async fn history_comes_as_clients_hear_it() {
    let listener = listener().await;
    let (status, part) = parts(&listener.post("/api/history", r#"{"channel":"orders:7"}"#).await);
    let pubs = json!([
        {"epoch": "5", "offset": 1, "data": {"n": 1.0}, "time": 7},
        {"epoch": "5", "offset": 2, "text": "é", "headers": {"trace": "1f"}, "time": 8},
        {"epoch": "5", "offset": 3, "b64": "/wA=", "time": 9},
    ]);
    assert_eq!((status, part), (200, json!({"epoch": "5", "offset": 44, "pubs": pubs, "more": true})));
    let body = r#"{"channel":"orders:7","since":{"epoch":"5","offset":3.0},"limit":1000,"reverse":true}"#;
    assert_eq!(parts(&listener.post("/api/history", body).await).0, 200);
    let channel = ChannelName::parse("orders:7").unwrap();
    let expected = [
        HistoryRequest { channel: channel.clone(), since: None, limit: 100, reverse: false },
        HistoryRequest { channel, since: Position::parse("5-3"), limit: 1000, reverse: true },
    ];
    assert_eq!(*listener.broker.asked_for_history.lock().unwrap(), expected);
}

#[tokio::test]
async fn history_is_refused_where_none_is_kept_or_the_question_is_none() {
    let listener = listener().await;
    let refused = listener.post("/api/history", r#"{"channel":"chat:1"}"#).await;
    assert_refused(&refused, 409, "no_history");
    assert!(refused.contains("namespaces.chat.recoverable"), "{refused}");
    assert_refused(&listener.post("/api/history", r#"{"channel":"nowhere:1"}"#).await, 404, "unknown_namespace");
    for wrong in [
        json!({"limit": 0}),
        json!({"limit": 1001}),
        json!({"reverse": null}),
        json!({"since": null}),
        json!({"since": {"epoch": "5"}}),
        json!({"since": {"epoch": 5, "offset": 1}}),
        json!({"since": {"epoch": "05", "offset": 1}}),
        json!({"since": {"epoch": "5", "offset": -1}}),
        json!({"since": {"epoch": "5", "offset": 9_007_199_254_740_992_u64}}),
    ] {
        let mut body = wrong.clone();
        body["channel"] = "orders:7".into();
        assert_refused(&listener.post("/api/history", &body.to_string()).await, 400, "bad_message");
    }
    assert!(listener.broker.asked_for_history.lock().unwrap().is_empty());
    *listener.broker.is_away.lock().unwrap() = true;
    assert_refused(&listener.post("/api/history", r#"{"channel":"orders:7"}"#).await, 503, "unavailable");
}

#[tokio::test]
async fn whoever_has_the_key_can_have_the_node_end() {
    let listener = listener().await;
    assert_refused(&listener.ask("POST", "/api/drain", "another key", "{}").await, 401, "permission_denied");
    assert_refused(&listener.post("/api/drain", r#"{"now":true}"#).await, 400, "bad_message");
    assert!(!listener.end.is_cancelled());
    for _ in 0..2 {
        assert_eq!(parts(&listener.post("/api/drain", "{}").await), (200, json!({})));
        assert!(listener.end.is_cancelled());
    }
}
