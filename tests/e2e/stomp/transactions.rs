//! A transaction is sent whole at COMMIT, or never.

use serde_json::json;

use super::program::Way;
use super::server::Server;

const ACCOUNT: &str = "/topic/chat:account";

#[tokio::test]
async fn nothing_of_a_transaction_is_sent_before_its_commit() {
    let server = Server::start().await;
    for way in Way::ALL {
        let mut program = way.connect(&server).await;
        program.subscribe(ACCOUNT, "1", json!({})).await;
        let send = |body: &str, transaction: &str| json!({"destination": ACCOUNT, "headers": {"transaction": transaction}, "body": body});
        program.run("begin", json!("kept"));
        program.run("begin", json!("dropped"));
        program.run("send", send("a", "kept"));
        program.run("send", send("x", "dropped"));
        program.run("send", send("b", "kept"));
        program.send(ACCOUNT, "outside");
        let outside = program.message().await;
        assert_eq!(outside.body(), "outside", "{way:?}");
        program.run("abort", json!("dropped"));
        program.run("commit", json!("kept"));
        for body in ["a", "b"] {
            let message = program.message().await;
            assert_eq!((message.body(), message.headers().get("transaction")), (body, None), "{way:?}");
        }
        // The name is free again, and what it meant before is forgotten.
        program.run("begin", json!("dropped"));
        program.run("send", send("c", "dropped"));
        program.run("commit", json!("dropped"));
        program.hears(&["c"]).await;
    }
}

#[tokio::test]
async fn a_transaction_of_a_connection_that_ends_is_never_sent() {
    let server = Server::start().await;
    let mut listener = Way::Browser.connect(&server).await;
    listener.subscribe(ACCOUNT, "1", json!({})).await;
    let mut program = Way::StompjsTcp.connect(&server).await;
    program.run("begin", json!("tx"));
    program.run("send", json!({"destination": ACCOUNT, "headers": {"transaction": "tx"}, "body": "lost"}));
    program.disconnect().await;
    listener.send(ACCOUNT, "heard");
    listener.hears(&["heard"]).await;
}
