//! Every error and close code that a client can see: number, name, whether to try again, and what it means. The tables
//! of `docs/protocol.md` are tested against these.

/// Why a command was refused.
#[derive(Debug, PartialEq, Eq)]
pub struct ErrorCode {
    /// The number on the wire.
    pub number: u16,
    /// The name on the wire.
    pub name: &'static str,
    /// Whether the same command may succeed later without a change.
    pub retry: bool,
    /// What it means, for the documentation.
    pub meaning: &'static str,
}

/// Why a connection was closed.
#[derive(Debug, PartialEq, Eq)]
pub struct CloseCode {
    /// The code of the WebSocket close frame.
    pub number: u16,
    /// The name that begins the close frame's reason.
    pub name: &'static str,
    /// Whether to connect again.
    pub retry: bool,
    /// What it means, for the documentation.
    pub meaning: &'static str,
}

macro_rules! codes {
    ($kind:ident, $all:ident: $($constant:ident = $number:literal $name:literal $retry:ident $meaning:literal;)*) => {
        $(#[doc = $meaning] pub static $constant: $kind = $kind {
            number: $number, name: $name, retry: codes!(@$retry), meaning: $meaning,
        };)*
        /// The whole table, in the order of the numbers.
        pub static $all: &[&$kind] = &[$(&$constant),*];
    };
    (@retry) => { true };
    (@final) => { false };
}

codes! { ErrorCode, ERRORS:
    BAD_MESSAGE = 100 "bad_message" final
        "the message is not an object of this encoding, or a field has the wrong type";
    UNKNOWN_COMMAND = 101 "unknown_command" final "the message holds no command that this node knows";
    NOT_CONNECTED = 102 "not_connected" final "the first command must be `connect`";
    PERMISSION_DENIED = 103 "permission_denied" final "this session may not do that on this channel";
    BAD_CHANNEL = 104 "bad_channel" final "the channel's name breaks a rule";
    UNKNOWN_NAMESPACE = 105 "unknown_namespace" final "the channel's namespace is not configured";
    ALREADY_CONNECTED = 106 "already_connected" final "this connection has a session already";
    BAD_TOKEN = 107 "bad_token" final "the token is missing, malformed, signed otherwise, or lacks a claim";
    TOKEN_EXPIRED = 108 "token_expired" final "the token's `exp` has passed: fetch a new one";
    TOO_MANY_SUBSCRIPTIONS = 109 "too_many_subscriptions" final
        "this connection holds as many subscriptions as it may";
    BAD_DATA = 110 "bad_data" final "the publication's data cannot be carried";
    UNAVAILABLE = 111 "unavailable" retry "the broker, or whoever has the keys of tokens, cannot be reached or did not answer in time";
    RATE_LIMITED = 112 "rate_limited" retry "more commands per second than `hub.commands_per_second`";
    SUBSCRIPTION_ENDED = 113 "subscription_ended" final "the subscription was ended by the node";
    SUBSCRIPTION_EXPIRED = 114 "subscription_expired" final
        "the subscription's token has expired: subscribe again with a new one";
    NO_PRESENCE = 115 "no_presence" final "the channel's namespace keeps no presence";
    NO_HISTORY = 116 "no_history" final "the channel's namespace keeps no history";
    HISTORY_RESET = 117 "history_reset" retry
        "the channel's history has gone back: forget your position, and subscribe again without it";
}

codes! { CloseCode, CLOSES:
    CLOSED = 1000 "closed" final "the client closed the connection";
    GOING_AWAY = 1001 "going_away" retry "the node is shutting down: connect to another";
    PROTOCOL_ERROR = 1002 "protocol_error" final "a frame breaks RFC 6455, or the rules of STOMP";
    UNSUPPORTED_DATA = 1003 "unsupported_data" final "text where binary is due, or the reverse";
    INVALID_UTF8 = 1007 "invalid_utf8" final "a text message or a close reason is not UTF-8";
    MESSAGE_TOO_BIG = 1009 "message_too_big" final
        "a message exceeds `client.message_bytes` or `client.message_fragments`";
    INTERNAL_ERROR = 1011 "internal_error" retry "a fault of the node";
    CONNECT_TIMEOUT = 4001 "connect_timeout" retry "no `connect` in time";
    HEARTBEAT_TIMEOUT = 4002 "heartbeat_timeout" retry "nothing was heard from the client for two heartbeats";
    SLOW_CONSUMER = 4003 "slow_consumer" retry
        "more than `hub.queue_bytes` were waiting to be read by the client";
    COMMAND_FLOOD = 4004 "command_flood" retry
        "the client kept sending commands while they were refused with `rate_limited`";
    SESSION_EXPIRED = 4005 "token_expired" retry "the token's `exp` has passed: connect again with a new one";
    DISCONNECTED = 4006 "disconnected" final "a backend ended this user's connections";
    SESSION_REPLACED = 4007 "session_replaced" final "the session was resumed on a newer connection";
    REFUSED = 4008 "refused" final "a STOMP frame was refused: the ERROR frame before says why";
}

impl CloseCode {
    /// The reason of the close frame: the name and the text that goes with it, at most 123 bytes (RFC 6455, 5.5).
    pub fn reason(&self, detail: &str) -> String {
        let mut reason = format!("{}: {detail}", self.name);
        let end = (0..=reason.len().min(123)).rev().find(|&end| reason.is_char_boundary(end));
        reason.truncate(end.unwrap_or(0));
        reason
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of the table under `heading` as (number, name, retry, meaning).
    fn documented(heading: &str) -> Vec<(u16, String, bool, String)> {
        let page = include_str!("../../../docs/protocol.md");
        let section = page.split(&format!("\n## {heading}\n")).nth(1).unwrap();
        let section = section.split("\n## ").next().unwrap();
        let rows = section.lines().filter(|line| line.starts_with("| ") && line.as_bytes()[2].is_ascii_digit());
        rows.map(|row| {
            let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
            let name = cells[1].trim_matches('`').to_owned();
            (cells[0].parse().unwrap(), name, cells[2] == "yes", cells[3].to_owned())
        })
        .collect()
    }

    #[test]
    fn the_documentation_lists_every_error() {
        let table: Vec<_> =
            ERRORS.iter().map(|e| (e.number, e.name.to_owned(), e.retry, e.meaning.to_owned())).collect();
        assert_eq!(documented("Errors"), table);
    }

    #[test]
    fn the_documentation_lists_every_close_code() {
        let table: Vec<_> =
            CLOSES.iter().map(|c| (c.number, c.name.to_owned(), c.retry, c.meaning.to_owned())).collect();
        assert_eq!(documented("Close codes"), table);
    }

    #[test]
    fn reasons_fit_a_close_frame() {
        assert_eq!(SLOW_CONSUMER.reason("x"), "slow_consumer: x");
        let long = SLOW_CONSUMER.reason(&"é".repeat(200));
        assert!(long.len() <= 123 && long.len() > 119);
    }
}
