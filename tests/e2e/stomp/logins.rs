//! Who is let in: users with passcodes, tokens in every place where a client can put them, and nobody else.

use serde_json::{Value, json};
use ullim_tests::{Node, NodeBuilder, token};

use super::program::{Program, Way};
use super::server::Server;

/// A node that wants to know who comes. `ullim dev` has a user `guest` with the passcode `guest`.
fn strict() -> NodeBuilder {
    Node::builder().set("auth.anonymous", "false")
}

/// What these libraries say where they say who they are.
fn login(way: Way, login: &str, passcode: &str) -> Value {
    match way {
        Way::Browser | Way::StompjsTcp => json!({"headers": {"login": login, "passcode": passcode}}),
        _ => json!({"login": login, "passcode": passcode}),
    }
}

fn with_headers(headers: &Value) -> Value {
    json!({"headers": headers})
}

async fn user(way: Way, server: &Server, more: Value) -> Value {
    let mut program = way.connect_as(server, more).await;
    program.next("connected").await["user-name"].take()
}

impl Way {
    async fn connect_as(self, server: &Server, more: Value) -> Program {
        let mut program = self.start();
        program.run("connect", self.to(server, more));
        program
    }
}

#[tokio::test]
async fn users_and_tokens_are_let_in() {
    let server = Server::of(strict()).await;
    let alice = token::good("alice");
    let bearer = format!("Bearer {alice}");
    for way in Way::ALL {
        assert_eq!(user(way, &server, login(way, "guest", "guest")).await, "guest", "{way:?}");
        assert_eq!(user(way, &server, login(way, "alice", &alice)).await, "alice", "{way:?}");
        assert_eq!(user(way, &server, with_headers(&json!({"passcode": alice}))).await, "alice", "{way:?}");
        assert_eq!(user(way, &server, with_headers(&json!({"token": alice}))).await, "alice", "{way:?}");
        assert_eq!(user(way, &server, with_headers(&json!({"Authorization": bearer}))).await, "alice", "{way:?}");
    }
}

#[tokio::test]
async fn the_handshakes_token_counts_where_connect_has_none() {
    let server = Server::of(strict()).await;
    let (alice, bob) = (token::good("alice"), token::good("bob"));
    let upgrade = json!({"upgrade": {"Authorization": format!("Bearer {alice}")}});
    let mut program = Way::Browser.connect_as(&server, upgrade).await;
    program.next("subprotocol").await;
    assert_eq!(program.next("connected").await["user-name"], "alice");
    let url = json!(format!("{}?token={alice}", server.ws()));
    for way in [Way::Browser, Way::PythonWebSocket] {
        assert_eq!(user(way, &server, json!({"url": url})).await, "alice", "{way:?}");
        let both = json!({"url": url, "headers": {"token": bob}});
        assert_eq!(user(way, &server, both).await, "bob", "{way:?}");
    }
}

#[tokio::test]
async fn whoever_is_wrong_or_says_nothing_is_refused() {
    let server = Server::of(strict()).await;
    let forged = token::signed_by("another secret", &json!({"alg": "HS256"}), &token::claims("alice"));
    for way in Way::ALL {
        let wrong = [
            json!({}),
            login(way, "guest", "gast"),
            login(way, "nobody", "guest"),
            login(way, "alice", &forged),
            with_headers(&json!({"token": forged})),
            with_headers(&json!({"Authorization": format!("Bearer {forged}")})),
        ];
        for wrong in wrong {
            let mut program = way.connect_as(&server, wrong.clone()).await;
            let error = program.next("error").await;
            assert!(error["headers"]["message"].is_string(), "{way:?} {wrong}: {error}");
            assert!(error["headers"]["code"].is_string(), "{way:?} {wrong}: {error}");
            program.next("closed").await;
        }
    }
}

#[tokio::test]
async fn where_anonymous_clients_are_let_in_they_have_no_name() {
    let server = Server::start().await;
    for way in Way::ALL {
        assert_eq!(user(way, &server, json!({})).await, Value::Null, "{way:?}");
    }
}
