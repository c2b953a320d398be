//! Publishing, and what the functions refuse.

use futures_util::future::join_all;
use ullim_broker::{Broker, History, HistoryRequest};
use ullim_protocol::position::Position;
use ullim_protocol::publication::{Data, Headers};
use ullim_protocol::session::SessionId;

use super::node::{ROOMY, answer, heard, join, node, publish, request};
use super::shard::Shard;
use super::wait::name;
use ullim_tests::redis::server::Server;

#[tokio::test]
async fn publications_have_dense_positions_and_arrive_with_them() {
    let server = Server::running(&[]).await;
    let broker = node(&server).await;
    let mut shard = Shard::attach(&*broker, ROOMY);
    let start = join(&mut shard, &broker, "orders:1").await;
    assert_eq!(start.offset, 0);
    let mut at = start;
    for n in 0..50 {
        at = at.next();
        assert_eq!(publish(&broker, "orders:1", &format!("no {n}")).await.unwrap(), at);
        assert_eq!(heard(&mut shard).await, (at, format!("no {n}")));
    }
    let mut later = Shard::attach(&*broker, ROOMY);
    assert_eq!(join(&mut later, &broker, "orders:1").await, at);
}

#[tokio::test]
async fn live_channels_stay_as_they_are() {
    let server = Server::running(&[]).await;
    let broker = node(&server).await;
    let mut shard = Shard::attach(&*broker, ROOMY);
    shard.join(&*broker, "chat:1").await;
    assert_eq!(answer(broker.publish(request("chat:1", "live"))).await.unwrap(), None);
    assert_eq!(shard.next_data("chat:1").await, "live");
    assert_eq!(server.run::<u64>(&["EXISTS", "ullim:{chat:1}", "ullim:{chat:1}:ids"]).await, 0);
}

#[tokio::test]
async fn what_goes_with_a_publication_arrives_with_it() {
    let server = Server::running(&[]).await;
    let broker = node(&server).await;
    let mut shard = Shard::attach(&*broker, ROOMY);
    join(&mut shard, &broker, "orders:1").await;
    let entries = [("z", "first"), ("a/\"b\u{1}", "\u{e9}\n"), ("\\", "\\\"{,:}"), ("", ""), ("b", "last")];
    let headers = Headers::new(entries.map(|(name, value)| (name.to_owned(), value.to_owned())));
    for data in [Data::Text("42".into()), Data::Json("42".into()), Data::Binary("x".into()), Data::Text("".into())] {
        let mut request = request("orders:1", "");
        request.data = data.clone();
        request.headers = headers.clone();
        request.exclude = Some(SessionId([0xfb; 16]));
        answer(broker.publish(request)).await.unwrap();
        let ullim_broker::Relayed::Publication(routed) = shard.next().await else { panic!("not a publication") };
        assert_eq!(routed.publication.data, data);
        assert_eq!(routed.publication.headers, headers);
        assert_eq!(routed.exclude, Some(SessionId([0xfb; 16])));
    }
}

#[tokio::test]
async fn headers_keep_the_order_in_which_a_backend_writes_them() {
    let server = Server::running(&[]).await;
    let broker = node(&server).await;
    let mut shard = Shard::attach(&*broker, ROOMY);
    let at = join(&mut shard, &broker, "orders:1").await;
    let cases = [
        (r#"{"z":"1","b":"2","a":"3","y":"4"}"#, r#"{"z":"1","b":"2","a":"3","y":"4"}"#),
        (" {\t\"z\" :\n\"\\\"a\\\\\" , \"a\": \":,{\"} ", r#"{"z":"\"a\\","a":":,{"}"#),
        // The name is the same however it is written; the last value counts.
        (r#"{"z":"1","a":"2","\u007a":"3"}"#, r#"{"z":"3","a":"2"}"#),
        ("{}", "{}"),
    ];
    for (written, kept) in cases {
        let call = ["FCALL", "ullim_publish", "1", "ullim:{orders:1}", "x", "headers", written];
        let _: (String, u64) = server.run(&call).await;
        let ullim_broker::Relayed::Publication(routed) = shard.next().await else { panic!("not a publication") };
        assert_eq!(routed.publication.headers.as_ref().map(Headers::to_json).as_deref(), Some(kept));
    }
    let request = HistoryRequest { channel: name("orders:1"), since: Some(at), limit: 10, reverse: false };
    let history = answer(broker.history(request)).await.unwrap();
    let headers = history.publications.iter().map(|routed| routed.publication.headers.clone().unwrap().to_json());
    assert!(headers.eq(cases.map(|(_, kept)| kept)));
}

#[tokio::test]
async fn concurrent_publishers_share_one_dense_order() {
    let server = Server::running(&[]).await;
    let nodes = [node(&server).await, node(&server).await];
    let mut shards: Vec<Shard> = nodes.iter().map(|broker| Shard::attach(&**broker, ROOMY)).collect();
    let mut at = None;
    for (shard, broker) in shards.iter_mut().zip(&nodes) {
        at = Some(join(shard, broker, "orders:1").await);
    }
    let mut backend = server.client().await.unwrap();
    let mut answers = Vec::new();
    for n in 0..500 {
        let of_node = nodes[n % 2].publish(request("orders:1", &format!("node {n}")));
        answers.push(answer(of_node));
        let mut call = redis::cmd("FCALL");
        call.arg("ullim_publish").arg(1).arg("ullim:{orders:1}").arg(format!("backend {n}"));
        let _: (String, u64) = call.query_async(&mut backend).await.unwrap();
    }
    for position in join_all(answers).await {
        position.unwrap();
    }
    let mut orders: Vec<Vec<(Position, String)>> = vec![Vec::new(); 2];
    for (shard, order) in shards.iter_mut().zip(&mut orders) {
        let mut at = at.unwrap();
        for _ in 0..1000 {
            let (position, text) = heard(shard).await;
            assert_eq!(position, at.next());
            at = position;
            order.push((position, text));
        }
    }
    assert_eq!(orders[0], orders[1]);
}

#[tokio::test]
async fn a_repetition_is_answered_with_the_first_position() {
    let server = Server::running(&[]).await;
    let broker = node(&server).await;
    let with_id = |text| {
        let mut request = request("orders:1", text);
        request.id = Some("the one".to_owned());
        request
    };
    let first = answer(broker.publish(with_id("a"))).await.unwrap();
    assert_eq!(answer(broker.publish(with_id("b"))).await.unwrap(), first);
    assert_eq!(publish(&broker, "orders:1", "c").await.unwrap(), first.unwrap().next());
    // An id is the channel's own.
    let mut other = with_id("d");
    other.channel = super::wait::name("orders:2");
    assert_ne!(answer(broker.publish(other)).await.unwrap().unwrap().epoch, first.unwrap().epoch);
}
