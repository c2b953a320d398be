//! What tells one message from another, wherever and in whatever encoding it turns up: letters and digits that no
//! encoding touches.

use memchr::memmem::Finder;

/// What a mark begins with.
const START: &[u8; 3] = b"uLm";

/// How long a mark is: the start, the channel (6), the sequence number (8), the time (16), all in hexadecimal.
const LENGTH: usize = START.len() + 6 + 8 + 16;

/// The smallest payload that holds a mark.
pub const MIN_PAYLOAD: usize = LENGTH + br#"{"m":"","x":""}"#.len();

/// Which message it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The number of the channel, below 2^24.
    pub channel: u32,
    /// Rises by one with each message of the channel. 0: a probe, which does not count.
    pub sequence: u32,
    /// When it was due to be published, by the machine's monotonic clock in nanoseconds.
    pub due: u64,
}

impl Mark {
    /// A JSON object of exactly `size` bytes, at least [`MIN_PAYLOAD`], that holds the mark. Replaces what is in `out`.
    pub fn payload(&self, size: usize, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(br#"{"m":""#);
        out.extend_from_slice(START);
        hexadecimal(u64::from(self.channel), 6, out);
        hexadecimal(u64::from(self.sequence), 8, out);
        hexadecimal(self.due, 16, out);
        out.extend_from_slice(br#"","x":""#);
        out.resize(size.saturating_sub(2).max(out.len()), b'.');
        out.extend_from_slice(br#""}"#);
    }
}

fn hexadecimal(number: u64, digits: u32, out: &mut Vec<u8>) {
    out.extend((0..digits).rev().map(|digit| b"0123456789abcdef"[(number >> (4 * digit) & 15) as usize]));
}

fn read(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number, digit| Some(number << 4 | u64::from((*digit as char).to_digit(16)?)))
}

/// Finds marks in bytes. Remembers where in a message the last one was, because the next is there again.
#[derive(Debug)]
pub struct Marks {
    start: Finder<'static>,
    usual: usize,
}

impl Default for Marks {
    fn default() -> Self {
        Self { start: Finder::new(START), usual: 0 }
    }
}

impl Marks {
    /// The first mark in `message` from `*position` on, which is moved behind it.
    pub fn next(&mut self, message: &[u8], position: &mut usize) -> Option<Mark> {
        loop {
            let rest = message.get(*position..)?;
            let is_usual = rest.get(self.usual..).is_some_and(|from| from.starts_with(START));
            // An earlier one would be passed over only if its distance from the one before is not the usual one.
            let at = if is_usual && *position == 0 { self.usual } else { self.start.find(rest)? };
            if *position == 0 {
                self.usual = at;
            }
            let Some(found) = rest.get(at..at + LENGTH) else {
                *position = message.len();
                return None;
            };
            *position += at + LENGTH;
            let (channel, sequence) = (read(&found[3..9]), read(&found[9..17]));
            if let (Some(channel), Some(sequence), Some(due)) = (channel, sequence, read(&found[17..])) {
                return Some(Mark { channel: channel as u32, sequence: sequence as u32, due });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(sequence: u32) -> Mark {
        Mark { channel: 0xabcdef, sequence, due: u64::MAX - 5 }
    }

    #[test]
    fn a_payload_is_json_of_the_size_that_was_asked_for() {
        for size in [MIN_PAYLOAD, 128, 5000] {
            let mut payload = Vec::new();
            mark(7).payload(size, &mut payload);
            assert_eq!(payload.len(), size);
            assert!(serde_json::from_slice::<serde_json::Value>(&payload).unwrap().is_object());
        }
    }

    #[test]
    fn marks_are_found_wherever_they_are() {
        let mut message = b"uLm is no mark, uLmxyz neither: ".to_vec();
        let mut payload = Vec::new();
        for sequence in [1, 2, 3] {
            mark(sequence).payload(100 + sequence as usize, &mut payload);
            message.extend_from_slice(&payload);
        }
        let mut marks = Marks::default();
        for _ in 0..2 {
            let mut position = 0;
            let found: Vec<_> = std::iter::from_fn(|| marks.next(&message, &mut position)).collect();
            assert_eq!(found, [mark(1), mark(2), mark(3)]);
        }
        assert_eq!(marks.next(b"uLm0000", &mut 0), None);
    }
}
