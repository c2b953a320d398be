//! STOMP frames as a server sends them on a bare connection. No more of the protocol than it takes to hear it: what is
//! published has no NUL in it, so that a frame ends at the first one, whatever its headers say.

use crate::frame::Kind;

/// What a server's last word begins with.
const ERROR: &[u8] = b"ERROR";

/// The first whole frame of `bytes` without its NUL, and how many of them it takes up. Ends of lines between frames are
/// passed over as [`Kind::Other`].
pub fn read(bytes: &[u8]) -> Option<(Kind, &[u8], usize)> {
    let between = bytes.iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
    if between > 0 {
        return Some((Kind::Other, &[], between));
    }
    let end = memchr::memchr(0, bytes)?;
    let frame = &bytes[..end];
    let kind = if frame.starts_with(ERROR) { Kind::Error } else { Kind::Data };
    Some((kind, frame, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_once_they_are_whole_and_what_is_between_is_passed_over() {
        let bytes = b"MESSAGE\nsubscription:1\n\n{}\0\n\r\nERROR\nmessage:no\n\n\0";
        assert_eq!(read(&bytes[..26]), None);
        assert_eq!(read(bytes), Some((Kind::Data, &bytes[..26], 27)));
        assert_eq!(read(&bytes[27..]), Some((Kind::Other, [].as_slice(), 3)));
        assert_eq!(read(&bytes[30..]), Some((Kind::Error, b"ERROR\nmessage:no\n\n".as_slice(), 19)));
        assert_eq!(read(b""), None);
    }
}
