//! Templates of requests and messages: text with `$names` in it.

use std::collections::BTreeMap;

/// What the names stand for. `$payload_string` and `$payload` share a beginning: the longest name that fits is taken.
#[derive(Debug, Clone, Default)]
pub struct Values(BTreeMap<String, String>);

impl Values {
    /// With one more name.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.set(name, value);
        self
    }

    /// Gives a name another value.
    pub fn set(&mut self, name: impl Into<String>, value: impl ToString) {
        self.0.insert(name.into(), value.to_string());
    }

    /// The template with every name that has a value replaced by it. Others stay as they are.
    pub fn fill(&self, template: &str) -> String {
        let mut out = String::with_capacity(template.len() + 64);
        let mut rest = template;
        while let Some((before, from)) = rest.split_once('$') {
            out.push_str(before);
            // In descending order the longer of two names with the same beginning comes first.
            match self.0.iter().rev().find(|(name, _)| from.starts_with(name.as_str())) {
                Some((name, value)) => {
                    out.push_str(value);
                    rest = &from[name.len()..];
                }
                None => {
                    out.push('$');
                    rest = from;
                }
            }
        }
        out.push_str(rest);
        out
    }
}

/// A template of bytes in which only the channel and the payload change: filled without allocating.
#[derive(Debug, Clone)]
pub struct Message(Vec<Part>);

#[derive(Debug, Clone)]
enum Part {
    Text(Vec<u8>),
    Channel,
    Payload,
    /// The payload as a JSON string.
    PayloadString,
}

impl Message {
    /// Reads a template.
    pub fn new(template: &str) -> Self {
        const NAMES: [(&str, Part); 3] =
            [("$payload_string", Part::PayloadString), ("$payload", Part::Payload), ("$channel", Part::Channel)];
        let (mut parts, mut text, mut rest) = (Vec::new(), Vec::new(), template);
        while let Some(first) = rest.chars().next() {
            if let Some((name, part)) = NAMES.iter().find(|(name, _)| rest.starts_with(name)) {
                parts.push(Part::Text(std::mem::take(&mut text)));
                parts.push(part.clone());
                rest = &rest[name.len()..];
            } else {
                text.extend_from_slice(&rest.as_bytes()[..first.len_utf8()]);
                rest = &rest[first.len_utf8()..];
            }
        }
        parts.push(Part::Text(text));
        Self(parts)
    }

    /// Appends the message.
    pub fn fill(&self, channel: &str, payload: &[u8], out: &mut Vec<u8>) {
        for part in &self.0 {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Channel => out.extend_from_slice(channel.as_bytes()),
                Part::Payload => out.extend_from_slice(payload),
                Part::PayloadString => {
                    out.push(b'"');
                    for &byte in payload {
                        if matches!(byte, b'"' | b'\\') {
                            out.push(b'\\');
                        }
                        out.push(byte);
                    }
                    out.push(b'"');
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_their_values_and_strangers_stay() {
        let values = Values::default().with("channel", "a").with("port", 80);
        assert_eq!(values.fill("ws://h:$port/{$channel}?$$x$"), "ws://h:80/{a}?$$x$");
    }

    #[test]
    fn a_payload_stands_as_it_is_or_as_a_string() {
        let mut out = Vec::new();
        Message::new("{\"c\":\"$channel\",\"d\":$payload,\"s\":$payload_string}$x").fill("é", br#"{"a":1}"#, &mut out);
        assert_eq!(out, r#"{"c":"é","d":{"a":1},"s":"{\"a\":1}"}$x"#.as_bytes());
    }
}
