//! The head of a client's frame, with every rule that can be checked before its payload (RFC 6455, 5.2 and 5.5).

use fastwebsockets::OpCode;

use super::violation::Violation;

/// The most bytes of a client's frame head: 2, an 8-byte length, a 4-byte mask.
pub const MAX_HEAD_BYTES: usize = 14;

/// The head of a client's frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientHead {
    /// Whether the message ends with this frame.
    pub fin: bool,
    /// What it is.
    pub opcode: OpCode,
    /// What its payload is masked with.
    pub mask: [u8; 4],
    /// How long its payload is, in bytes.
    pub length: u64,
    /// How long the head itself is, in bytes.
    pub size: usize,
}

impl ClientHead {
    /// Whether it is a ping, a pong or a close.
    pub fn is_control(&self) -> bool {
        matches!(self.opcode, OpCode::Ping | OpCode::Pong | OpCode::Close)
    }
}

/// Reads the head that `bytes` begin with; `None` if it is not all there.
pub fn parse_client_head(bytes: &[u8]) -> Result<Option<ClientHead>, Violation> {
    let Some(&[first, second]) = bytes.first_chunk() else {
        return Ok(None);
    };
    if first & 0x70 != 0 {
        return Err(Violation::Protocol("reserved bits are set"));
    }
    let fin = first & 0x80 != 0;
    let opcode = OpCode::try_from(first & 0x0f).map_err(|_| Violation::Protocol("the opcode is reserved"))?;
    if second & 0x80 == 0 {
        return Err(Violation::Protocol("a client must mask its frames"));
    }
    let short_length = second & 0x7f;
    if matches!(opcode, OpCode::Ping | OpCode::Pong | OpCode::Close) {
        if short_length > 125 {
            return Err(Violation::Protocol("a control frame has more than 125 bytes"));
        }
        if !fin {
            return Err(Violation::Protocol("a control frame is fragmented"));
        }
    }
    let Some((length, length_size)) = parse_length(short_length, &bytes[2..])? else {
        return Ok(None);
    };
    let size = 2 + length_size + 4;
    let Some(mask) = bytes.get(size - 4..size) else {
        return Ok(None);
    };
    let mask = [mask[0], mask[1], mask[2], mask[3]];
    Ok(Some(ClientHead { fin, opcode, mask, length, size }))
}

/// The payload's length and how many bytes after the first two it takes; `None` if they are not all there.
fn parse_length(short: u8, rest: &[u8]) -> Result<Option<(u64, usize)>, Violation> {
    let (length, size) = match short {
        126 => match rest.first_chunk::<2>() {
            Some(bytes) => (u64::from(u16::from_be_bytes(*bytes)), 2),
            None => return Ok(None),
        },
        127 => match rest.first_chunk::<8>() {
            Some(bytes) => (u64::from_be_bytes(*bytes), 8),
            None => return Ok(None),
        },
        short => (u64::from(short), 0),
    };
    let minimal = match size {
        2 => length > 125,
        8 => length > 0xffff,
        _ => true,
    };
    if !minimal {
        return Err(Violation::Protocol("a length is not written in the fewest bytes"));
    }
    if length > i64::MAX as u64 {
        return Err(Violation::Protocol("a length has its highest bit set"));
    }
    Ok(Some((length, size)))
}
