//! RFC 6455 frames: what a node reads from a client and writes to it. The vocabulary and the unmasking are
//! fastwebsockets'; what that crate does not check is checked here, and heads of frames are written here.

mod decoder;
mod head;
mod violation;

pub use decoder::{Decoder, Event, Limits, MessageKind};
pub use fastwebsockets::OpCode;
pub use head::{ClientHead, MAX_HEAD_BYTES, parse_client_head};
pub use violation::Violation;

/// How long the head of most frames is: that of 126 to 65,535 bytes.
const USUAL_HEAD: usize = 4;

/// Appends a whole server frame (final, not masked) to `out`.
pub fn write_frame(opcode: OpCode, payload: &[u8], out: &mut Vec<u8>) {
    let (head, length) = head_of(opcode, payload.len());
    out.reserve(length + payload.len());
    out.extend_from_slice(&head[..length]);
    out.extend_from_slice(payload);
}

/// As [`write_frame`], of the payload that `fill` appends: it is not copied from elsewhere.
pub fn write_message(opcode: OpCode, out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    write_beginning(opcode, 0, out, fill);
}

/// As [`write_message`], of a payload of which `fill` appends all but the last `rest` bytes.
pub fn write_beginning(opcode: OpCode, rest: usize, out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    let payload = start + USUAL_HEAD;
    out.extend_from_slice(&[0; USUAL_HEAD]);
    fill(out);
    let (head, length) = head_of(opcode, out.len() - payload + rest);
    let end = out.len();
    if length > USUAL_HEAD {
        out.resize(end - USUAL_HEAD + length, 0);
    }
    if length != USUAL_HEAD {
        out.copy_within(payload..end, start + length);
        out.truncate(end - USUAL_HEAD + length);
    }
    out[start..start + length].copy_from_slice(&head[..length]);
}

/// The head of a final, unmasked frame with so many bytes of payload, and how long it is (section 5.2).
fn head_of(opcode: OpCode, payload: usize) -> ([u8; 10], usize) {
    let mut head = [0; 10];
    head[0] = 0x80 | opcode as u8;
    let length = match payload {
        0..=125 => {
            head[1] = payload as u8;
            2
        }
        126..=0xffff => {
            head[1] = 126;
            head[2..4].copy_from_slice(&(payload as u16).to_be_bytes());
            4
        }
        _ => {
            head[1] = 127;
            head[2..].copy_from_slice(&(payload as u64).to_be_bytes());
            10
        }
    };
    (head, length)
}

/// Appends a close frame to `out`. A reason beyond 123 bytes must not come here (section 5.5): see
/// [`CloseCode::reason`](crate::codes::CloseCode::reason).
pub fn write_close(code: u16, reason: &str, out: &mut Vec<u8>) {
    let payload = [&code.to_be_bytes(), reason.as_bytes()].concat();
    write_frame(OpCode::Close, &payload, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_frames_are_final_unmasked_and_minimal() {
        let frame = |payload: &[u8]| {
            let mut out = Vec::new();
            write_frame(OpCode::Text, payload, &mut out);
            out
        };
        assert_eq!(frame(b"Hello"), b"\x81\x05Hello"); // section 5.7
        assert_eq!(frame(&[b'x'; 126])[..4], [0x81, 126, 0, 126]);
        assert_eq!(frame(&vec![b'x'; 65536])[..10], [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn a_message_is_the_frame_of_what_is_filled_in() {
        let payload: Vec<u8> = (0..70_000u32).map(|at| at as u8).collect();
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
            let (mut expected, mut out) = (b"before".to_vec(), b"before".to_vec());
            write_frame(OpCode::Binary, &payload[..length], &mut expected);
            write_message(OpCode::Binary, &mut out, |out| out.extend_from_slice(&payload[..length]));
            assert!(out == expected, "{length} bytes");
            out.truncate("before".len());
            let (begin, rest) = payload[..length].split_at(length / 3);
            write_beginning(OpCode::Binary, rest.len(), &mut out, |out| out.extend_from_slice(begin));
            out.extend_from_slice(rest);
            assert!(out == expected, "{length} bytes, in two parts");
        }
    }

    #[test]
    fn close_frames_carry_code_and_reason() {
        let mut out = Vec::new();
        write_close(1002, "no", &mut out);
        assert_eq!(out, b"\x88\x04\x03\xeano");
    }
}
