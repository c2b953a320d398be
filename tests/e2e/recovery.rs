//! Recoverable channels over nodes: whoever was away hears what was said meanwhile, once and in its place.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use ullim_client::{Client as RustClient, Config, Data, Event, Events, Part, Position, connect};
use ullim_tests::{Client, Cluster, Encoding, Node, Redis, http, within};

use crate::turn;

const CHANNEL: &str = "orders:7";

/// The offsets and the data of some publications.
fn numbers(pubs: &Value) -> Vec<(u64, u64)> {
    let number = |publication: &Value| {
        (publication["offset"].as_u64().unwrap(), publication["data"]["n"].as_u64().unwrap_or_default())
    };
    pubs.as_array().map(|pubs| pubs.iter().map(number).collect()).unwrap_or_default()
}

/// Publishes as a backend does. Gives the position.
fn publish(redis: &Redis, number: u64) -> Position {
    let data = json!({"n": number}).to_string();
    let answer = redis.cli(&["FCALL", "ullim_publish", "1", &format!("ullim:{{{CHANNEL}}}"), &data]);
    let position = answer.split_whitespace().collect::<Vec<_>>().join("-");
    Position::parse(&position).unwrap_or_else(|| panic!("no position: {answer}"))
}

#[tokio::test]
async fn a_client_recovers_at_another_node_what_it_missed() {
    let cluster = Cluster::start(2).await;
    for encoding in [Encoding::Json, Encoding::MessagePack] {
        let mut client = Client::connect(&cluster.nodes[0], encoding).await;
        let mut stands = client.ok("subscribe", json!({"channel": CHANNEL})).await;
        let before = stands["offset"].as_u64().unwrap();
        assert!(stands["epoch"].is_string() && stands.get("recovered").is_none(), "{stands}");
        for number in 1..=3 {
            publish(&cluster.redis, number);
            let heard = client.publication(CHANNEL).await;
            assert_eq!((heard["offset"].as_u64(), &heard["data"]), (Some(before + number), &json!({"n": number})));
        }
        drop(client);
        for number in 4..=20 {
            publish(&cluster.redis, number);
        }
        let mut client = Client::connect(&cluster.nodes[1], encoding).await;
        stands["offset"] = (before + 3).into();
        let reply = client.ok("subscribe", json!({"channel": CHANNEL, "recover": stands})).await;
        assert_eq!((&reply["recovered"], &reply["epoch"]), (&json!(true), &stands["epoch"]), "{reply}");
        let expected: Vec<_> = (4..=20).map(|number| (before + number, number)).collect();
        assert_eq!(numbers(&reply["pubs"]), expected);
        publish(&cluster.redis, 21);
        assert_eq!(client.publication(CHANNEL).await["offset"], before + 21);
        client.heard_nothing().await;
    }
}

#[tokio::test]
async fn what_the_history_does_not_reach_is_told() {
    let node = Node::with("namespaces.orders.history_size", "5").await;
    let mut client = Client::connect(&node, Encoding::Json).await;
    let stands = client.ok("subscribe", json!({"channel": CHANNEL})).await;
    drop(client);
    for number in 1..=6 {
        node.publish(CHANNEL, json!({"n": number})).await;
    }
    let mut client = Client::connect(&node, Encoding::Json).await;
    let reply = client.ok("subscribe", json!({"channel": CHANNEL, "recover": stands})).await;
    assert_eq!(reply, json!({"recovered": false, "epoch": stands["epoch"], "offset": 6}));
    // Nothing was lost on a channel that keeps nothing, and nothing is vouched for either.
    let reply = client.ok("subscribe", json!({"channel": "chat:1", "recover": stands})).await;
    assert_eq!(reply, json!({"recovered": false}));
    node.publish(CHANNEL, json!({"n": 7})).await;
    assert_eq!(client.publication(CHANNEL).await["offset"], 7);
}

#[tokio::test]
async fn history_is_the_same_over_http_and_websocket() {
    let redis = Redis::start().await;
    for builder in [Node::builder(), Node::builder().redis(&redis)] {
        let node = builder.start().await;
        let mut client = Client::connect(&node, Encoding::Json).await;
        let body = json!({"channel": CHANNEL, "data": {"n": 1}, "id": "once"});
        let first = client.ok("publish", body.clone()).await;
        assert_eq!(first["offset"], 1);
        assert_eq!(client.ok("publish", body.clone()).await, first, "the same id is no second publication");
        assert_eq!(api(&node, "publish", &body).await, first, "whichever way it comes");
        for number in 2..=10 {
            node.publish(CHANNEL, json!({"n": number})).await;
        }
        let since = json!({"epoch": first["epoch"], "offset": 3});
        for (question, offsets, more) in [
            (json!({"channel": CHANNEL}), (1..=10).collect::<Vec<_>>(), false),
            (json!({"channel": CHANNEL, "since": since, "limit": 2}), vec![4, 5], true),
            (json!({"channel": CHANNEL, "since": since, "reverse": true}), vec![2, 1], false),
            (json!({"channel": CHANNEL, "limit": 1, "reverse": true}), vec![10], true),
        ] {
            let socket = client.ok("history", question.clone()).await;
            let mut over_http = api(&node, "history", &question).await;
            assert_eq!(over_http["more"].take(), json!(more));
            over_http.as_object_mut().unwrap().remove("more");
            let mut without_more = socket.clone();
            assert_eq!(without_more.as_object_mut().unwrap().remove("more"), more.then(|| json!(true)));
            assert_eq!(without_more, over_http, "{question}");
            let expected: Vec<_> = offsets.into_iter().map(|offset: u64| (offset, offset)).collect();
            assert_eq!(numbers(&socket["pubs"]), expected, "{question}");
        }
        assert_eq!(client.refused("history", json!({"channel": "chat:1"})).await, "no_history");
        let answer = ask(&node, "history", &json!({"channel": "chat:1"})).await;
        assert_eq!(answer.0, 409, "{}", answer.1);
    }
}

async fn api(node: &Node, path: &str, body: &Value) -> Value {
    let (status, answer) = ask(node, path, body).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

async fn ask(node: &Node, path: &str, body: &Value) -> (u16, Value) {
    let authorization = format!("Bearer {}", node.addresses.api_key);
    let url = node.internal(&format!("/api/{path}"));
    let answer = http::post(&url, &[("Authorization", &authorization)], body.to_string().as_bytes()).await;
    (answer.status, serde_json::from_str(&answer.body).unwrap())
}

/// A client of all these nodes that has subscribed, and the URL of the one that it is connected to.
pub(crate) async fn subscribed(nodes: &[Node]) -> (RustClient, Events, String) {
    let mut config = Config::new(nodes.iter().map(|node| node.addresses.ws.as_str()));
    config.token = Some(nodes[0].addresses.token.as_str().into());
    let (client, mut events) = connect(config).unwrap();
    let position = client.subscribe(CHANNEL).await.unwrap();
    assert!(position.is_some(), "a recoverable channel stands somewhere");
    let url = within("a session", async {
        loop {
            if let Event::Connected { url, .. } = events.next().await.unwrap() {
                return url;
            }
        }
    })
    .await;
    (client, events, url)
}

/// Hears the numbers from `next` to `last`, and asserts that each came once and in order, and that no gap was told. Says
/// how often the subscription went on after a break.
pub(crate) async fn hear_all(events: &mut Events, mut next: u64, last: u64) -> usize {
    let mut recoveries = 0;
    let hear = async {
        while next <= last {
            match events.next().await.expect("the client goes on") {
                Event::Publication { publication, .. } => {
                    assert_eq!(publication.data, Data::json(&json!({"n": next})).unwrap());
                    next += 1;
                }
                Event::Recovered { .. } => recoveries += 1,
                event @ (Event::Gap { .. } | Event::NotRecovered { .. } | Event::Closed { .. }) => panic!("{event:?}"),
                _ => {}
            }
        }
    };
    within("every publication", hear).await;
    recoveries
}

#[tokio::test]
async fn the_death_of_a_node_loses_nothing_on_a_recoverable_channel() {
    let _turn = turn::take().await;
    let mut cluster = Cluster::start(2).await;
    let (client, mut events, url) = subscribed(&cluster.nodes).await;
    for number in 1..=50 {
        publish(&cluster.redis, number);
    }
    let dies = cluster.nodes.iter().position(|node| node.addresses.ws == url).unwrap();
    cluster.nodes[dies].process.kill();
    for number in 51..=100 {
        publish(&cluster.redis, number);
    }
    assert!(hear_all(&mut events, 1, 100).await >= 1, "it went on at the other node");
    client.close().await;
}

#[tokio::test]
async fn what_is_read_from_history_is_what_was_heard() {
    let node = Node::start().await;
    let (client, mut events, _) = subscribed(std::slice::from_ref(&node)).await;
    let kinds =
        [Data::json(&json!({"a": [1, null]})).unwrap(), Data::Text("é\n".into()), Data::Binary(vec![0, 255].into())];
    let mut heard = Vec::new();
    for data in kinds {
        client.publish(CHANNEL, data).await.unwrap();
        let publication = within("a publication", async {
            loop {
                if let Event::Publication { publication, .. } = events.next().await.unwrap() {
                    return publication;
                }
            }
        });
        heard.push(publication.await);
    }
    let history = client.history(CHANNEL, Part::default()).await.unwrap();
    assert_eq!((history.publications, history.more), (heard, false));
    client.close().await;
}

#[tokio::test]
async fn nothing_is_lost_while_many_come_and_go() {
    let _turn = turn::take().await;
    let cluster = Cluster::start(2).await;
    let mut offsets = BTreeSet::new();
    let mut client = Client::connect(&cluster.nodes[0], Encoding::Json).await;
    let mut at = client.ok("subscribe", json!({"channel": CHANNEL})).await;
    let publications = (1..=1000_u64).collect::<Vec<_>>();
    for (round, part) in publications.chunks(50).enumerate() {
        for number in part {
            cluster.nodes[round % 2].publish(CHANNEL, json!({"n": number})).await;
        }
        // Away in the middle of them, at one node or the other.
        client = Client::connect(&cluster.nodes[(round + 1) % 2], Encoding::Json).await;
        let reply = client.ok("subscribe", json!({"channel": CHANNEL, "recover": at})).await;
        assert_eq!(reply["recovered"], true, "{reply}");
        for (offset, number) in numbers(&reply["pubs"]) {
            assert_eq!(offset, number);
            assert!(offsets.insert(offset), "{offset} came twice");
        }
        at = json!({"epoch": reply["epoch"], "offset": reply["offset"]});
    }
    assert_eq!(offsets.len(), 1000);
    client.heard_nothing().await;
}

#[tokio::test]
async fn a_history_that_is_set_back_is_told_and_all_that_follows_is_heard() {
    let redis = Redis::start().await;
    let node = Node::builder().redis(&redis).start().await;
    let (client, mut events, _) = subscribed(std::slice::from_ref(&node)).await;
    let mut raw = Client::connect(&node, Encoding::MessagePack).await;
    raw.ok("subscribe", json!({"channel": CHANNEL})).await;
    let key = format!("ullim:{{{CHANNEL}}}");
    for number in 1..=10 {
        publish(&redis, number);
    }
    // What has gone is at hand as a copy of the key.
    redis.cli(&["COPY", &key, "backup"]);
    for number in 11..=15 {
        publish(&redis, number);
    }
    hear_all(&mut events, 1, 15).await;
    redis.cli(&["COPY", "backup", &key, "REPLACE"]);
    // The functions would go on behind what they remember of the channel.
    redis.renew_functions().await;
    assert_eq!(publish(&redis, 100).offset, 11, "issued a second time");
    let (since, position) = within("the loss", async {
        loop {
            match events.next().await.unwrap() {
                Event::NotRecovered { since, position, .. } => return (since, position.unwrap()),
                event @ (Event::Publication { .. } | Event::Unsubscribed { .. } | Event::Gap { .. }) => {
                    panic!("{event:?}")
                }
                _ => {}
            }
        }
    })
    .await;
    assert_eq!((since.offset, position.offset), (15, 11));
    for number in 101..=120 {
        publish(&redis, number);
    }
    hear_all(&mut events, 101, 120).await;
    for _ in 1..=15 {
        raw.publication(CHANNEL).await;
    }
    let push = raw.push().await;
    assert_eq!(push, json!({"channel": CHANNEL, "unsubscribed": {"code": 117, "name": "history_reset"}}));
    raw.heard_nothing().await;
    client.close().await;
}
