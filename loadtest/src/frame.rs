//! WebSocket frames as a client writes and reads them (RFC 6455, 5.2). No more of the protocol than it takes to hear a
//! server: what it sends is not judged.

/// What kind of frame it is; others are passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text, binary, or a continuation of either.
    Data,
    /// To be answered.
    Ping,
    /// The server goes.
    Close,
    /// The server goes, and says why. STOMP only.
    Error,
    /// A pong, or something new.
    Other,
}

/// The opcodes of what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are called what they are")]
pub enum OpCode {
    Text = 1,
    Binary = 2,
    Pong = 10,
}

/// Appends a whole masked frame. The mask is zero: it costs the server as much as any other, and the generator nothing.
pub fn write(opcode: OpCode, payload: &[u8], out: &mut Vec<u8>) {
    out.push(0x80 | opcode as u8);
    match payload.len() {
        length @ ..126 => out.push(0x80 | length as u8),
        length @ ..0x10000 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

/// The first whole frame of `bytes`, and how many of them it takes up.
pub fn read(bytes: &[u8]) -> Option<(Kind, &[u8], usize)> {
    let (&[first, second], rest) = bytes.split_first_chunk()?;
    let (length, head) = match second & 0x7f {
        126 => (u64::from(u16::from_be_bytes(*rest.first_chunk()?)), 4),
        127 => (u64::from_be_bytes(*rest.first_chunk()?), 10),
        short => (u64::from(short), 2),
    };
    let end = usize::try_from(length).ok()?.checked_add(head)?;
    let payload = bytes.get(head..end)?;
    let kind = match first & 0x0f {
        0..=2 => Kind::Data,
        8 => Kind::Close,
        9 => Kind::Ping,
        _ => Kind::Other,
    };
    Some((kind, payload, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_every_length_are_read_once_they_are_whole() {
        for length in [0, 125, 126, 65535, 65536] {
            let mut frame = Vec::new();
            write(OpCode::Binary, &vec![7; length], &mut frame);
            // As a server would have sent it: without the mask.
            let mask = frame.len() - length - 4;
            frame.drain(mask..mask + 4);
            frame[1] &= 0x7f;
            assert_eq!(read(&frame[..frame.len() - 1]), None);
            frame.push(0x89);
            assert_eq!(read(&frame), Some((Kind::Data, vec![7; length].as_slice(), frame.len() - 1)));
            assert_eq!(read(&[0x89, 0]), Some((Kind::Ping, [].as_slice(), 2)));
        }
    }
}
