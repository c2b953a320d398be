//! Escapes in headers: STOMP 1.2, "Value Encoding"; 1.1 lacks `\r`, and 1.0 has none.

use std::borrow::Cow;

use super::version::Version;

/// Which escapes a frame's headers have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escapes {
    /// None: 1.0, and CONNECT and CONNECTED in every version.
    None,
    /// `\n`, `\c` and `\\`.
    Three,
    /// And `\r`.
    Four,
}

impl Escapes {
    /// Those of frames other than CONNECT and CONNECTED.
    pub(super) fn of(version: Version) -> Self {
        match version {
            Version::V1_0 => Self::None,
            Version::V1_1 => Self::Three,
            Version::V1_2 => Self::Four,
        }
    }

    /// Appends `text` to `out` as it was meant. `Err`: it has an escape that is not defined.
    pub(super) fn unescape(self, text: &str, out: &mut String) -> Result<(), ()> {
        let mut rest = text;
        while self != Self::None
            && let Some(at) = memchr::memchr(b'\\', rest.as_bytes())
        {
            out.push_str(&rest[..at]);
            out.push(match rest.as_bytes().get(at + 1) {
                Some(b'n') => '\n',
                Some(b'c') => ':',
                Some(b'\\') => '\\',
                Some(b'r') if self == Self::Four => '\r',
                _ => return Err(()),
            });
            rest = &rest[at + 2..];
        }
        out.push_str(rest);
        Ok(())
    }

    /// Whether a header's value can be written. Never with a NUL, which ends a frame for many a reader, and never with
    /// an end of line that has no escape.
    pub(super) fn carry_value(self, value: &str) -> bool {
        let ends_a_line = |byte| match self {
            Self::None => byte == b'\n' || byte == b'\r',
            Self::Three => byte == b'\r',
            Self::Four => false,
        };
        !value.bytes().any(|byte| byte == 0 || ends_a_line(byte))
    }

    /// Whether a header's name can be written. A colon needs its escape; and where there are none, readers take off the
    /// spaces around a name, which would make another name of it.
    pub(super) fn carry_name(self, name: &str) -> bool {
        let is_plain = || !name.contains(':') && trim(name).len() == name.len();
        !name.is_empty() && self.carry_value(name) && (self != Self::None || is_plain())
    }

    /// Appends the line of a header that [`carry_name`](Self::carry_name) and [`carry_value`](Self::carry_value) take.
    pub(super) fn write_line(self, name: &str, value: &str, out: &mut Vec<u8>) {
        self.escape(name, out);
        out.push(b':');
        self.escape(value, out);
        out.push(b'\n');
    }

    /// Appends the line of a header, or nothing if it cannot be written.
    pub(super) fn write_if_carried(self, name: &str, value: &str, out: &mut Vec<u8>) {
        if self.carry_name(name) && self.carry_value(value) {
            self.write_line(name, value, out);
        }
    }

    /// `value` with a space for every character that cannot be written.
    pub(super) fn carried(self, value: &str) -> Cow<'_, str> {
        if self.carry_value(value) {
            return Cow::Borrowed(value);
        }
        let lost = |c| c == '\0' || c == '\r' && self != Self::Four || c == '\n' && self == Self::None;
        Cow::Owned(value.replace(lost, " "))
    }

    fn escape(self, text: &str, out: &mut Vec<u8>) {
        if self == Self::None {
            return out.extend_from_slice(text.as_bytes());
        }
        let mut from = 0;
        for (at, byte) in text.bytes().enumerate() {
            let escaped = match byte {
                b'\n' => br"\n",
                b'\r' => br"\r",
                b':' => br"\c",
                b'\\' => br"\\",
                _ => continue,
            };
            out.extend_from_slice(&text.as_bytes()[from..at]);
            out.extend_from_slice(escaped);
            from = at + 1;
        }
        out.extend_from_slice(&text.as_bytes()[from..]);
    }
}

/// `text` without what any reader could take off around it: spaces of all kinds, and control characters.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c <= ' ' || c.is_whitespace())
}

/// Appends `number` in decimal digits.
pub(super) fn write_number(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return out.extend_from_slice(&digits[at..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unescaped(escapes: Escapes, text: &str) -> Option<String> {
        let mut out = String::new();
        escapes.unescape(text, &mut out).ok().map(|()| out)
    }

    #[test]
    fn each_version_has_its_own_escapes() {
        use Escapes::{Four, None as No, Three};
        assert_eq!(unescaped(Four, r"a\nb\rc\cd\\e").unwrap(), "a\nb\rc:d\\e");
        assert_eq!(unescaped(Three, r"a\nc\cd\\ne").unwrap(), "a\nc:d\\ne");
        assert_eq!(unescaped(Three, r"\r"), None);
        assert_eq!(unescaped(No, r"\r\t\").unwrap(), r"\r\t\");
        for undefined in [r"\t", r"\", r"\N", r"\\\", r"a\ b", "\\\u{e9}"] {
            assert_eq!((unescaped(Three, undefined), unescaped(Four, undefined)), (None, None), "{undefined}");
        }
    }

    #[test]
    fn numbers_are_decimal() {
        for number in [0, 7, 10, 1_700_000_000_000, u64::MAX] {
            let mut out = Vec::new();
            write_number(number, &mut out);
            assert_eq!(out, number.to_string().into_bytes());
        }
    }
}
