//! One connection: the upgrade, what is said to be subscribed, and then what is heard.

use crate::clock;
use crate::frame::{self, Kind, OpCode};
use crate::ledger::Ledger;
use crate::mark::Marks;
use crate::plan::Plan;
use crate::stomp;
use crate::stream::Stream;
use crate::target::Format;

/// How much of the last message is shown when nothing comes of a connection.
const SHOWN: usize = 200;

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: Stream,
    pub(super) begun: u64,
    phase: Phase,
    /// Answers that have come.
    answers: usize,
    /// The rest of a frame that was cut.
    partial: Vec<u8>,
    unsent: Vec<u8>,
    /// What the server said last, while it is not subscribed.
    said: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    Upgrading,
    /// The step that was sent.
    Opening(usize),
    Ready,
}

/// Where what is heard is written down.
pub(super) struct Books<'a> {
    pub(super) marks: &'a mut Marks,
    pub(super) ledger: &'a mut Ledger,
    pub(super) answers: &'a [(Vec<u8>, Vec<u8>)],
    pub(super) bytes: &'a mut u64,
}

impl Connection {
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream,
            begun: clock::now(),
            phase: Phase::Connecting,
            answers: 0,
            partial: Vec::new(),
            unsent: Vec::new(),
            said: String::new(),
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    /// How far it has come, in words.
    pub(super) fn state(&self, plan: &Plan) -> String {
        let at = match self.phase {
            Phase::Connecting => "one is not accepted".to_owned(),
            Phase::Upgrading => "one waits for the answer to its upgrade".to_owned(),
            Phase::Opening(_) => {
                let expected = plan.expected.get(self.answers).map_or("", String::as_str);
                format!("one waits for an answer with {expected:?}")
            }
            Phase::Ready => "one is subscribed".to_owned(),
        };
        match self.said.is_empty() {
            true => at,
            false => format!("{at}, and was last told {:?}", self.said),
        }
    }

    pub(super) fn writable(&mut self, plan: &Plan) -> Result<(), String> {
        if self.phase == Phase::Connecting {
            if let Ok(Some(error)) | Err(error) = self.stream.tcp().take_error() {
                return Err(format!("cannot connect: {error}"));
            }
            self.phase = Phase::Upgrading;
            if plan.request.is_empty() {
                return self.go_on(plan, 0);
            }
            return self.send(&plan.request);
        }
        self.stream.flush().map_err(broken)?;
        let unsent = std::mem::take(&mut self.unsent);
        self.send(&unsent)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        let written = match self.unsent.is_empty() {
            true if bytes.is_empty() => 0,
            true => self.stream.write(bytes).map_err(broken)?,
            false => 0,
        };
        self.unsent.extend_from_slice(&bytes[written..]);
        Ok(())
    }

    pub(super) fn readable(&mut self, plan: &Plan, buffer: &mut [u8], books: &mut Books<'_>) -> Result<(), String> {
        loop {
            let count = match self.stream.read(buffer).map_err(broken)? {
                None => return Ok(()),
                Some(0) => return Err(format!("the server closed the connection ({})", self.state(plan))),
                Some(count) => count,
            };
            *books.bytes += count as u64;
            self.feed(plan, &buffer[..count], books)?;
            if count < buffer.len() && !self.stream.may_hold_more() {
                return Ok(());
            }
        }
    }

    fn feed(&mut self, plan: &Plan, bytes: &[u8], books: &mut Books<'_>) -> Result<(), String> {
        if self.partial.is_empty() {
            let taken = self.take(plan, bytes, books)?;
            self.partial.extend_from_slice(&bytes[taken..]);
        } else {
            let mut joined = std::mem::take(&mut self.partial);
            joined.extend_from_slice(bytes);
            let taken = self.take(plan, &joined, books)?;
            joined.drain(..taken);
            self.partial = joined;
        }
        if self.partial.is_empty() {
            self.partial = Vec::new();
        }
        Ok(())
    }

    /// Takes what is whole; how many bytes that was.
    fn take(&mut self, plan: &Plan, bytes: &[u8], books: &mut Books<'_>) -> Result<usize, String> {
        let mut taken = 0;
        if self.phase == Phase::Upgrading {
            let Some(head) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return Ok(0) };
            if !bytes.starts_with(b"HTTP/1.1 101") {
                let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]).into_owned();
                return Err(format!("the upgrade was answered {:?}", shown.lines().next().unwrap_or_default()));
            }
            taken = head + 4;
            self.go_on(plan, 0)?;
        }
        let read_at = clock::now();
        let read = if plan.format == Format::Stomp { stomp::read } else { frame::read };
        while let Some((kind, payload, length)) = read(&bytes[taken..]) {
            taken += length;
            match kind {
                Kind::Data => self.hear(plan, payload, read_at, books)?,
                Kind::Ping => {
                    let mut pong = Vec::with_capacity(payload.len() + 6);
                    frame::write(OpCode::Pong, payload, &mut pong);
                    self.send(&pong)?;
                }
                Kind::Close => {
                    let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                    let reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default()).into_owned();
                    return Err(format!("the server closed the connection with {code} {reason:?}"));
                }
                Kind::Error => {
                    let shown = String::from_utf8_lossy(&payload[..payload.len().min(SHOWN)]);
                    return Err(format!("the server answered {shown:?}"));
                }
                Kind::Other => {}
            }
        }
        Ok(taken)
    }

    fn hear(&mut self, plan: &Plan, message: &[u8], read_at: u64, books: &mut Books<'_>) -> Result<(), String> {
        let mut position = 0;
        while let Some(mark) = books.marks.next(message, &mut position) {
            let place = mark.channel.wrapping_sub(plan.first_channel);
            if place < plan.channels {
                books.ledger.enter(plan.first_subscription + place, &mark, read_at);
            }
        }
        if let Phase::Opening(step) = self.phase {
            self.check(plan, message);
            return self.go_on(plan, step);
        }
        if position == 0
            && let Some((_, answer)) = books.answers.iter().find(|(to, _)| to == message)
        {
            return self.send(answer);
        }
        Ok(())
    }

    /// Looks for the answers that are awaited; several may be in one message.
    fn check(&mut self, plan: &Plan, message: &[u8]) {
        let mut rest = message;
        while let Some(expected) = plan.expected.get(self.answers)
            && let Some(at) = memchr::memmem::find(rest, expected.as_bytes())
        {
            self.answers += 1;
            rest = &rest[at + expected.len()..];
        }
        self.said = String::from_utf8_lossy(&message[..message.len().min(SHOWN)]).into_owned();
    }

    /// Begins the steps that may begin; `step` is the one that was sent last, or the first before anything was sent.
    fn go_on(&mut self, plan: &Plan, mut step: usize) -> Result<(), String> {
        if self.phase == Phase::Upgrading {
            self.phase = Phase::Opening(0);
            self.send(&plan.steps[0].bytes)?;
        }
        while self.answers >= plan.steps[step].answers {
            step += 1;
            let Some(next) = plan.steps.get(step) else {
                self.phase = Phase::Ready;
                self.said = String::new();
                return Ok(());
            };
            self.phase = Phase::Opening(step);
            self.send(&next.bytes)?;
        }
        Ok(())
    }
}

fn broken(error: std::io::Error) -> String {
    format!("the connection broke: {error}")
}
