//! Acknowledgements open the window of a subscription: what does not fit waits, and nothing comes twice.

use serde_json::json;

use super::program::{Message, Program, Way};
use super::server::Server;

const JOBS: &str = "/topic/chat:jobs";

/// A program whose subscription `windowed` takes two messages at a time, beside one that takes all.
async fn windowed(way: Way, server: &Server, ack: &str) -> Program {
    let mut program = way.connect(server).await;
    program.subscribe(JOBS, "windowed", json!({"ack": ack, "prefetch-count": "2"})).await;
    program.subscribe(JOBS, "all", json!({})).await;
    program
}

/// What came to `windowed` when `all` has heard `count` messages, and the node has nothing more to say.
async fn first(program: &mut Program, count: usize) -> Vec<Message> {
    let mut messages = Vec::new();
    while messages.iter().filter(|message: &&Message| message.header("subscription") == "all").count() < count {
        messages.push(program.message().await);
    }
    messages.extend(program.messages_so_far().await);
    messages.retain(|message| message.header("subscription") == "windowed");
    messages
}

/// The messages with these bodies come next, and nothing else.
async fn then(program: &mut Program, bodies: &[&str]) -> Vec<Message> {
    let mut messages = Vec::new();
    for body in bodies {
        let message = program.message().await;
        assert_eq!((message.body(), message.header("subscription")), (*body, "windowed"));
        messages.push(message);
    }
    let more = program.messages_so_far().await;
    assert!(more.is_empty(), "{more:?}");
    messages
}

fn bodies(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(Message::body).collect()
}

#[tokio::test]
async fn an_individual_acknowledgement_makes_room_for_one() {
    let server = Server::start().await;
    for way in Way::ALL {
        let mut program = windowed(way, &server, "client-individual").await;
        for body in ["1", "2", "3", "4"] {
            program.send(JOBS, body);
        }
        let first = first(&mut program, 4).await;
        assert_eq!(bodies(&first), ["1", "2"], "{way:?}");
        if way.version() == "1.2" {
            assert_eq!(first[0].header("ack"), first[0].header("message-id"), "{way:?}: {first:?}");
        }
        program.run("ack", first[1].answer(json!({})));
        then(&mut program, &["3"]).await;
        // A message that was refused is not sent again.
        program.run(if way.version() == "1.0" { "ack" } else { "nack" }, first[0].answer(json!({})));
        then(&mut program, &["4"]).await;
    }
}

#[tokio::test]
async fn a_cumulative_acknowledgement_makes_room_for_all_before_it() {
    let server = Server::start().await;
    for way in Way::ALL {
        let mut program = windowed(way, &server, "client").await;
        for body in ["1", "2", "3", "4", "5"] {
            program.send(JOBS, body);
        }
        let first = first(&mut program, 5).await;
        assert_eq!(bodies(&first), ["1", "2"], "{way:?}");
        program.run("ack", first[1].answer(json!({})));
        let second = then(&mut program, &["3", "4"]).await;
        program.run("ack", second[0].answer(json!({})));
        then(&mut program, &["5"]).await;
    }
}

#[tokio::test]
async fn an_acknowledgement_in_a_transaction_counts_when_it_is_committed() {
    let server = Server::start().await;
    for way in Way::ALL {
        let mut program = windowed(way, &server, "client-individual").await;
        for body in ["1", "2", "3"] {
            program.send(JOBS, body);
        }
        let first = first(&mut program, 3).await;
        assert_eq!(bodies(&first), ["1", "2"], "{way:?}");
        program.run("begin", json!("tx"));
        program.run("ack", first[0].answer(json!({"transaction": "tx"})));
        assert!(program.messages_so_far().await.is_empty(), "{way:?}");
        program.run("commit", json!("tx"));
        then(&mut program, &["3"]).await;
    }
}
