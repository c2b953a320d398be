//! JSON as most backends write it, recognised in one walk over its bytes: no escapes, no fractions, not deep. It never
//! takes what is not JSON; what it does not take may still be.

/// The deepest nesting.
const DEPTH: u8 = 16;

/// The most digits of a number: fewer than a double can hold.
const DIGITS: usize = 15;

/// Whether `text` is JSON of the plain kind.
pub(super) fn is_plain(text: &str) -> bool {
    let mut rest = text.as_bytes();
    value(&mut rest, DEPTH) && rest.is_empty()
}

fn value(rest: &mut &[u8], depth: u8) -> bool {
    match rest.first() {
        Some(b'{') => items(rest, b'}', depth, |rest, depth| string(rest) && take(rest, b':') && value(rest, depth)),
        Some(b'[') => items(rest, b']', depth, value),
        Some(b'"') => string(rest),
        Some(b'-' | b'0'..=b'9') => integer(rest),
        _ => [&b"true"[..], b"false", b"null"].iter().any(|literal| take_all(rest, literal)),
    }
}

/// Items between commas, from an opening bracket to `end`.
fn items(rest: &mut &[u8], end: u8, depth: u8, item: impl Fn(&mut &[u8], u8) -> bool) -> bool {
    let Some(within) = depth.checked_sub(1) else { return false };
    *rest = &rest[1..];
    if take_all(rest, &[end]) {
        return true;
    }
    while item(rest, within) {
        if take_all(rest, &[end]) {
            return true;
        }
        if !take(rest, b',') {
            return false;
        }
    }
    false
}

fn string(rest: &mut &[u8]) -> bool {
    let Some(text) = rest.strip_prefix(b"\"") else { return false };
    match text.iter().position(|&byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        Some(end) if text[end] == b'"' => {
            *rest = &text[end + 1..];
            true
        }
        _ => false,
    }
}

fn integer(rest: &mut &[u8]) -> bool {
    let digits = rest.strip_prefix(b"-").unwrap_or(rest);
    let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let after = &digits[count..];
    let is_short = (1..=DIGITS).contains(&count) && (count == 1 || digits[0] != b'0');
    // Behind a point or an exponent it is another kind of number.
    let is_integer = is_short && !matches!(after.first(), Some(b'.' | b'e' | b'E'));
    *rest = after;
    is_integer
}

/// Takes a byte, and the space that most libraries write behind it.
fn take(rest: &mut &[u8], byte: u8) -> bool {
    let is_there = take_all(rest, &[byte]);
    *rest = rest.strip_prefix(b" ").filter(|_| is_there).unwrap_or(rest);
    is_there
}

fn take_all(rest: &mut &[u8], expected: &[u8]) -> bool {
    let after = rest.strip_prefix(expected);
    *rest = after.unwrap_or(rest);
    after.is_some()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_backends_write_is_plain() {
        for text in [
            r#"{"text":"hello","id":17,"of":[1,-2,0,true,null],"in":{}}"#,
            r#"{"text": "안녕", "list": [], "deep": [[[]]]}"#,
            "0",
            "\"\"",
            "[]",
        ] {
            assert!(is_plain(text), "{text}");
        }
    }

    #[test]
    fn what_is_not_json_is_not_plain() {
        for text in [
            "",
            " ",
            "{",
            "}",
            "[1,]",
            "[,1]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{1:2}",
            "01",
            "-",
            "--1",
            "1a",
            "+1",
            "tru",
            "truex",
            "[1 2]",
            "\"a",
            "\"\n\"",
            "\"a\"b",
            "[]]",
            "nul",
            "1234567890123456",
            "1.",
            "1e",
            "-01",
        ] {
            assert!(!is_plain(text), "{text}");
        }
        assert!(is_plain(&format!("{}{}", "[".repeat(16), "]".repeat(16))));
        assert!(!is_plain(&format!("{}{}", "[".repeat(17), "]".repeat(17))));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn nothing_is_plain_that_is_not_json(text in r#"[\[\]{}",:0-9eE.\-+ \\\n ab튜truefalsn]{0,24}"#) {
            if is_plain(&text) {
                prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{}", text);
            }
        }

        #[test]
        fn json_that_lost_or_won_a_byte_is_judged_as_it_is(at in 0_usize..60, byte in any::<u8>(), insert in any::<bool>()) {
            let mut bytes = br#"{"text":"hello","id":17,"of":[1,-2,0,true,null],"in":{"a":[]}}"#.to_vec();
            let at = at.min(bytes.len() - 1);
            match insert {
                true => bytes.insert(at, byte & 0x7f),
                false => drop(bytes.remove(at)),
            }
            let text = String::from_utf8(bytes).unwrap();
            if is_plain(&text) {
                prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{}", text);
            }
        }
    }
}
