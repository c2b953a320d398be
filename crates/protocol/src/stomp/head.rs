//! The head of a client's frame, command and headers: where it ends, and what it says.

use std::borrow::Cow;

use super::command::ClientCommand;
use super::decoder::Limits;
use super::escape::Escapes;
use super::headers::FrameHeaders;
use super::version::Version;
use super::violation::{Rule, Violation, shown};

/// The most bytes of a command's line before its LF: there may be a CR.
const COMMAND_LINE: usize = ClientCommand::MOST_BYTES + 1;

/// The most bytes of a head: whatever the limits say, there is room for a command's line.
pub(super) fn most_bytes(limits: &Limits) -> usize {
    limits.header_bytes.max(COMMAND_LINE + 1)
}

/// The search for the end of a head that arrives in pieces. No byte is looked at twice.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// What was looked through.
    bytes: usize,
    /// The whole lines in it, and where the last of them ends.
    lines: usize,
    lines_end: usize,
    /// Whether the line that has begun begins with a CR.
    has_cr: bool,
}

impl Search {
    /// Where in `piece` the head ends, behind the empty line; `None` if it goes on behind `piece`. What breaks a rule
    /// breaks the same one however the head is cut into pieces.
    pub(super) fn find_end(&mut self, piece: &[u8], limits: &Limits) -> Result<Option<usize>, Rule> {
        let mut start = 0;
        while let Some(length) = memchr::memchr2(b'\n', 0, &piece[start..]) {
            let end = start + length + 1;
            self.look_through(&piece[start..end - 1], limits)?;
            if self.bytes >= most_bytes(limits) {
                return Err(too_many_bytes(limits));
            }
            if piece[end - 1] == 0 {
                return Err("a NUL before the end of the headers".into());
            }
            let line_bytes = self.bytes - self.lines_end;
            self.bytes += 1;
            if line_bytes == 0 || line_bytes == 1 && self.has_cr {
                return Ok(Some(end));
            }
            if self.lines > limits.headers {
                return Err(format!("a frame has at most {} headers", limits.headers).into());
            }
            self.lines += 1;
            self.lines_end = self.bytes;
            start = end;
        }
        self.look_through(&piece[start..], limits)?;
        Ok(None)
    }

    /// Goes on in the line that has begun.
    fn look_through(&mut self, part: &[u8], limits: &Limits) -> Result<(), Rule> {
        if self.bytes == self.lines_end {
            self.has_cr = part.first() == Some(&b'\r');
        }
        self.bytes += part.len();
        if self.lines == 0 && self.bytes > COMMAND_LINE {
            return Err("the command is unknown".into());
        }
        if self.bytes > most_bytes(limits) {
            return Err(too_many_bytes(limits));
        }
        Ok(())
    }

    /// How many headers there are in the lines that were found so far.
    pub(super) fn headers(&self) -> usize {
        self.lines.saturating_sub(1)
    }

    /// The violation that a search ended with. `before` is what it was given before the last `piece`.
    pub(super) fn violation(&self, rule: Rule, before: &[u8], piece: &[u8], version: Version) -> Violation {
        let lines = [before, &piece[..piece.len().min(self.lines_end.saturating_sub(before.len()))]].concat();
        Violation { rule, receipt: receipt(&lines[..self.lines_end], Escapes::of(version)) }
    }
}

fn too_many_bytes(limits: &Limits) -> Rule {
    format!("a frame has at most {} bytes of headers", limits.header_bytes).into()
}

/// What a head says that ends where [`Search::find_end`] found. It has so many headers.
pub(super) fn parse(head: &[u8], count: usize, version: Version) -> Result<(ClientCommand, FrameHeaders), Violation> {
    let line_end = memchr::memchr(b'\n', head).unwrap_or(head.len());
    let name = without_cr(&head[..line_end]);
    let lines = head.get(line_end + 1..).unwrap_or_default();
    let Some(command) = ClientCommand::parse(name) else {
        let rule = format!("the command {} is unknown", shown(&String::from_utf8_lossy(name)));
        return Err(Violation { rule: rule.into(), receipt: receipt(lines, Escapes::of(version)) });
    };
    let escapes = if command == ClientCommand::Connect { Escapes::None } else { Escapes::of(version) };
    match parse_headers(lines, count, command, version, escapes) {
        Ok(headers) => Ok((command, headers)),
        Err(rule) => Err(Violation { rule, receipt: receipt(lines, escapes) }),
    }
}

/// `count` is how many there may be: it is room, not a rule.
fn parse_headers(
    lines: &[u8],
    count: usize,
    command: ClientCommand,
    version: Version,
    escapes: Escapes,
) -> Result<FrameHeaders, Rule> {
    let text = simdutf8::basic::from_utf8(lines).map_err(|_| Cow::Borrowed("a header is not UTF-8"))?;
    let is_trimmed = match command {
        // Who sends no `accept-version` speaks 1.0, which is not negotiated yet.
        ClientCommand::Connect => !text.split('\n').any(|line| line.starts_with("accept-version:")),
        _ => version == Version::V1_0,
    };
    // Most heads have neither: then no line is searched for them.
    let has_cr = memchr::memchr(b'\r', lines).is_some();
    let escapes = if memchr::memchr(b'\\', lines).is_some() { escapes } else { Escapes::None };
    let mut headers = FrameHeaders::with_capacity(count, lines.len());
    let mut start = 0;
    while let Some(length) = memchr::memchr(b'\n', &lines[start..]) {
        let line = &text[start..start + length];
        start += length + 1;
        let line = if has_cr { line.strip_suffix('\r').unwrap_or(line) } else { line };
        if line.is_empty() {
            break;
        }
        if has_cr && line.contains('\r') {
            return Err("a CR within a header".into());
        }
        let Some(colon) = memchr::memchr(b':', line.as_bytes()) else {
            return Err(format!("the header line {} has no colon", shown(line)).into());
        };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let (name, value) = if is_trimmed { (trim(name), trim(value)) } else { (name, value) };
        if name.is_empty() {
            return Err("a header has no name".into());
        }
        let pushed = headers.push(|out| escapes.unescape(name, out), |out| escapes.unescape(value, out));
        let undefined = |()| format!("the header {} has an escape that is not defined", shown(name));
        pushed.map_err(|error| Cow::Owned(undefined(error)))?;
    }
    Ok(headers)
}

/// The `receipt` header in lines of which others may break rules.
fn receipt(lines: &[u8], escapes: Escapes) -> Option<String> {
    let line = lines.split(|&byte| byte == b'\n').find(|line| line.starts_with(b"receipt:"))?;
    let value = std::str::from_utf8(&without_cr(line)[b"receipt:".len()..]).ok()?;
    let mut receipt = String::new();
    escapes.unescape(if escapes == Escapes::None { trim(value) } else { value }, &mut receipt).ok()?;
    (!receipt.is_empty()).then_some(receipt)
}

/// `text` as a reader of 1.0 takes it.
fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}
