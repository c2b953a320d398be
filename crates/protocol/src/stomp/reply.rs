//! Frames to a client that are no messages: CONNECTED, RECEIPT, ERROR.

use super::escape::{Escapes, write_number};
use super::version::Version;

/// Appends a CONNECTED frame. It has no escapes in any version: of `session`, `server` and `user`, what has an end of
/// line or a NUL is left out. `heart_beat` is what the node sends and what it wants, in milliseconds.
pub fn connected(
    version: Version,
    session: &str,
    server: &str,
    heart_beat: (u64, u64),
    user: Option<&str>,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b"CONNECTED\nversion:");
    out.extend_from_slice(version.name().as_bytes());
    out.extend_from_slice(b"\nheart-beat:");
    write_number(heart_beat.0, out);
    out.push(b',');
    write_number(heart_beat.1, out);
    out.push(b'\n');
    for (name, value) in [("session", Some(session)), ("server", Some(server)), ("user-name", user)] {
        if let Some(value) = value {
            Escapes::None.write_if_carried(name, value, out);
        }
    }
    out.extend_from_slice(b"\n\0");
}

/// Appends a RECEIPT frame with `extra` headers. What this version cannot carry of them is left out: only 1.0 cannot
/// carry what it could ask for.
pub fn receipt(version: Version, receipt_id: &str, extra: &[(&str, &str)], out: &mut Vec<u8>) {
    out.extend_from_slice(b"RECEIPT\n");
    let escapes = Escapes::of(version);
    escapes.write_if_carried("receipt-id", receipt_id, out);
    for (name, value) in extra {
        escapes.write_if_carried(name, value, out);
    }
    out.extend_from_slice(b"\n\0");
}

/// Appends an ERROR frame: `message` in a line, `headers` beside it, `body` for whoever wants to know more. What this
/// version cannot carry in `message` is written as a space; what it cannot carry in `headers` is left out.
pub fn error(version: Version, message: &str, headers: &[(&str, &str)], body: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"ERROR\n");
    let escapes = Escapes::of(version);
    escapes.write_line("message", &escapes.carried(message), out);
    for (name, value) in headers {
        escapes.write_if_carried(name, value, out);
    }
    out.extend_from_slice(b"content-type:text/plain\ncontent-length:");
    write_number(body.len() as u64, out);
    out.extend_from_slice(b"\n\n");
    out.extend_from_slice(body.as_bytes());
    out.push(0);
}
