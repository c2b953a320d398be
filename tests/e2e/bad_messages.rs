//! Messages that are no commands: each gets its error, and the session goes on.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use ullim_tests::{Client, Encoding, Node};

use crate::bystander::Bystander;

/// Sends each message; the error and the id of its answer must be as given.
async fn are_refused(encoding: Encoding, cases: impl IntoIterator<Item = (Message, &str, Value)>) {
    let node = Node::start().await;
    let mut bystander = Bystander::of(&node).await;
    let mut client = Client::connect(&node, encoding).await;
    for (message, error, id) in cases {
        client.send(message.clone()).await;
        let reply = client.reply().await;
        assert_eq!(reply["error"]["name"], error, "{message:?}: {reply}");
        assert_eq!(reply.get("id").unwrap_or(&Value::Null), &id, "{message:?}: {reply}");
        client.ok("ping", json!({})).await;
        bystander.is_undisturbed().await;
    }
}

/// Messages that both encodings can say.
fn wrong_in_both() -> Vec<(Value, &'static str, Value)> {
    let bad = |message: Value, id: Value| (message, "bad_message", id);
    let publish = |body: Value| json!({"id": 5, "publish": body});
    vec![
        bad(json!(null), json!(null)),
        bad(json!(1), json!(null)),
        bad(json!("ping"), json!(null)),
        bad(json!([1, {"ping": {}}]), json!(null)),
        bad(json!({}), json!(null)),
        bad(json!({"ping": {}}), json!(null)),
        bad(json!({"id": 0, "ping": {}}), json!(null)),
        bad(json!({"id": -1, "ping": {}}), json!(null)),
        bad(json!({"id": 1.5, "ping": {}}), json!(null)),
        bad(json!({"id": "1", "ping": {}}), json!(null)),
        bad(json!({"id": 1_u64 << 53, "ping": {}}), json!(null)),
        bad(json!({"id": 5, "ping": 1}), json!(5)),
        bad(json!({"id": 5, "ping": {}, "subscribe": {"channel": "chat:1"}}), json!(5)),
        bad(json!({"id": 5, "connect": {"token": 7}}), json!(5)),
        bad(json!({"id": 5, "subscribe": {}}), json!(5)),
        bad(json!({"id": 5, "subscribe": {"channel": 5}}), json!(5)),
        bad(json!({"id": 5, "subscribe": {"channel": ["chat:1"]}}), json!(5)),
        bad(json!({"id": 5, "subscribe": {"channels": "chat:1"}}), json!(5)),
        bad(json!({"id": 5, "subscribe": {"channels": [{"name": "chat:1"}]}}), json!(5)),
        bad(json!({"id": 5, "subscribe": {"channel": "chat:1", "channels": []}}), json!(5)),
        bad(json!({"id": 5, "unsubscribe": {}}), json!(5)),
        bad(publish(json!({"channel": "chat:1"})), json!(5)),
        bad(publish(json!({"data": 1})), json!(5)),
        bad(publish(json!({"channel": "chat:1", "data": 1, "text": "x"})), json!(5)),
        bad(publish(json!({"channel": "chat:1", "text": 1})), json!(5)),
        bad(publish(json!({"channel": "chat:1", "data": 1, "echo": "no"})), json!(5)),
        bad(publish(json!({"channel": "chat:1", "data": 1, "headers": {"a": 1}})), json!(5)),
        (json!({"id": 5}), "unknown_command", json!(5)),
        (json!({"id": 5, "dance": {}}), "unknown_command", json!(5)),
        (json!({"id": 5, "Ping": {}}), "unknown_command", json!(5)),
        (publish(json!({"channel": "chat:1", "data": 1, "headers": many_headers()})), "bad_data", json!(5)),
        (publish(json!({"channel": "chat:1", "data": 1, "headers": {"a": "x".repeat(5000)}})), "bad_data", json!(5)),
    ]
}

fn many_headers() -> Value {
    (0..17).map(|number| (number.to_string(), json!("x"))).collect::<serde_json::Map<_, _>>().into()
}

#[tokio::test]
async fn json_that_is_no_command_is_refused() {
    let text = |text: &str| (Message::text(text.to_owned()), "bad_message", json!(null));
    let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let publish = |body: &str| Message::text(format!(r#"{{"id":5,"publish":{{"channel":"chat:1",{body}}}}}"#));
    let mut cases = vec![
        text(""),
        text(" "),
        text("{"),
        text("hello"),
        text("{\"id\":1,\"ping\":{}"),
        text("{\"id\":1,\"ping\":{}}}"),
        text("{\"id\":1,\"ping\":{}}{\"id\":2,\"ping\":{}}"),
        text("{'id':1,'ping':{}}"),
        text("{\"id\":1,\"id\":2,\"ping\":{}}"),
        text("{\"id\":1e999,\"ping\":{}}"),
        text("\u{FEFF}{\"id\":1,\"ping\":{}}"),
        text(&deep(30_000)),
        text(&"{\"a\":".repeat(10_000)),
        (publish(&format!("\"data\":{}", deep(128))), "bad_data", json!(5)),
        (publish(r#""data":"\ud800""#), "bad_data", json!(5)),
        (publish(r#""data":1e999"#), "bad_data", json!(5)),
        (publish(r#""b64":"not base64!""#), "bad_data", json!(5)),
        (publish(r#""b64":"YQ""#), "bad_data", json!(5)),
    ];
    for (value, error, id) in wrong_in_both() {
        cases.push((Encoding::Json.encode(&value), error, id));
    }
    are_refused(Encoding::Json, cases).await;
}

#[tokio::test]
async fn message_pack_that_is_no_command_is_refused() {
    let bytes = |bytes: &[u8]| (Message::binary(bytes.to_vec()), "bad_message", json!(null));
    let deep = |depth: usize| [vec![0x91; depth], vec![0xC0]].concat();
    let publish = |data: &[u8]| {
        let head = b"\x82\xA2id\x05\xA7publish\x82\xA7channel\xA6chat:1\xA4data";
        Message::binary([head, data].concat())
    };
    let with_id = |data: &[u8]| (publish(data), "bad_message", json!(5));
    let mut cases = vec![
        bytes(b""),
        bytes(b"\xC1"),
        bytes(b"\x82\xA2id\x01\xA4ping"),
        bytes(b"\x82\xA2id\x01\xA4ping\x80\xC0"),
        bytes(b"\xDF\xFF\xFF\xFF\xFF"),
        bytes(b"\xDD\xFF\xFF\xFF\xFF"),
        bytes(b"\xDB\xFF\xFF\xFF\xFFx"),
        bytes(b"\xC6\xFF\xFF\xFF\xFFx"),
        bytes(&deep(60_000)),
        bytes(br#"{"id":1,"ping":{}}"#),
        with_id(b"\xC4\x01\x00"),
        with_id(b"\xD4\x05\x00"),
        with_id(b"\x81\x01\x02"),
    ];
    for (value, error, id) in wrong_in_both() {
        cases.push((Encoding::MessagePack.encode(&value), error, id));
    }
    are_refused(Encoding::MessagePack, cases).await;
}

#[tokio::test]
async fn data_may_be_nested_as_deep_as_the_contract_says() {
    let node = Node::start().await;
    for encoding in Encoding::ALL {
        let mut client = Client::connect(&node, encoding).await;
        let mut other = Client::connect(&node, Encoding::ALL[usize::from(encoding == Encoding::Json)]).await;
        other.subscribe("chat:1").await;
        let deep = (0..126).fold(json!([]), |inside, _| json!([inside]));
        client.publish("chat:1", deep.clone()).await;
        assert_eq!(other.publication("chat:1").await["data"], deep, "from {encoding:?}");
        let deeper = json!({"id": 9, "publish": {"channel": "chat:1", "data": [deep]}});
        client.send_value(&deeper).await;
        let error = client.reply().await["error"]["name"].clone();
        assert_eq!(error, if encoding == Encoding::Json { "bad_data" } else { "bad_message" });
    }
}
