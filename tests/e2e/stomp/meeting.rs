//! One channel of two nodes: STOMP, the native protocol and plain Redis publish to it and subscribe to it.

use std::process::Command;

use serde_json::json;
use tempfile::TempDir;
use ullim_tests::{Client, Encoding, Node, Process, Redis, eventually};

use super::program::{Program, Way};
use super::server::Server;

const EACH: usize = 50;

/// What `redis-cli SUBSCRIBE` has printed of payloads so far.
fn payloads(subscriber: &Process) -> Vec<String> {
    let printed = subscriber.stdout();
    let complete = printed.rsplit_once('\n').map_or("", |(complete, _)| complete);
    let lines: Vec<_> = complete.lines().collect();
    let messages = lines.chunks(3).filter(|lines| lines.len() == 3 && lines[0] == "message");
    messages.map(|lines| lines[2].to_owned()).collect()
}

/// Asserts that each publisher's numbers came once and in order.
fn in_order(who: &str, heard: &[String]) {
    assert_eq!(heard.len(), 3 * EACH, "{who}: {heard:?}");
    for from in ["stomp", "native", "redis"] {
        let mine = heard.iter().filter(|text| text.starts_with(from));
        let expected = (0..EACH).map(|number| format!("{from} {number}"));
        assert!(mine.cloned().eq(expected), "{who} of {from}: {heard:?}");
    }
}

#[tokio::test]
async fn stomp_native_clients_and_redis_meet_on_one_channel() {
    let redis = Redis::start().await;
    let servers = [Server::of(Node::builder().redis(&redis)).await, Server::of(Node::builder().redis(&redis)).await];
    let mut natives = Vec::new();
    let mut programs: Vec<(Way, Program)> = Vec::new();
    for server in &servers {
        natives.push(Client::subscribed(&server.node, "chat:all").await);
        for way in Way::ALL {
            let mut program = way.connect(server).await;
            program.subscribe("/topic/chat:all", "all", json!({})).await;
            programs.push((way, program));
        }
    }
    let folder = TempDir::new().unwrap();
    let mut command = Command::new("redis-cli");
    command.args(["-h", "127.0.0.1", "-p", &redis.address().port().to_string(), "SUBSCRIBE", "ullim:{chat:all}"]);
    let subscriber = Process::start("redis-cli", &mut command, folder.path());
    eventually("redis-cli's subscription", async || subscriber.stdout().contains("subscribe").then_some(())).await;

    let mut native = Client::connect(&servers[1].node, Encoding::Json).await;
    for number in 0..EACH {
        programs[0].1.send("/topic/chat:all", &format!("stomp {number}"));
        let text = json!({"channel": "chat:all", "text": format!("native {number}")});
        native.ok("publish", text).await;
        redis.publish("chat:all", &format!("redis {number}"));
    }

    let raw = eventually("all payloads in redis-cli", async || {
        let payloads = payloads(&subscriber);
        (payloads.len() >= 3 * EACH).then_some(payloads)
    })
    .await;
    in_order("redis-cli", &raw);
    for mut native in natives {
        let mut heard = Vec::new();
        for _ in 0..3 * EACH {
            heard.push(native.publication("chat:all").await["text"].as_str().unwrap().to_owned());
        }
        // Redis' order is everybody's.
        assert_eq!(heard, raw, "a native client");
    }
    for (way, mut program) in programs {
        let mut heard = Vec::new();
        for _ in 0..3 * EACH {
            heard.push(program.message().await.body().to_owned());
        }
        assert_eq!(heard, raw, "{way:?}");
    }
}
