//! What is wrong is answered by an ERROR that says so, and by the end of the connection.

use serde_json::{Value, json};

use super::program::{Program, Way};
use super::server::Server;

/// The next event is an ERROR, then the connection ends: the ERROR's headers.
async fn refused(program: &mut Program) -> Value {
    let error = program.next("error").await;
    let headers = error["headers"].clone();
    assert!(headers["message"].as_str().is_some_and(|message| !message.is_empty()), "{error}");
    program.next("closed").await;
    headers
}

#[tokio::test]
async fn a_wrong_frame_is_answered_by_an_error_with_its_receipt() {
    let server = Server::start().await;
    let send = |destination: &str| json!({"destination": destination, "headers": {"receipt": "r"}, "body": ""});
    let wrong = [
        ("send", send("/nowhere/x")),
        ("send", send("chat:1")),
        ("send", send("/topic/")),
        ("send", send("/topic/nothing:1")),
        ("subscribe", json!({"destination": "/exchange/x", "headers": {"id": "2", "receipt": "r"}})),
        ("subscribe", json!({"destination": "/topic/chat:2", "headers": {"id": "1", "receipt": "r"}})),
        ("subscribe", json!({"destination": "/topic/chat:2", "headers": {"id": "2", "ack": "never", "receipt": "r"}})),
        ("subscribe", json!({"destination": "/queue/q", "headers": {"id": "2", "ack": "client", "receipt": "r"}})),
        ("unsubscribe", json!({"id": "nobody", "headers": {"receipt": "r"}})),
    ];
    for way in [Way::Browser, Way::StompjsTcp, Way::Python11, Way::Python12, Way::PythonWebSocket] {
        for (command, body) in &wrong {
            let mut program = way.connect(&server).await;
            program.subscribe("/topic/chat:1", "1", json!({})).await;
            program.run(command, body.clone());
            let headers = refused(&mut program).await;
            assert_eq!(headers["receipt-id"], "r", "{way:?}, {command} {body}: {headers}");
        }
    }
}

#[tokio::test]
async fn an_error_that_has_a_number_tells_it() {
    let server = Server::start().await;
    // The clients of `news` may only listen.
    for way in Way::ALL {
        let mut program = way.connect(&server).await;
        program.send("/topic/news:1", "fake");
        let headers = refused(&mut program).await;
        assert_eq!((&headers["code"], &headers["name"]), (&json!("103"), &json!("permission_denied")), "{way:?}");
    }
}

#[tokio::test]
async fn frames_that_libraries_do_not_send_are_refused_too() {
    let server = Server::start().await;
    let wrong = [
        json!({"command": "GREET", "headers": {"receipt": "r"}}),
        json!({"command": "CONNECT", "headers": {"accept-version": "1.2", "receipt": "r"}}),
        json!({"command": "SEND", "headers": {"receipt": "r"}, "body": "nowhere"}),
        json!({"command": "SUBSCRIBE", "headers": {"destination": "/topic/chat:1", "receipt": "r"}}),
        json!({"command": "ACK", "headers": {"id": "nothing", "message-id": "nothing", "receipt": "r"}}),
        json!({"command": "BEGIN", "headers": {"receipt": "r"}}),
        json!({"command": "COMMIT", "headers": {"transaction": "never begun", "receipt": "r"}}),
        json!({"command": "ABORT", "headers": {"transaction": "never begun", "receipt": "r"}}),
        json!({"command": "SEND", "headers": {"destination": "/topic/chat:1", "transaction": "never", "receipt": "r"}}),
        json!({"command": "SEND", "headers": {"destination": "/topic/chat:1", "content-length": "-1", "receipt": "r"}}),
    ];
    for way in [Way::Python11, Way::Python12, Way::PythonWebSocket] {
        for frame in &wrong {
            let mut program = way.connect(&server).await;
            program.run("frame", frame.clone());
            let headers = refused(&mut program).await;
            assert_eq!(headers["receipt-id"], "r", "{way:?}, {frame}: {headers}");
        }
    }
}

#[tokio::test]
async fn a_version_that_is_not_known_is_refused_with_those_that_are() {
    let server = Server::start().await;
    for way in [Way::Browser, Way::StompjsTcp] {
        let mut program = way.start();
        program.run("connect", way.to(&server, json!({"versions": ["2.0", "0.9"]})));
        let headers = refused(&mut program).await;
        assert_eq!(headers["version"], "1.0,1.1,1.2", "{way:?}: {headers}");
    }
}

#[tokio::test]
async fn the_highest_version_that_both_know_is_spoken() {
    let server = Server::start().await;
    for way in [Way::Browser, Way::StompjsTcp] {
        for (offered, chosen) in
            [(json!(["1.0"]), "1.0"), (json!(["1.1", "1.0"]), "1.1"), (json!(["3.0", "1.1"]), "1.1")]
        {
            let mut program = way.start();
            program.run("connect", way.to(&server, json!({"versions": offered})));
            let connected = program.next("connected").await;
            assert_eq!(connected["version"], chosen, "{way:?}: {connected}");
        }
    }
}

#[tokio::test]
async fn the_first_subprotocol_that_the_node_knows_is_chosen() {
    let server = Server::start().await;
    let offers = [
        (json!(["v12.stomp", "v11.stomp", "v10.stomp"]), json!("v12.stomp"), json!(["1.2", "1.1", "1.0"])),
        (json!(["v11.stomp"]), json!("v11.stomp"), json!(["1.1"])),
        (json!(["v10.stomp"]), json!("v10.stomp"), json!(["1.0"])),
        (json!([]), Value::Null, json!(["1.2"])),
    ];
    for (offered, chosen, versions) in offers {
        let mut program = Way::Browser.start();
        program.run("connect", Way::Browser.to(&server, json!({"protocols": offered, "versions": versions})));
        assert_eq!(program.next("subprotocol").await, chosen, "{offered}");
        assert_eq!(program.next("connected").await["version"], versions[0], "{offered}");
    }
}
