//! Destinations ⇄ channels.

use serde::{Deserialize, Serialize};

/// What in a topic's name is the end of its namespace, where it has no `:` before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum NamespaceSeparator {
    /// Nothing: names of topics are names of channels.
    #[default]
    #[serde(rename = "none")]
    None,
    /// The first `/`.
    #[serde(rename = "/")]
    Slash,
    /// The first `.`.
    #[serde(rename = ".")]
    Dot,
}

/// What a destination names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The channel. Whether its name keeps the rules of channels is not known yet.
    pub channel: String,
    /// Whether it was called a queue.
    pub is_queue: bool,
}

/// A destination that names no channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DestinationError {
    /// It begins otherwise.
    #[error("a destination begins with \"/topic/\" or \"/queue/\"")]
    Unknown,
    /// Nothing follows.
    #[error("a destination has a name behind \"/topic/\" or \"/queue/\"")]
    Empty,
}

/// What a destination names: `/topic/NAME` the channel `NAME`, with a `:` instead of the first `separator` if no `:`
/// stands before it; `/queue/NAME` the channel `queue/NAME`.
///
/// # Errors
/// It is neither of the two.
pub fn parse(destination: &str, separator: NamespaceSeparator) -> Result<Destination, DestinationError> {
    let named = |name: &str| if name.is_empty() { Err(DestinationError::Empty) } else { Ok(()) };
    if let Some(name) = destination.strip_prefix("/topic/") {
        named(name)?;
        return Ok(Destination { channel: topic(name, separator), is_queue: false });
    }
    let Some(name) = destination.strip_prefix("/queue/") else {
        return Err(DestinationError::Unknown);
    };
    named(name)?;
    Ok(Destination { channel: destination[1..].to_owned(), is_queue: true })
}

fn topic(name: &str, separator: NamespaceSeparator) -> String {
    let separator = match separator {
        NamespaceSeparator::None => return name.to_owned(),
        NamespaceSeparator::Slash => '/',
        NamespaceSeparator::Dot => '.',
    };
    match name.split_once([separator, ':']) {
        Some((namespace, rest)) => format!("{namespace}:{rest}"),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_channels_and_queues_have_a_prefix() {
        use NamespaceSeparator::{Dot, None, Slash};
        let cases = [
            ("/topic/news", None, "news"),
            ("/topic/chat:42", None, "chat:42"),
            ("/topic/chat/42.a", None, "chat/42.a"),
            ("/topic/chat/42/a", Slash, "chat:42/a"),
            ("/topic/chat.42.a", Slash, "chat.42.a"),
            ("/topic/chat.42.a", Dot, "chat:42.a"),
            ("/topic/chat:a/b", Slash, "chat:a/b"),
            ("/topic/chat/a:b", Slash, "chat:a:b"),
            ("/topic//a", Slash, ":a"),
            ("/queue/a", None, "queue/a"),
            ("/queue/a/b.c", Slash, "queue/a/b.c"),
            ("/queue/a/b.c", Dot, "queue/a/b.c"),
        ];
        for (destination, separator, channel) in cases {
            let is_queue = destination.starts_with("/queue/");
            let expected = Destination { channel: channel.to_owned(), is_queue };
            assert_eq!(parse(destination, separator), Ok(expected), "{destination} {separator:?}");
        }
        for other in ["", "news", "topic/news", "/topics/a", "/topic", "/queue", "/app/a", "/temp-queue/a", "/Topic/a"]
        {
            assert_eq!(parse(other, None), Err(DestinationError::Unknown), "{other}");
        }
        for empty in ["/topic/", "/queue/"] {
            assert_eq!(parse(empty, Slash), Err(DestinationError::Empty), "{empty}");
        }
    }

    #[test]
    fn separators_have_names_in_the_configuration() {
        let named = |text| serde_json::from_str::<NamespaceSeparator>(text).ok();
        assert_eq!(named("\"none\""), Some(NamespaceSeparator::None));
        assert_eq!(named("\"/\""), Some(NamespaceSeparator::Slash));
        assert_eq!(named("\".\""), Some(NamespaceSeparator::Dot));
        assert_eq!(named("\":\""), None);
        assert_eq!(serde_json::to_string(&NamespaceSeparator::Slash).unwrap(), "\"/\"");
    }
}
