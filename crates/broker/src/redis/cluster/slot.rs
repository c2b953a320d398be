//! Slots: where in a Cluster a key lies, and what a command's key is.

use redis::{Arg, Cmd};

/// How many slots there are.
pub(in crate::redis) const SLOTS: u16 = 16384;

/// CRC16 with the polynomial 0x1021, from 0 (XMODEM), a byte at a time.
const TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { crc << 1 ^ 0x1021 } else { crc << 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// The slot of a key or of a sharded channel: of what is in its first braces, if there is something.
pub(in crate::redis) fn of(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        let close = rest.iter().position(|byte| *byte == b'}')?;
        (close > 0).then(|| &rest[..close])
    });
    let hashed = tag.unwrap_or(key);
    hashed.iter().fold(0, |crc: u16, byte| crc << 8 ^ TABLE[usize::from((crc >> 8) as u8 ^ byte)]) % SLOTS
}

/// The slot of a command: that of its first key or of its channel. `None` if any server will do.
pub(in crate::redis) fn of_command(command: &Cmd) -> Option<u16> {
    let argument = |index| match command.args_iter().nth(index) {
        Some(Arg::Simple(argument)) => Some(argument),
        _ => None,
    };
    let name = argument(0)?.to_ascii_uppercase();
    let key = match &name[..] {
        b"PING" | b"TIME" | b"ROLE" | b"INFO" | b"FUNCTION" | b"SCRIPT" | b"PUBSUB" | b"CLUSTER" | b"CLIENT"
        | b"CONFIG" | b"ASKING" => None,
        b"FCALL" | b"FCALL_RO" | b"EVAL" | b"EVALSHA" if argument(2) == Some(b"0") => None,
        b"FCALL" | b"FCALL_RO" | b"EVAL" | b"EVALSHA" => argument(3),
        b"XGROUP" | b"XINFO" | b"OBJECT" | b"MEMORY" | b"DEBUG" => argument(2),
        b"XREAD" | b"XREADGROUP" => {
            let streams = command
                .args_iter()
                .position(|argument| matches!(argument, Arg::Simple(word) if word.eq_ignore_ascii_case(b"STREAMS")));
            argument(streams? + 1)
        }
        _ => argument(1),
    };
    key.map(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        // The check value of CRC16/XMODEM.
        assert_eq!(of(b"123456789"), 0x31C3);
        assert_eq!(of(b"foo"), 12182);
        assert_eq!(of(b"foo{hash_tag}"), 2515);
        assert_eq!(of(b"ullim:{chat:42}:presence"), of(b"chat:42"));
        assert_eq!(of(b"foo{}{bar}"), of_all(b"foo{}{bar}"));
        assert_eq!(of(b"foo{{bar}}zap"), of(b"{bar"));
        assert_eq!(of(b""), 0);
    }

    fn of_all(key: &[u8]) -> u16 {
        key.iter().fold(0, |crc: u16, byte| crc << 8 ^ TABLE[usize::from((crc >> 8) as u8 ^ byte)]) % SLOTS
    }

    #[test]
    fn a_command_goes_where_its_first_key_is() {
        let command = |words: &[&str]| {
            let mut command = redis::cmd(words[0]);
            command.arg(&words[1..]);
            of_command(&command)
        };
        let a = Some(of(b"a"));
        for words in [
            &["SPUBLISH", "a", "x"][..],
            &["publish", "a", "x"],
            &["FCALL", "ullim_enter", "3", "{a}:presence", "{a}:users", "{a}:leaving"],
            &["XRANGE", "a", "-", "+"],
            &["XINFO", "GROUPS", "a"],
            &["XREAD", "COUNT", "1", "STREAMS", "a", "0"],
            &["HSCAN", "a", "0"],
        ] {
            assert_eq!(command(words), a, "{words:?}");
        }
        for words in [&["TIME"][..], &["FUNCTION", "LOAD", "a"], &["FCALL", "f", "0", "a"], &["XREAD", "a"]] {
            assert_eq!(command(words), None, "{words:?}");
        }
    }
}
