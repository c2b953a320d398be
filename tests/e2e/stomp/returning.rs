//! Connections end and come again, and holes are filled or told.

use serde_json::{Value, json};
use ullim_tests::{Node, NodeBuilder, Redis, free_address, within};

use super::program::{Program, Way};
use super::server::Server;

const ORDERS: &str = "/topic/orders:7";

#[tokio::test]
async fn stompjs_comes_back_to_a_node_that_was_started_again() {
    let (tcp, listen) = (free_address(), free_address());
    let start = async || Server::at(tcp, Node::builder().listen(listen)).await;
    let mut server = start().await;
    let mut programs = Vec::new();
    for (way, topic) in [(Way::Browser, "/topic/chat:browser"), (Way::StompjsTcp, "/topic/chat:tcp")] {
        let subscriptions = json!([{"destination": topic, "headers": {"id": "news"}}]);
        let options = json!({"reconnect": 100, "subscribe": subscriptions});
        let mut program = way.connect_with(&server, options).await;
        program.send(topic, "before");
        program.hears(&["before"]).await;
        programs.push((program, topic));
    }
    server.node.process.kill();
    drop(server);
    let _server = start().await;
    for (program, topic) in &mut programs {
        program.next("closed").await;
        // It tries until the node is there.
        let back = async { while program.event().await.get("connected").is_none() {} };
        within("the connection that stompjs makes by itself", back).await;
        program.send(topic, "after");
        program.hears(&["after"]).await;
    }
}

/// Subscribed to a recoverable channel: the program, and the position that the receipt told.
async fn positioned(way: Way, server: &Server) -> (Program, Value) {
    let mut program = way.connect(server).await;
    let receipt = program.subscribe(ORDERS, "orders", json!({})).await;
    assert!(receipt["epoch"].is_string() && receipt.get("recovered").is_none(), "{way:?}: {receipt}");
    (program, receipt)
}

#[tokio::test]
async fn a_subscriber_that_was_away_recovers_what_it_missed() {
    let redis = Redis::start().await;
    let servers = [Server::of(Node::builder().redis(&redis)).await, Server::of(Node::builder().redis(&redis)).await];
    let mut publisher = Way::Browser.connect(&servers[0]).await;
    for way in Way::ALL {
        let (mut program, receipt) = positioned(way, &servers[0]).await;
        let stood: u64 = receipt["offset"].as_str().unwrap().parse().unwrap();
        publisher.send(ORDERS, "heard");
        let heard = program.message().await;
        let position = (heard.header("epoch").to_owned(), heard.header("offset").to_owned());
        assert_eq!(position, (receipt["epoch"].as_str().unwrap().to_owned(), (stood + 1).to_string()), "{way:?}");
        program.disconnect().await;
        for body in ["missed", "missed too"] {
            let receipt = publisher.receipt();
            publisher.run("send", json!({"destination": ORDERS, "headers": {"receipt": receipt}, "body": body}));
            publisher.received(&receipt).await;
        }

        // At the other node.
        let mut program = way.connect(&servers[1]).await;
        let receipt = program.receipt();
        let headers = json!({"id": "again", "receipt": receipt, "epoch": position.0, "offset": position.1});
        program.run("subscribe", json!({"destination": ORDERS, "headers": headers}));
        let told = program.received(&receipt).await;
        assert_eq!((&told["recovered"], &told["epoch"]), (&json!("true"), &json!(position.0)), "{way:?}: {told}");
        publisher.send(ORDERS, "live again");
        for (number, body) in (stood + 2..).zip(["missed", "missed too", "live again"]) {
            let message = program.message().await;
            assert_eq!((message.body(), message.header("offset")), (body, &*number.to_string()), "{way:?}");
        }
    }
}

#[tokio::test]
async fn a_position_that_is_not_known_is_told() {
    let server = Server::start().await;
    let mut program = Way::Browser.connect(&server).await;
    let stands = program.subscribe(ORDERS, "first", json!({})).await;
    let told = program.subscribe(ORDERS, "second", json!({"epoch": "1234", "offset": "5"})).await;
    assert_eq!((&told["recovered"], &told["epoch"]), (&json!("false"), &stands["epoch"]), "{told}");
}

#[tokio::test]
async fn who_asks_for_gaps_is_told_when_the_link_to_redis_was_cut() {
    const LIVE: &str = "/topic/chat:live";
    let redis = Redis::start().await;
    let builder: NodeBuilder = Node::builder().redis(&redis);
    let server = Server::of(builder).await;
    let mut programs = Vec::new();
    for way in Way::ALL {
        let mut program = way.connect(&server).await;
        program.subscribe(LIVE, "told", json!({"gap": "true"})).await;
        program.subscribe(LIVE, "spared", json!({})).await;
        programs.push((way, program));
    }
    assert_eq!(redis.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]).trim(), "1");
    for (way, program) in &mut programs {
        let gap = program.message().await;
        let which = (gap.header("subscription"), gap.header("destination"), gap.body());
        assert_eq!(which, ("told", LIVE, ""), "{way:?}: {gap:?}");
        assert_eq!(gap.header("gap"), "broker_link", "{way:?}: {gap:?}");
        let [from, to] = ["gap-from", "gap-to"].map(|name| gap.header(name).parse::<u64>().unwrap());
        assert!(from <= to, "{way:?}: {gap:?}");
    }
    redis.publish("chat:live", "after");
    for (_, program) in &mut programs {
        program.hears(&["after", "after"]).await;
    }
}
