//! What was typed → the data of a publication.

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines, Stdin};
use ullim_protocol::publication::{Data, PayloadRule};

/// How what was typed is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// JSON if it is valid JSON, else text.
    Guess,
    /// Text.
    Text,
    /// Base64 of bytes.
    Base64,
}

impl Reading {
    pub(super) fn new(text: bool, base64: bool) -> Self {
        match (text, base64) {
            (true, _) => Self::Text,
            (false, true) => Self::Base64,
            (false, false) => Self::Guess,
        }
    }

    pub(super) fn read(self, typed: String) -> anyhow::Result<Data> {
        match self {
            Self::Text => Ok(Data::Text(typed.into())),
            Self::Base64 => {
                let bytes = STANDARD.decode(typed.trim()).context("this is not base64 with padding")?;
                Ok(Data::Binary(bytes.into()))
            }
            Self::Guess => match PayloadRule::Auto.classify(typed.into()) {
                Some(data) => Ok(data),
                None => bail!("this cannot be published"),
            },
        }
    }
}

/// What is to be published, one publication after the other.
pub(super) enum Input {
    Once(Option<String>),
    Stdin(Lines<BufReader<Stdin>>),
}

impl Input {
    /// `-` stands for the lines of stdin.
    pub(super) fn new(argument: String) -> Self {
        if argument == "-" {
            Self::Stdin(BufReader::new(tokio::io::stdin()).lines())
        } else {
            Self::Once(Some(argument))
        }
    }

    pub(super) async fn next(&mut self) -> anyhow::Result<Option<String>> {
        match self {
            Self::Once(argument) => Ok(argument.take()),
            Self::Stdin(lines) => lines.next_line().await.context("stdin cannot be read"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ullim_protocol::publication::Kind;

    #[test]
    fn what_is_valid_json_is_json_unless_told_otherwise() {
        let kind = |reading: Reading, typed: &str| reading.read(typed.to_owned()).unwrap().kind();
        assert_eq!(kind(Reading::new(false, false), r#"{"a":1}"#), Kind::Json);
        assert_eq!(kind(Reading::new(false, false), "hello"), Kind::Text);
        assert_eq!(kind(Reading::new(true, false), "42"), Kind::Text);
        assert_eq!(kind(Reading::new(false, true), "/wA="), Kind::Binary);
        assert!(Reading::Base64.read("hello!".to_owned()).is_err());
    }
}
