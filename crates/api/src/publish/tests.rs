//! What backends may send, and how the rest is refused.

use super::*;
use axum::http::HeaderValue;
use ullim_protocol::codes;

fn parsed(body: &str) -> Result<PublishRequest, Refusal> {
    parse(&Bytes::copy_from_slice(body.as_bytes()))
}

fn data(body: &str) -> Data {
    parsed(body).unwrap().data
}

#[test]
fn each_kind_of_data_has_its_field() {
    assert_eq!(data(r#"{"channel":"a","data": {"x" : 1e2} }"#), Data::Json(Bytes::from_static(br#"{"x" : 1e2}"#)));
    assert_eq!(data(r#"{"channel":"a","data":null}"#), Data::Json(Bytes::from_static(b"null")));
    assert_eq!(data(r#"{"channel":"a","text":"é\n"}"#), Data::Text(Bytes::from_static("é\n".as_bytes())));
    assert_eq!(data(r#"{"channel":"a","b64":"/wA="}"#), Data::Binary(Bytes::from_static(b"\xff\0")));
}

#[test]
fn headers_and_the_excluded_session_are_kept() {
    let request =
        parsed(r#"{"channel":"a","text":"x","headers":{"trace":"1f"},"exclude":"AAAAAAAAAAAAAAAAAAAAAQ"}"#).unwrap();
    assert_eq!(request.headers.unwrap().entries()["trace"], "1f");
    assert_eq!(request.exclude.unwrap().0[15], 1);
}

#[test]
fn whatever_is_wrong_is_refused_with_its_code() {
    let deep = format!(r#"{{"channel":"a","data":{}1{}}}"#, "[".repeat(128), "]".repeat(128));
    for (body, name) in [
        ("", "bad_message"),
        (r#"{"channel":"a"}"#, "bad_message"),
        (r#"{"channel":"a","data":1,"text":"x"}"#, "bad_message"),
        (r#"{"channel":"a","text":"x","exlude":"y"}"#, "bad_message"),
        (r#"{"channel":"a","text":"x","exclude":"y"}"#, "bad_message"),
        (r#"{"channel":"a","text":1}"#, "bad_message"),
        (r#"{"channel":"a*","text":"x"}"#, "bad_channel"),
        (r#"{"channel":"a","b64":"/wA"}"#, "bad_data"),
        (r#"{"channel":"a","data":"\ud800"}"#, "bad_data"),
        (&deep, "bad_data"),
    ] {
        let refusal = parsed(body).unwrap_err();
        assert_eq!(refusal.codes().1.name, name, "{body}");
    }
}

#[test]
fn only_the_configured_key_opens() {
    let key = Secret::new("k1");
    let with = |value: &'static str| HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static(value))]);
    assert!(authorise(Some(&key), &with("Bearer k1")).is_ok());
    assert!(authorise(Some(&key), &with("bearer k1")).is_ok());
    for headers in [HeaderMap::new(), with("Bearer k2"), with("Bearer "), with("k1"), with("Basic k1")] {
        assert!(matches!(authorise(Some(&key), &headers), Err(Refusal::Key)));
    }
    assert!(matches!(authorise(None, &with("Bearer k1")), Err(Refusal::Off)));
    assert_eq!(Refusal::Off.codes().1, &codes::PERMISSION_DENIED);
}
