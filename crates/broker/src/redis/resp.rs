//! A reader of RESP3 for the subscription link. No I/O: it is given bytes as they come, cut anywhere.
//!
//! It trusts nobody: memory is taken as bytes arrive and not as lengths are claimed, nesting and counts are bounded, and
//! a string beyond the limit is passed over without keeping it. Attributes are skipped; streamed types, which no server
//! sends, are refused.
//!
//! <https://github.com/redis/redis-specifications/blob/master/protocol/RESP3.md>

use bytes::Bytes;

/// The most bytes of a header or of a simple string.
const MAX_LINE: usize = 16 << 10;

/// How deep values may lie in each other.
const MAX_DEPTH: usize = 8;

/// The most values in one reply. The longest that we ask for is that of `HELLO`.
const MAX_ITEMS: usize = 4096;

/// The most bytes that a string may claim to have, even if they are passed over: 4 GiB.
const MAX_CLAIM: u64 = 4 << 30;

/// A reply or a push, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// A string of any type, in memory of its own.
    Text(Bytes),
    /// A string that had more bytes than the limit left room for, and was passed over.
    Oversized(u64),
    /// An error.
    Error(Bytes),
    /// An integer.
    Integer(i64),
    /// Null of any type.
    Null,
    /// A number or a boolean that we have no use for.
    Other,
    /// An array, a set, or a map with its keys and values in turn.
    List(Vec<Value>),
    /// What was not asked for.
    Push(Vec<Value>),
}

/// What was published, in the memory into which it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Message<'a> {
    pub(super) channel: &'a [u8],
    pub(super) payload: &'a [u8],
}

/// How every message begins, also one of a sharded channel, and how many bytes of its kind count as kept.
const MESSAGE: (&[u8], usize) = (b">3\r\n$7\r\nmessage\r\n", 7);
const SHARDED: (&[u8], usize) = (b">3\r\n$8\r\nsmessage\r\n", 8);

/// What came is not RESP3, or exceeds a bound. The link must be rebuilt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("a reply begins with the byte {0:#04x}")]
    Type(u8),
    #[error("a line of a reply is too long")]
    Line,
    #[error("a number or length in a reply is not valid")]
    Number,
    #[error("a string in a reply does not end where it should")]
    End,
    #[error("a reply is nested too deep or has too many values")]
    Bounds,
}

/// Reads one value after another.
#[derive(Debug)]
pub(super) struct Reader {
    /// The most bytes of strings in one reply.
    limit: usize,
    state: State,
    /// The values that are being read, outermost first.
    open: Vec<Open>,
    /// What the current reply has used up of its bounds.
    items: usize,
    bytes: usize,
}

#[derive(Debug)]
enum State {
    /// Within a line; with what came of it before.
    Line(Vec<u8>),
    /// Within a string: `rest` bytes of it and of its CR LF are to come.
    Text { kept: Vec<u8>, rest: usize, is_error: bool },
    /// Within a string that is passed over.
    Passing { length: u64, rest: u64 },
}

#[derive(Debug)]
struct Open {
    kind: Kind,
    /// How many values are to come.
    rest: usize,
    values: Vec<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    List,
    Push,
    /// Precedes the value that it belongs to, and is dropped.
    Attribute,
}

impl Reader {
    /// A reader that keeps at most `limit` bytes of strings in one reply.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, state: State::Line(Vec::new()), open: Vec::new(), items: 0, bytes: 0 }
    }

    /// The message that lies whole at the front of `input`, without a copy; it is taken off. `None`: something else is
    /// there, or a part of one, or more than the limit leaves room for: that is for [`next`](Self::next).
    pub(super) fn message<'a>(&self, input: &mut &'a [u8]) -> Option<Message<'a>> {
        // Nothing of another has been read, not even an attribute.
        let is_between = self.items == 0 && matches!(&self.state, State::Line(before) if before.is_empty());
        let begins = |(head, kind): (&[u8], usize)| Some((input.strip_prefix(head)?, kind));
        let (mut rest, kind) = begins(MESSAGE).or_else(|| begins(SHARDED)).filter(|_| is_between)?;
        let channel = whole_text(&mut rest)?;
        let payload = whole_text(&mut rest)?;
        let kept = kind + channel.len() + payload.len();
        if kept > self.limit {
            return None;
        }
        *input = rest;
        Some(Message { channel, payload })
    }

    /// Reads on in `input`, and takes what it has read off its front. `None`: all of it was read, and no value ends
    /// there. After an error the reader is of no use.
    pub(super) fn next(&mut self, input: &mut &[u8]) -> Result<Option<Value>, Malformed> {
        loop {
            let read = match &mut self.state {
                State::Line(before) => match take_line(before, input)? {
                    Some(Line::Whole(line)) => self.begin(line)?,
                    Some(Line::Joined(line)) => self.begin(&line)?,
                    None => return Ok(None),
                },
                State::Text { kept, rest, is_error } => {
                    let is_error = *is_error;
                    let Some(text) = take_text(kept, rest, input)? else {
                        return Ok(None);
                    };
                    self.state = State::Line(Vec::new());
                    Some(if is_error { Value::Error(text) } else { Value::Text(text) })
                }
                State::Passing { length, rest } => {
                    let passed = (input.len() as u64).min(*rest);
                    // At most the input's length.
                    *input = &input[passed as usize..];
                    *rest -= passed;
                    if *rest > 0 {
                        return Ok(None);
                    }
                    let length = *length;
                    self.state = State::Line(Vec::new());
                    Some(Value::Oversized(length))
                }
            };
            if let Some(whole) = read.and_then(|value| self.close(value)) {
                self.items = 0;
                self.bytes = 0;
                return Ok(Some(whole));
            }
        }
    }

    /// Reads the line that begins a value. `None`: more of the value is to come.
    fn begin(&mut self, line: &[u8]) -> Result<Option<Value>, Malformed> {
        let (&kind, rest) = line.split_first().ok_or(Malformed::Line)?;
        self.items += 1;
        if self.items > MAX_ITEMS {
            return Err(Malformed::Bounds);
        }
        Ok(match kind {
            b'+' => Some(Value::Text(Bytes::copy_from_slice(rest))),
            b'-' => Some(Value::Error(Bytes::copy_from_slice(rest))),
            b':' => Some(Value::Integer(number(rest)?)),
            b'_' => Some(Value::Null),
            b'#' | b',' | b'(' => Some(Value::Other),
            b'$' | b'=' | b'!' => self.begin_text(rest, kind == b'!')?,
            b'*' | b'~' => self.open(Kind::List, rest, 1)?,
            b'%' => self.open(Kind::List, rest, 2)?,
            b'>' => self.open(Kind::Push, rest, 1)?,
            b'|' => self.open(Kind::Attribute, rest, 2)?,
            other => return Err(Malformed::Type(other)),
        })
    }

    fn begin_text(&mut self, length: &[u8], is_error: bool) -> Result<Option<Value>, Malformed> {
        let length = match number(length)? {
            -1 => return Ok(Some(Value::Null)),
            length => u64::try_from(length).map_err(|_| Malformed::Number)?,
        };
        if length > MAX_CLAIM {
            return Err(Malformed::Number);
        }
        let room = self.limit - self.bytes;
        self.state = match usize::try_from(length) {
            Ok(length) if length <= room => {
                self.bytes += length;
                State::Text { kept: Vec::new(), rest: length + 2, is_error }
            }
            _ => State::Passing { length, rest: length + 2 },
        };
        Ok(None)
    }

    fn open(&mut self, kind: Kind, count: &[u8], each: usize) -> Result<Option<Value>, Malformed> {
        let count = match number(count)? {
            -1 if kind == Kind::List => return Ok(Some(Value::Null)),
            count => usize::try_from(count).map_err(|_| Malformed::Number)?,
        };
        if count > MAX_ITEMS || self.open.len() >= MAX_DEPTH {
            return Err(Malformed::Bounds);
        }
        if kind == Kind::Push && !self.open.is_empty() {
            return Err(Malformed::Type(b'>'));
        }
        match (count, kind) {
            (0, Kind::List) => Ok(Some(Value::List(Vec::new()))),
            (0, Kind::Push) => Ok(Some(Value::Push(Vec::new()))),
            (0, Kind::Attribute) => Ok(None),
            _ => {
                self.open.push(Open { kind, rest: count * each, values: Vec::new() });
                Ok(None)
            }
        }
    }

    /// Puts a value where it belongs. The outermost is returned when it is whole.
    fn close(&mut self, mut value: Value) -> Option<Value> {
        loop {
            let Some(mut within) = self.open.pop() else {
                return Some(value);
            };
            within.rest -= 1;
            if within.kind != Kind::Attribute {
                within.values.push(value);
            }
            if within.rest > 0 {
                self.open.push(within);
                return None;
            }
            value = match within.kind {
                Kind::List => Value::List(within.values),
                Kind::Push => Value::Push(within.values),
                Kind::Attribute => return None,
            };
        }
    }
}

enum Line<'a> {
    Whole(&'a [u8]),
    Joined(Vec<u8>),
}

/// A line without its CR LF, once it is there: in `input`, or begun in `before`.
fn take_line<'a>(before: &mut Vec<u8>, input: &mut &'a [u8]) -> Result<Option<Line<'a>>, Malformed> {
    let end = input.iter().take(MAX_LINE).position(|&byte| byte == b'\n');
    let (part, rest) = input.split_at(end.map_or(input.len(), |end| end + 1));
    if before.len() + part.len() > MAX_LINE {
        return Err(Malformed::Line);
    }
    *input = rest;
    let line = match (end, before.is_empty()) {
        (None, _) => {
            before.extend_from_slice(part);
            return Ok(None);
        }
        (Some(_), true) => Line::Whole(part.strip_suffix(b"\r\n").ok_or(Malformed::Line)?),
        (Some(_), false) => {
            let mut line = std::mem::take(before);
            line.extend_from_slice(part);
            line.truncate(line.strip_suffix(b"\r\n").ok_or(Malformed::Line)?.len());
            Line::Joined(line)
        }
    };
    Ok(Some(line))
}

/// A string without its CR LF, once it is there: in `input`, or begun in `kept`. Its memory is exactly as large as it
/// is, and not shared with anything.
fn take_text(kept: &mut Vec<u8>, rest: &mut usize, input: &mut &[u8]) -> Result<Option<Bytes>, Malformed> {
    let (part, after) = input.split_at(input.len().min(*rest));
    *input = after;
    *rest -= part.len();
    if *rest == 0 && kept.is_empty() {
        let text = part.strip_suffix(b"\r\n").ok_or(Malformed::End)?;
        return Ok(Some(Bytes::copy_from_slice(text)));
    }
    kept.extend_from_slice(part);
    if *rest > 0 {
        return Ok(None);
    }
    let mut kept = std::mem::take(kept);
    kept.truncate(kept.strip_suffix(b"\r\n").ok_or(Malformed::End)?.len());
    Ok(Some(Bytes::from(kept.into_boxed_slice())))
}

/// A string with its header, if all of it is at the front of `input`.
fn whole_text<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let rest = input.strip_prefix(b"$")?;
    let mut length = 0;
    // Nine digits are more than is ever read at once.
    let digits = rest.iter().take(9).take_while(|byte| byte.is_ascii_digit());
    let digits = digits.map(|digit| length = length * 10 + usize::from(digit - b'0')).count();
    let rest = rest.get(digits..)?.strip_prefix(b"\r\n").filter(|_| digits > 0)?;
    let (text, rest) = rest.split_at_checked(length)?;
    *input = rest.strip_prefix(b"\r\n")?;
    Some(text)
}

/// A decimal number, as RESP writes it: no plus sign, no spaces.
fn number(digits: &[u8]) -> Result<i64, Malformed> {
    let text = std::str::from_utf8(digits).map_err(|_| Malformed::Number)?;
    if text.starts_with('+') {
        return Err(Malformed::Number);
    }
    text.parse().map_err(|_| Malformed::Number)
}

#[cfg(test)]
mod tests;
