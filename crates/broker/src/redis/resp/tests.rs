//! Golden vectors, hostile input, and input that is cut anywhere.

use proptest::prelude::*;

use super::*;

const LIMIT: usize = 64;

fn read_all(parts: &[&[u8]]) -> Result<Vec<Value>, Malformed> {
    let mut reader = Reader::new(LIMIT);
    let mut values = Vec::new();
    for part in parts {
        let mut rest = *part;
        while let Some(value) = reader.next(&mut rest)? {
            values.push(value);
        }
        assert!(rest.is_empty());
    }
    Ok(values)
}

/// The same, with the messages that lie whole read in place.
fn read_all_in_place(parts: &[&[u8]]) -> Result<Vec<Value>, Malformed> {
    let mut reader = Reader::new(LIMIT);
    let mut values = Vec::new();
    for part in parts {
        let mut rest = *part;
        loop {
            let value = match reader.message(&mut rest) {
                Some(Message { channel, payload }) => {
                    let copied = |bytes| Value::Text(Bytes::copy_from_slice(bytes));
                    Value::Push(vec![text("message"), copied(channel), copied(payload)])
                }
                None => match reader.next(&mut rest)? {
                    Some(value) => value,
                    None => break,
                },
            };
            values.push(value);
        }
    }
    Ok(values)
}

fn text(text: &str) -> Value {
    Value::Text(Bytes::copy_from_slice(text.as_bytes()))
}

#[test]
fn golden_vectors() {
    use Value::{Integer, List, Null, Other, Oversized, Push};
    let cases: Vec<(&str, Vec<Value>)> = vec![
        ("+OK\r\n", vec![text("OK")]),
        ("+PONG\r\n:-12\r\n_\r\n", vec![text("PONG"), Integer(-12), Null]),
        ("-NOAUTH no\r\n", vec![Value::Error(Bytes::from_static(b"NOAUTH no"))]),
        ("!5\r\nERR x\r\n", vec![Value::Error(Bytes::from_static(b"ERR x"))]),
        ("$0\r\n\r\n$3\r\na\r\n\r\n$-1\r\n*-1\r\n", vec![text(""), text("a\r\n"), Null, Null]),
        ("#t\r\n,1.5\r\n(12345678901234567890\r\n", vec![Other, Other, Other]),
        ("=7\r\ntxt:abc\r\n", vec![text("txt:abc")]),
        ("*0\r\n*2\r\n:1\r\n*1\r\n:2\r\n", vec![List(vec![]), List(vec![Integer(1), List(vec![Integer(2)])])]),
        ("%1\r\n+proto\r\n:3\r\n", vec![List(vec![text("proto"), Integer(3)])]),
        (">3\r\n$9\r\nsubscribe\r\n$3\r\na:b\r\n:1\r\n", vec![Push(vec![text("subscribe"), text("a:b"), Integer(1)])]),
        (
            ">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n+PONG\r\n",
            vec![Push(vec![text("message"), text("c"), text("hi")]), text("PONG")],
        ),
        ("|1\r\n+key\r\n*1\r\n:5\r\n:7\r\n", vec![Integer(7)]),
        ("|0\r\n*2\r\n|1\r\n+k\r\n+v\r\n:1\r\n:2\r\n", vec![List(vec![Integer(1), Integer(2)])]),
        (
            concat!(
                ">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$57\r\n",
                "0123456789012345678901234567890123456789012345678901234\r\n\r\n:1\r\n",
            ),
            vec![Push(vec![text("message"), text("c"), Oversized(57)]), Integer(1)],
        ),
    ];
    for (input, expected) in cases {
        assert_eq!(read_all(&[input.as_bytes()]), Ok(expected.clone()), "{input:?}");
        let bytes: Vec<&[u8]> = input.as_bytes().chunks(1).collect();
        assert_eq!(read_all(&bytes), Ok(expected), "{input:?} byte by byte");
    }
}

#[test]
fn what_is_not_resp3_is_refused() {
    let deep = "*1\r\n".repeat(9);
    let long = format!("+{}", "x".repeat(MAX_LINE));
    let many = "*4000\r\n*4000\r\n".to_owned() + &":1\r\n".repeat(4096);
    let cases: Vec<(&str, Malformed)> = vec![
        ("HTTP/1.1 400\r\n", Malformed::Type(b'H')),
        ("\r\n", Malformed::Line),
        ("+OK\n", Malformed::Line),
        (&long, Malformed::Line),
        (":\r\n", Malformed::Number),
        (":+1\r\n", Malformed::Number),
        (": 1\r\n", Malformed::Number),
        (":99999999999999999999\r\n", Malformed::Number),
        ("$-2\r\n", Malformed::Number),
        ("$?\r\n", Malformed::Number),
        ("$4294967297\r\n", Malformed::Number),
        ("$2\r\nabc\r\n", Malformed::End),
        ("*-2\r\n", Malformed::Number),
        (">-1\r\n", Malformed::Number),
        ("*4097\r\n", Malformed::Bounds),
        ("*9223372036854775807\r\n", Malformed::Bounds),
        (&deep, Malformed::Bounds),
        (&many, Malformed::Bounds),
        ("*1\r\n>1\r\n", Malformed::Type(b'>')),
    ];
    for (input, expected) in cases {
        assert_eq!(read_all(&[input.as_bytes()]), Err(expected), "{:.40}", input);
    }
}

#[test]
fn a_claimed_length_takes_no_memory() {
    let mut reader = Reader::new(1 << 40);
    let mut input: &[u8] = b"$4294967296\r\nabc";
    assert_eq!(reader.next(&mut input), Ok(None));
    let State::Text { kept, .. } = &reader.state else { panic!("{reader:?}") };
    assert!(kept.capacity() < 100);
}

#[test]
fn strings_of_one_reply_share_the_limit() {
    let half = format!("$40\r\n{}\r\n", "x".repeat(40));
    let values = read_all(&[format!("*2\r\n{half}{half}{half}").as_bytes()]).unwrap();
    let whole = text(&"x".repeat(40));
    assert_eq!(values, [Value::List(vec![whole.clone(), Value::Oversized(40)]), whole]);
}

fn encoded(value: &Value, out: &mut Vec<u8>) {
    let bulk = |kind: char, bytes: &[u8], out: &mut Vec<u8>| {
        out.extend_from_slice(format!("{kind}{}\r\n", bytes.len()).as_bytes());
        out.extend_from_slice(bytes);
        out.extend_from_slice(b"\r\n");
    };
    match value {
        Value::Text(bytes) => bulk('$', bytes, out),
        Value::Error(bytes) => bulk('!', bytes, out),
        Value::Oversized(length) => bulk('$', &vec![b'\n'; *length as usize], out),
        Value::Integer(number) => out.extend_from_slice(format!(":{number}\r\n").as_bytes()),
        Value::Null => out.extend_from_slice(b"_\r\n"),
        Value::Other => out.extend_from_slice(b"#f\r\n"),
        Value::List(values) | Value::Push(values) => {
            let kind = if matches!(value, Value::Push(_)) { '>' } else { '*' };
            out.extend_from_slice(format!("{kind}{}\r\n", values.len()).as_bytes());
            values.iter().for_each(|value| encoded(value, out));
        }
    }
}

/// Messages, what looks like one, and what comes between them.
fn messages() -> impl Strategy<Value = Vec<u8>> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..40);
    let message = (bytes.clone(), bytes).prop_map(|(channel, payload)| {
        let mut out = Vec::new();
        let parts = [b"message".to_vec(), channel, payload].map(|part| Value::Text(part.into()));
        encoded(&Value::Push(parts.into()), &mut out);
        out
    });
    let broken = prop_oneof![
        Just(">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n:1\r\n"),
        Just(">3\r\n$7\r\nmessage\r\n$01\r\nc\r\n$0\r\n\r\n"),
        Just(">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$-1\r\n"),
        Just(">3\r\n$7\r\nmessage\r\n$1\r\ncd\r\n$1\r\n"),
        Just(">3\r\n$7\r\nmessage\r\n$\r\n"),
        Just(">3\r\n$7\r\nmessage\r\n$0000000001\r\nc\r\n$0\r\n\r\n"),
        Just("*1\r\n"),
        Just("|1\r\n+key\r\n"),
        Just("+PONG\r\n"),
    ];
    prop_oneof![3 => message, 1 => broken.prop_map(|text| text.as_bytes().to_vec())]
}

fn values() -> impl Strategy<Value = Value> {
    let text = proptest::collection::vec(any::<u8>(), 0..3).prop_map(Bytes::from);
    let leaf = prop_oneof![
        text.clone().prop_map(Value::Text),
        text.prop_map(Value::Error),
        (LIMIT as u64 + 1..200).prop_map(Value::Oversized),
        any::<i64>().prop_map(Value::Integer),
        Just(Value::Null),
        Just(Value::Other),
    ];
    let nested = leaf.prop_recursive(3, 16, 4, |inner| proptest::collection::vec(inner, 0..4).prop_map(Value::List));
    let push = proptest::collection::vec(nested.clone(), 0..4).prop_map(Value::Push);
    prop_oneof![nested, push]
}

proptest! {
    #[test]
    fn values_survive_any_cut(
        values in proptest::collection::vec(values(), 1..6),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut stream = Vec::new();
        values.iter().for_each(|value| encoded(value, &mut stream));
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let parts: Vec<&[u8]> = cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]).collect();
        prop_assert_eq!(read_all(&parts), Ok(values));
    }

    #[test]
    fn a_message_is_the_same_in_place_and_copied(
        stream in proptest::collection::vec(messages(), 1..5),
        cut in any::<prop::sample::Index>(),
    ) {
        let stream = stream.concat();
        let (before, after) = stream.split_at(cut.index(stream.len() + 1));
        prop_assert_eq!(read_all_in_place(&[before, after]), read_all(&[before, after]));
    }

    #[test]
    fn any_bytes_are_read_or_refused(input in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_all(&[&input]);
    }

    #[test]
    fn almost_resp_is_read_or_refused(input in "[+\\-:$*%>|_#=!0-9a\r\n]{0,80}|([*%>|$:][0-9]{1,2}\r\n){0,20}") {
        let _ = read_all(&[input.as_bytes()]);
    }
}
