//! Heart-beats: silence is noticed by both sides, and a quiet connection is no silent one.

use rustix::process::Signal;
use serde_json::json;
use ullim_tests::{Node, eventually, http};

use super::program::{Program, Way};
use super::server::Server;

/// Half a second both ways, which is also what the clients ask for.
async fn lively_server() -> Server {
    Server::of(Node::builder().set("hub.ping_interval", "500ms")).await
}

/// Those that beat: stomp.py's 1.0 does not know how.
const BEATING: [Way; 5] = [Way::Browser, Way::StompjsTcp, Way::Python11, Way::Python12, Way::PythonWebSocket];

async fn beating(way: Way, server: &Server) -> Program {
    let mut program = way.start();
    program.run("connect", way.to(server, json!({"beats": [500, 500]})));
    let connected = program.next("connected").await;
    assert_eq!(connected["heart-beat"], "500,500", "{way:?}: {connected}");
    program
}

/// How many connections of clients the node counts.
async fn connections(server: &Server) -> u64 {
    let metrics = http::get(&server.node.internal("/metrics")).await;
    let text = metrics.body;
    let line = text.lines().find(|line| line.starts_with("ullim_connections ")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_quiet_client_stays_connected_by_its_heart_beats() {
    const QUIET: &str = "/topic/chat:quiet";
    let server = lively_server().await;
    let mut clock = Way::Browser.start();
    clock.run("connect", Way::Browser.to(&server, json!({"beats": [500, 500], "shown": true})));
    clock.next("connected").await;
    let mut programs = Vec::new();
    for way in BEATING {
        let mut program = beating(way, &server).await;
        program.subscribe(QUIET, "1", json!({})).await;
        programs.push(program);
    }
    // The node's own beats are the clock: it cuts what it has not heard for two of them.
    for _ in 0..6 {
        clock.next("beat").await;
    }
    programs[0].send(QUIET, "still here");
    for program in &mut programs {
        program.hears(&["still here"]).await;
    }
}

#[tokio::test]
async fn a_client_that_falls_silent_is_cut() {
    let server = lively_server().await;
    for way in BEATING {
        let mut program = beating(way, &server).await;
        // The metrics are told now and then.
        eventually("the connection to be counted", async || (connections(&server).await == 1).then_some(())).await;
        program.signal(Signal::STOP);
        eventually("the end of the silent connection", async || (connections(&server).await == 0).then_some(())).await;
        program.signal(Signal::CONT);
        loop {
            let event = program.event().await;
            if event.get("closed").is_some() {
                break;
            }
            // It had heard nothing either.
            assert!(event.get("silent").or(event.get("error")).is_some(), "{way:?}: {event}");
        }
    }
}

#[tokio::test]
async fn a_client_notices_a_node_that_falls_silent() {
    let server = lively_server().await;
    let mut programs = Vec::new();
    for way in BEATING {
        programs.push((way, beating(way, &server).await));
    }
    server.node.process.signal(Signal::STOP);
    for (way, program) in &mut programs {
        // stomp.py closes first, and then says why.
        loop {
            let event = program.event().await;
            if event.get("silent").is_some() {
                break;
            }
            assert!(event.get("closed").is_some(), "{way:?}: {event}");
        }
    }
    server.node.process.signal(Signal::CONT);
}
