//! Bytes from a client → frames and heart-beats, without I/O. A frame that lies whole in the input is not copied; of a
//! part of one, memory is taken as bytes arrive, not as lengths are claimed, and no byte is looked at twice.

use std::borrow::Cow;

use super::command::ClientCommand;
use super::head::{self, Search, most_bytes};
use super::headers::FrameHeaders;
use super::version::Version;
use super::violation::{Rule, Violation};

/// What one frame may be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most headers, repeated ones included.
    pub headers: usize,
    /// The most bytes up to the body: the command's line, the headers' lines, and the empty one.
    pub header_bytes: usize,
    /// The most bytes of a body.
    pub body_bytes: usize,
}

/// A frame of a client's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame<'i> {
    /// What it asks for.
    pub command: ClientCommand,
    /// What goes with it.
    pub headers: FrameHeaders,
    /// Empty unless it is a `SEND`.
    pub body: Cow<'i, [u8]>,
}

impl Frame<'_> {
    /// The same, without a tie to the input.
    pub fn into_owned(self) -> Frame<'static> {
        Frame { command: self.command, headers: self.headers, body: Cow::Owned(self.body.into_owned()) }
    }

    /// The bytes of its headers and its body.
    pub fn bytes(&self) -> usize {
        self.headers.bytes() + self.body.len()
    }
}

/// Something whole that the client sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'i> {
    /// A frame.
    Frame(Frame<'i>),
    /// Ends of lines between frames: one or more, as the input has them.
    HeartBeat,
}

/// Decodes one connection's frames. Between frames it is one null pointer.
#[derive(Debug, Default)]
pub struct Decoder {
    partial: Option<Box<Partial>>,
}

/// What has begun and not ended.
#[derive(Debug)]
enum Partial {
    /// A CR between frames.
    EndOfLine,
    /// A command and headers.
    Head { bytes: Vec<u8>, search: Search },
    /// The body behind them.
    Body { frame: OpenFrame, bytes: Vec<u8> },
}

/// A frame without its body.
#[derive(Debug)]
struct OpenFrame {
    command: ClientCommand,
    headers: FrameHeaders,
    content_length: Option<usize>,
    /// The most bytes that the body may have.
    most: usize,
}

impl Decoder {
    /// The next event in `input`, from `*position` on, which is moved behind what was read. `None` once the input is
    /// used up. `version` is the connection's; before it has one, the latest. After an error the connection must not be
    /// read any further.
    pub fn next<'i>(
        &mut self,
        input: &'i [u8],
        position: &mut usize,
        version: Version,
        limits: &Limits,
    ) -> Result<Option<Event<'i>>, Violation> {
        let rest = &input[*position..];
        if rest.is_empty() {
            return Ok(None);
        }
        let frame = match self.partial.as_deref_mut() {
            None if matches!(rest[0], b'\n' | b'\r') => return self.read_ends_of_lines(rest, position),
            None => {
                let mut search = Search::default();
                let found = search.find_end(rest, limits);
                let Some(end) = found.map_err(|rule| search.violation(rule, &[], rest, version))? else {
                    self.partial = Some(Box::new(Partial::Head { bytes: rest.to_vec(), search }));
                    *position = input.len();
                    return Ok(None);
                };
                *position += end;
                OpenFrame::open(&rest[..end], search.headers(), version, limits)?
            }
            Some(Partial::EndOfLine) => {
                self.partial = None;
                return self.read_end_of_line(rest, position);
            }
            Some(Partial::Head { bytes, search }) => {
                let found =
                    search.find_end(rest, limits).map_err(|rule| search.violation(rule, bytes, rest, version))?;
                let end = found.unwrap_or(rest.len());
                append(bytes, &rest[..end], most_bytes(limits));
                *position += end;
                if found.is_none() {
                    return Ok(None);
                }
                let frame = OpenFrame::open(bytes, search.headers(), version, limits)?;
                self.partial = None;
                frame
            }
            Some(Partial::Body { frame, bytes }) => {
                let Some(end) = frame.find_end(bytes.len(), rest)? else {
                    append(bytes, rest, frame.most);
                    *position = input.len();
                    return Ok(None);
                };
                append(bytes, &rest[..end], frame.most);
                *position += end + 1;
                let event = frame.end(Cow::Owned(std::mem::take(bytes)));
                self.partial = None;
                return Ok(Some(event));
            }
        };
        self.read_body(frame, &input[*position..], position)
    }

    /// Whether something has begun and not ended.
    pub fn is_midway(&self) -> bool {
        self.partial.is_some()
    }

    /// How many bytes it keeps of what has begun, counted as memory that it has taken.
    pub fn kept_bytes(&self) -> usize {
        match self.partial.as_deref() {
            None | Some(Partial::EndOfLine) => 0,
            Some(Partial::Head { bytes, .. }) => bytes.capacity(),
            Some(Partial::Body { frame, bytes }) => frame.headers.kept_bytes() + bytes.capacity(),
        }
    }

    /// Reads the body of a frame that has just begun: whole where it lies, or what is there of it.
    fn read_body<'i>(
        &mut self,
        mut frame: OpenFrame,
        rest: &'i [u8],
        position: &mut usize,
    ) -> Result<Option<Event<'i>>, Violation> {
        if let Some(end) = frame.find_end(0, rest)? {
            *position += end + 1;
            return Ok(Some(frame.end(Cow::Borrowed(&rest[..end]))));
        }
        *position += rest.len();
        self.partial = Some(Box::new(Partial::Body { frame, bytes: rest.to_vec() }));
        Ok(None)
    }

    /// Reads ends of lines between frames, as many as there are.
    fn read_ends_of_lines<'i>(&mut self, rest: &[u8], position: &mut usize) -> Result<Option<Event<'i>>, Violation> {
        let mut read = 0;
        loop {
            read += match &rest[read..] {
                [b'\n', ..] => 1,
                [b'\r', b'\n', ..] => 2,
                [b'\r'] if read == 0 => {
                    self.partial = Some(Box::new(Partial::EndOfLine));
                    *position += 1;
                    return Ok(None);
                }
                [b'\r', _, ..] if read == 0 => return Err(lone_cr()),
                // Whatever it is, it comes next.
                _ => break,
            }
        }
        *position += read;
        Ok(Some(Event::HeartBeat))
    }

    /// Reads what must follow a CR between frames.
    fn read_end_of_line<'i>(&mut self, rest: &[u8], position: &mut usize) -> Result<Option<Event<'i>>, Violation> {
        if rest[0] != b'\n' {
            return Err(lone_cr());
        }
        *position += 1;
        Ok(Some(Event::HeartBeat))
    }
}

impl OpenFrame {
    fn open(head: &[u8], headers: usize, version: Version, limits: &Limits) -> Result<Self, Violation> {
        let (command, headers) = head::parse(head, headers, version)?;
        let most = if command == ClientCommand::Send { limits.body_bytes } else { 0 };
        let mut frame = Self { command, headers, content_length: None, most };
        match frame.headers.get("content-length").map(parse_length) {
            None => {}
            Some(Ok(length)) if length <= frame.most => frame.content_length = Some(length),
            Some(Ok(_)) => return Err(frame.violation(frame.too_large())),
            Some(Err(rule)) => return Err(frame.violation(rule)),
        }
        Ok(frame)
    }

    /// Where in `piece` the body ends, at its NUL; `None` if it goes on behind `piece`. Before it came `before` bytes.
    fn find_end(&self, before: usize, piece: &[u8]) -> Result<Option<usize>, Violation> {
        if let Some(length) = self.content_length {
            let end = length - before;
            return match piece.get(end) {
                None => Ok(None),
                Some(0) => Ok(Some(end)),
                Some(_) => Err(self.violation("no NUL where the body ends by its content-length".into())),
            };
        }
        let end = memchr::memchr(0, piece);
        if end.unwrap_or(piece.len()) > self.most - before {
            return Err(self.violation(self.too_large()));
        }
        Ok(end)
    }

    fn end<'i>(&mut self, body: Cow<'i, [u8]>) -> Event<'i> {
        Event::Frame(Frame { command: self.command, headers: std::mem::take(&mut self.headers), body })
    }

    fn too_large(&self) -> Rule {
        match self.command {
            ClientCommand::Send => format!("a body has at most {} bytes", self.most).into(),
            _ => "only SEND has a body".into(),
        }
    }

    fn violation(&self, rule: Rule) -> Violation {
        Violation { rule, receipt: self.headers.get("receipt").filter(|id| !id.is_empty()).map(str::to_owned) }
    }
}

/// What a `content-length` says: digits. What no memory could hold is as large as can be said.
fn parse_length(text: &str) -> Result<usize, Rule> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("content-length is not a number".into());
    }
    Ok(text.parse().unwrap_or(usize::MAX))
}

fn lone_cr() -> Violation {
    Violation { rule: "a CR between frames that no LF follows".into(), receipt: None }
}

/// Appends `piece`, and takes memory for twice as much as there is, but for no more than `most` bytes.
fn append(bytes: &mut Vec<u8>, piece: &[u8], most: usize) {
    let needed = bytes.len() + piece.len();
    if needed > bytes.capacity() {
        let capacity = needed.max((2 * bytes.capacity()).min(most));
        bytes.reserve_exact(capacity - bytes.len());
    }
    bytes.extend_from_slice(piece);
}
