//! What there is, and what is answered where there is nothing.

use ullim_api::Config;

use crate::fixture::{assert_refused, listener, listener_with, parts};

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"];

#[tokio::test]
async fn each_path_takes_the_methods_of_the_document_and_names_them_to_others() {
    let listener = listener().await;
    let (status, document) = parts(&listener.get("/api/openapi.json").await);
    assert_eq!(status, 200);
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 13);
    for (path, operations) in paths {
        for method in METHODS {
            let described = if method == "HEAD" { "get".to_owned() } else { method.to_lowercase() };
            let answer = listener.ask(method, path, "", "").await;
            if operations.get(described).is_some() {
                assert!(!answer.starts_with("HTTP/1.1 405"), "{method} {path}: {answer}");
            } else if method == "HEAD" {
                assert!(answer.starts_with("HTTP/1.1 405"), "{method} {path}: {answer}");
            } else {
                assert_refused(&answer, 405, "unknown_command");
                let allowed = if operations.get("get").is_some() { "allow: GET,HEAD\r\n" } else { "allow: POST\r\n" };
                assert!(answer.contains(allowed), "{method} {path}: {answer}");
            }
        }
    }
}

#[tokio::test]
async fn other_paths_are_answered_in_json() {
    let listener = listener().await;
    for path in ["/", "/api", "/api/", "/api/publish/", "/api//publish", "/API/publish", "/health", "/%00", "/*"] {
        assert_refused(&listener.post(path, "{}").await, 404, "unknown_command");
        assert_refused(&listener.get(path).await, 404, "unknown_command");
    }
}

#[tokio::test]
async fn without_a_key_the_api_is_off_and_still_described() {
    let listener = listener_with(Config::default()).await;
    let body = r#"{"channel":"chat:1","text":"x"}"#;
    for path in ["publish", "publish_many", "presence", "presence_count", "channels", "disconnect", "unsubscribe"] {
        let refused = listener.ask("POST", &format!("/api/{path}"), "", body).await;
        assert_refused(&refused, 403, "permission_denied");
        assert!(refused.contains("internal.api_key"), "{refused}");
    }
    assert_eq!(parts(&listener.get("/api/openapi.json").await).0, 200);
    assert!(listener.broker.channels_heard().is_empty());
}
