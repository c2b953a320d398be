//! What backends may publish, and how the rest is refused.

use super::*;

fn parsed(body: &str) -> Result<PublishRequest, Refusal> {
    let (channel, content) = for_one(&Bytes::copy_from_slice(body.as_bytes()))?;
    Ok(content.to(ChannelName::parse(&channel).unwrap()))
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
        parsed(r#"{"channel":"a","text":"x","headers":{"trace":"1f","a":"2"},"exclude":"AAAAAAAAAAAAAAAAAAAAAQ"}"#)
            .unwrap();
    assert_eq!(request.headers.unwrap().to_json(), r#"{"trace":"1f","a":"2"}"#);
    assert_eq!(request.exclude.unwrap().0[15], 1);
}

#[test]
fn several_channels_are_named_by_a_field_of_their_own() {
    let many = |body: &str| for_many(&Bytes::copy_from_slice(body.as_bytes()), 2);
    let (channels, content) = many(r#"{"channels":["b","a"],"text":"x"}"#).unwrap();
    assert_eq!(channels, ["b", "a"]);
    assert_eq!(content.data, Data::Text(Bytes::from_static(b"x")));
    for body in [
        r#"{"channels":[],"text":"x"}"#,
        r#"{"channels":["a","b","c"],"text":"x"}"#,
        r#"{"channels":["a",1],"text":"x"}"#,
        r#"{"channels":"a","text":"x"}"#,
        r#"{"channels":null,"text":"x"}"#,
        r#"{"channels":["a"],"channel":"a","text":"x"}"#,
        r#"{"channel":"a","text":"x"}"#,
        r#"{"channels":["a"]}"#,
    ] {
        assert_eq!(many(body).unwrap_err().codes().1.name, "bad_message", "{body}");
    }
}

#[test]
fn whatever_is_wrong_is_refused_with_its_code() {
    let deep = format!(r#"{{"channel":"a","data":{}1{}}}"#, "[".repeat(128), "]".repeat(128));
    let deeper = "[".repeat(1_000_000);
    let headers: Vec<_> = (0..17).map(|number| format!("\"{number}\":\"\"")).collect();
    let many_headers = format!(r#"{{"channel":"a","text":"x","headers":{{{}}}}}"#, headers.join(","));
    for (body, name) in [
        ("", "bad_message"),
        ("null", "bad_message"),
        ("[]", "bad_message"),
        (r#"["a",null,1]"#, "bad_message"),
        (r#"{"channel":"a","text":"x"} {}"#, "bad_message"),
        (r#"{"channel":"a"}"#, "bad_message"),
        (r#"{"text":"x"}"#, "bad_message"),
        (r#"{"channel":"a","channels":["a"],"text":"x"}"#, "bad_message"),
        (r#"{"channel":"a","channel":"a","text":"x"}"#, "bad_message"),
        (r#"{"channel":"a","data":1,"data":1}"#, "bad_message"),
        (r#"{"channel":"a","data":1,"text":"x"}"#, "bad_message"),
        (r#"{"channel":"a","data":1,"text":null}"#, "bad_message"),
        (r#"{"channel":"a","text":"x","headers":null}"#, "bad_message"),
        (r#"{"channel":"a","text":"x","headers":["a"]}"#, "bad_message"),
        (r#"{"channel":"a","text":"x","headers":{"a":1}}"#, "bad_message"),
        (r#"{"channel":"a","text":"x","headers":{"a":"1","a":"1"}}"#, "bad_message"),
        (r#"{"channel":"a","text":"x","exlude":"y"}"#, "bad_message"),
        (r#"{"channel":"a","text":"x","exclude":"y"}"#, "bad_message"),
        (r#"{"channel":"a","text":"x","exclude":null}"#, "bad_message"),
        (r#"{"channel":"a","text":1}"#, "bad_message"),
        (r#"{"channel":"a","text":"\ud800"}"#, "bad_message"),
        (r#"{"channel":7,"text":"x"}"#, "bad_message"),
        (&deeper, "bad_message"),
        (r#"{"channel":"a","b64":"/wA"}"#, "bad_data"),
        (r#"{"channel":"a","data":"\ud800"}"#, "bad_data"),
        (r#"{"channel":"a","data":1e999}"#, "bad_data"),
        (&deep, "bad_data"),
        (&many_headers, "bad_data"),
    ] {
        let refusal = parsed(body).unwrap_err();
        assert_eq!(refusal.codes().1.name, name, "{body}");
    }
    let invalid = Bytes::from_static(b"{\"channel\":\"a\",\"data\":\"\xff\"}");
    assert_eq!(for_one(&invalid).unwrap_err().codes().1.name, "bad_message");
}
