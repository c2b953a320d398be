//! Bytes from a client → messages and control frames, without I/O. Whole frames are unmasked where they lie; only a
//! part of a frame, or of a message, is kept, and memory is taken as bytes arrive, not as lengths are claimed.

use std::borrow::Cow;

use fastwebsockets::{CloseCode, OpCode, unmask};

use super::head::{ClientHead, MAX_HEAD_BYTES, parse_client_head};
use super::violation::Violation;

/// What one message may be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most bytes, the sum of the fragments.
    pub message_bytes: usize,
    /// The most fragments.
    pub fragments: usize,
}

/// Something whole that the client sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'i> {
    /// A text message.
    Text(Cow<'i, str>),
    /// A binary message.
    Binary(Cow<'i, [u8]>),
    /// A ping, to be answered with its payload.
    Ping(Cow<'i, [u8]>),
    /// A pong.
    Pong,
    /// A close, with its code where it has one. Nothing that follows is to be read.
    Close(Option<u16>),
}

/// Text or binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    /// UTF-8.
    Text,
    /// Anything.
    Binary,
}

/// Decodes one connection's frames. Between messages it is one null pointer.
#[derive(Debug, Default)]
pub struct Decoder {
    partial: Option<Box<Partial>>,
}

#[derive(Debug, Default)]
struct Partial {
    /// The beginning of a head.
    head: [u8; MAX_HEAD_BYTES],
    head_bytes: usize,
    /// A frame whose payload has not all arrived.
    frame: Option<OpenFrame>,
    /// What of a control frame's payload has arrived.
    control: Vec<u8>,
    /// A message whose last fragment has not all arrived.
    message: Option<OpenMessage>,
}

#[derive(Debug)]
struct OpenFrame {
    head: ClientHead,
    arrived: u64,
}

#[derive(Debug)]
struct OpenMessage {
    kind: MessageKind,
    bytes: Vec<u8>,
    fragments: usize,
    /// Up to where `bytes` are known to be UTF-8.
    valid_up_to: usize,
}

impl Decoder {
    /// The next event in `input`, from `*position` on, which is moved behind what was read. `None` once the input is
    /// used up. After an error or a close the connection must not be read any further.
    pub fn next<'i>(
        &mut self,
        input: &'i mut [u8],
        position: &mut usize,
        limits: &Limits,
    ) -> Result<Option<Event<'i>>, Violation> {
        loop {
            if self.partial.as_ref().is_none_or(|partial| partial.frame.is_none()) {
                let Some(head) = self.read_head(input, position)? else {
                    return Ok(None);
                };
                self.check_sequence(&head, limits)?;
                if let Some(payload_end) = whole_payload(&head, input, *position)
                    && (head.is_control() || self.is_lone(&head))
                {
                    let payload = &mut input[*position..payload_end];
                    *position = payload_end;
                    unmask(payload, head.mask);
                    return whole_frame(&head, Cow::Borrowed(payload)).map(Some);
                }
                self.open_frame(head);
            }
            if let Some(event) = self.take_payload(&mut input[*position..], position)? {
                return Ok(Some(event));
            }
            if self.in_frame() {
                return Ok(None);
            }
        }
    }

    /// Whether a frame or a message has begun and not ended.
    pub fn is_midway(&self) -> bool {
        self.partial.is_some()
    }

    fn in_frame(&self) -> bool {
        self.partial.as_ref().is_some_and(|partial| partial.frame.is_some())
    }

    /// Whether a data frame is a message of its own.
    fn is_lone(&self, head: &ClientHead) -> bool {
        head.fin && head.opcode != OpCode::Continuation
    }

    /// Reads a head, with what is left of an earlier read.
    fn read_head(&mut self, input: &[u8], position: &mut usize) -> Result<Option<ClientHead>, Violation> {
        let stored = self.partial.as_ref().map_or(0, |partial| partial.head_bytes);
        let rest = &input[*position..];
        if stored == 0 {
            if let Some(head) = parse_client_head(rest)? {
                *position += head.size;
                return Ok(Some(head));
            }
            if !rest.is_empty() {
                let partial = self.partial.get_or_insert_default();
                partial.head[..rest.len()].copy_from_slice(rest);
                partial.head_bytes = rest.len();
                *position = input.len();
            }
            return Ok(None);
        }
        let partial = self.partial.get_or_insert_default();
        let added = rest.len().min(MAX_HEAD_BYTES - stored);
        partial.head[stored..stored + added].copy_from_slice(&rest[..added]);
        match parse_client_head(&partial.head[..stored + added])? {
            Some(head) => {
                *position += head.size - stored;
                partial.head_bytes = 0;
                Ok(Some(head))
            }
            None => {
                partial.head_bytes = stored + added;
                *position += added;
                Ok(None)
            }
        }
    }

    /// Checks that this frame may follow what came before (section 5.4), and that its message stays within the limits.
    fn check_sequence(&self, head: &ClientHead, limits: &Limits) -> Result<(), Violation> {
        if head.is_control() {
            return Ok(());
        }
        let message = self.partial.as_ref().and_then(|partial| partial.message.as_ref());
        let (so_far, fragments) = match (message, head.opcode) {
            (None, OpCode::Continuation) => {
                return Err(Violation::Protocol("a continuation without a message"));
            }
            (Some(message), OpCode::Continuation) => (message.bytes.len(), message.fragments),
            (Some(_), _) => return Err(Violation::Protocol("a message within a message")),
            (None, _) => (0, 0),
        };
        if head.length > (limits.message_bytes.saturating_sub(so_far)) as u64 {
            return Err(Violation::MessageBytes(limits.message_bytes));
        }
        if fragments >= limits.fragments {
            return Err(Violation::Fragments(limits.fragments));
        }
        Ok(())
    }

    fn open_frame(&mut self, head: ClientHead) {
        let partial = self.partial.get_or_insert_default();
        let kind = match head.opcode {
            OpCode::Text => Some(MessageKind::Text),
            OpCode::Binary => Some(MessageKind::Binary),
            _ => None,
        };
        if let Some(kind) = kind {
            partial.message = Some(OpenMessage { kind, bytes: Vec::new(), fragments: 0, valid_up_to: 0 });
        }
        if !head.is_control()
            && let Some(message) = &mut partial.message
        {
            message.fragments += 1;
        }
        partial.frame = Some(OpenFrame { head, arrived: 0 });
    }

    /// Moves what is there of the open frame's payload out of `rest`; the event that ends with it, if one does.
    fn take_payload<'i>(&mut self, rest: &mut [u8], position: &mut usize) -> Result<Option<Event<'i>>, Violation> {
        let Some(partial) = &mut self.partial else {
            return Ok(None);
        };
        let Some(frame) = &mut partial.frame else {
            return Ok(None);
        };
        let missing = frame.head.length - frame.arrived;
        let taken = usize::try_from(missing).map_or(rest.len(), |missing| missing.min(rest.len()));
        let payload = &mut rest[..taken];
        let mut mask = frame.head.mask;
        mask.rotate_left((frame.arrived % 4) as usize);
        unmask(payload, mask);
        *position += taken;
        frame.arrived += taken as u64;
        let complete = frame.arrived == frame.head.length;
        let head = frame.head;
        if head.is_control() {
            partial.control.extend_from_slice(payload);
        } else if let Some(message) = &mut partial.message {
            message.append(payload)?;
        }
        if !complete {
            return Ok(None);
        }
        partial.frame = None;
        let event = if head.is_control() {
            let payload = std::mem::take(&mut partial.control);
            Some(whole_frame(&head, Cow::Owned(payload))?)
        } else if head.fin {
            partial.message.take().map(OpenMessage::end).transpose()?
        } else {
            None
        };
        if partial.message.is_none() {
            self.partial = None;
        }
        Ok(event)
    }
}

impl OpenMessage {
    fn append(&mut self, payload: &[u8]) -> Result<(), Violation> {
        self.bytes.extend_from_slice(payload);
        if self.kind == MessageKind::Binary {
            return Ok(());
        }
        match simdutf8::compat::from_utf8(&self.bytes[self.valid_up_to..]) {
            Ok(_) => self.valid_up_to = self.bytes.len(),
            Err(error) if error.error_len().is_some() => return Err(Violation::Utf8),
            // The last character is not all there yet.
            Err(error) => self.valid_up_to += error.valid_up_to(),
        }
        Ok(())
    }

    fn end<'i>(self) -> Result<Event<'i>, Violation> {
        Ok(match self.kind {
            MessageKind::Binary => Event::Binary(Cow::Owned(self.bytes)),
            MessageKind::Text => Event::Text(Cow::Owned(String::from_utf8(self.bytes).map_err(|_| Violation::Utf8)?)),
        })
    }
}

/// Where the payload ends, if all of it is in `input`.
fn whole_payload(head: &ClientHead, input: &[u8], start: usize) -> Option<usize> {
    let end = start.checked_add(usize::try_from(head.length).ok()?)?;
    (end <= input.len()).then_some(end)
}

/// The event that a control frame or an unfragmented message is.
fn whole_frame<'i>(head: &ClientHead, payload: Cow<'i, [u8]>) -> Result<Event<'i>, Violation> {
    Ok(match head.opcode {
        OpCode::Text => Event::Text(text(payload)?),
        OpCode::Binary | OpCode::Continuation => Event::Binary(payload),
        OpCode::Ping => Event::Ping(payload),
        OpCode::Pong => Event::Pong,
        OpCode::Close => Event::Close(close_code(&payload)?),
    })
}

fn text(payload: Cow<'_, [u8]>) -> Result<Cow<'_, str>, Violation> {
    match payload {
        Cow::Borrowed(bytes) => simdutf8::basic::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| Violation::Utf8),
        Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).map_err(|_| Violation::Utf8),
    }
}

/// The code of a close frame (sections 5.5.1 and 7.4).
fn close_code(payload: &[u8]) -> Result<Option<u16>, Violation> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return match payload {
            [] => Ok(None),
            _ => Err(Violation::Protocol("a close code has one byte")),
        };
    };
    let code = u16::from_be_bytes(*code);
    // 1014 was registered after fastwebsockets' list was written.
    if !CloseCode::from(code).is_allowed() && code != 1014 {
        return Err(Violation::Protocol("a close code is reserved"));
    }
    simdutf8::basic::from_utf8(reason).map_err(|_| Violation::Utf8)?;
    Ok(Some(code))
}
