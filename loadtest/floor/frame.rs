//! A text frame as servers send it: whole, unmasked (RFC 6455, section 5.2).

/// Appends the frame of one message.
pub(crate) fn append_text(frames: &mut Vec<u8>, payload: &[u8]) {
    frames.push(0x81);
    match payload.len() {
        length @ 0..=125 => frames.push(length as u8),
        length @ 126..=0xffff => {
            frames.push(126);
            frames.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frames.push(127);
            frames.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frames.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(length: usize) -> Vec<u8> {
        let mut frame = Vec::new();
        append_text(&mut frame, &vec![b'x'; length]);
        frame.truncate(frame.len() - length);
        frame
    }

    #[test]
    fn the_length_takes_one_three_or_nine_bytes() {
        assert_eq!(head(0), [0x81, 0]);
        assert_eq!(head(125), [0x81, 125]);
        assert_eq!(head(126), [0x81, 126, 0, 126]);
        assert_eq!(head(65_535), [0x81, 126, 255, 255]);
        assert_eq!(head(65_536), [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }
}
