//! What is driven: how a client connects and subscribes, and how a message is published. Read from a TOML file, so that
//! a server nobody has thought of can be described without a line of code.
//!
//! In every template `$channel` stands for the channel's name, `$id` for a number that is different in each message of a
//! connection, `$client` for the connection's number, `$token` for its token, `$payload` for the published JSON object
//! and `$payload_string` for the same as a JSON string, quotes included.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;

/// A server, or a way of speaking to it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// As it stands in tables.
    pub name: String,
    /// Where clients connect: `ws://` or `wss://`; in the format `stomp` `stomp://`, or `stomps://` with TLS. `$port`
    /// stands for the port that the comparison has chosen.
    pub url: String,
    /// What is offered in `Sec-WebSocket-Protocol`.
    #[serde(default)]
    pub subprotocol: Option<String>,
    /// Further header fields of the request.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// How the messages of `open` and `subscribe` travel.
    #[serde(default)]
    pub format: Format,
    /// What is sent after the upgrade, in this order.
    #[serde(default)]
    pub open: Vec<Exchange>,
    /// What subscribes to one channel. Without it a connection hears the channels named in its URL.
    #[serde(default)]
    pub subscribe: Option<Exchange>,
    /// Messages of the server's that want an answer. Ping frames of WebSocket are answered in any case.
    #[serde(default)]
    pub answer: Vec<Answer>,
    /// How a message is published.
    pub publish: Publish,
    /// What each connection shows as `$token`.
    #[serde(default)]
    pub token: Option<Token>,
    /// How the comparison starts it.
    #[serde(default)]
    pub server: Option<Server>,
    /// The file it was read from; paths in it are relative to its folder.
    #[serde(skip)]
    pub file: PathBuf,
}

/// What the text of the templates becomes on the wire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A text frame, as it stands.
    #[default]
    Text,
    /// A binary frame with the same JSON in MessagePack.
    Msgpack,
    /// As it stands, on a connection that is not upgraded: each message is a frame of STOMP's, and ends with its NUL.
    /// STOMP on WebSocket is `text`.
    Stomp,
}

/// A message, and what comes back.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    /// The message. Left out, the server speaks first.
    #[serde(default)]
    pub send: Option<String>,
    /// What the answer contains, whatever it is written in. Left out, nothing is waited for.
    #[serde(default)]
    pub expect: Option<String>,
    /// Whether what follows is sent only after the answer. Otherwise everything is sent at once.
    #[serde(default)]
    pub wait: bool,
}

/// What is sent when a message comes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The whole message that the server sends.
    pub to: String,
    /// What is sent back.
    pub send: String,
}

/// How a message is published: exactly one of these.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Publish {
    /// A command of Redis'.
    Redis {
        /// `redis://host:port`; `$redis` stands for the server that the comparison has started.
        url: String,
        /// The command and its arguments.
        command: Vec<String>,
    },
    /// A request over HTTP/1.1, pipelined on one connection.
    Http {
        /// `http://` only. `$port` as in `url`.
        url: String,
        /// `POST` unless said otherwise.
        #[serde(default)]
        method: Option<String>,
        /// Header fields.
        #[serde(default)]
        headers: BTreeMap<String, String>,
        /// The body.
        body: String,
    },
    /// A connection like the subscribers', and the message that it sends.
    Client {
        /// The message.
        send: String,
    },
    /// A program that reads one line for each message: the channel, a tab, the payload.
    Program {
        /// The program and its arguments; `$redis` and `$port` as above.
        command: Vec<String>,
    },
}

/// How tokens are signed: JWT with `sub` (`user-$client`) and `exp`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// `HS256`, `RS256`, `ES256` or `EdDSA`.
    pub algorithm: String,
    /// The secret of HS256.
    #[serde(default)]
    pub secret: Option<String>,
    /// A PEM file with the private key of the others. `$dir` stands for the comparison's scratch folder.
    #[serde(default)]
    pub key: Option<String>,
}

/// How the comparison starts a server.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// A program that becomes the server. Its environment tells it `PORT`, `REDIS` (host:port), `DIR` (a scratch folder
    /// of this server's own), `BIN` (where the built programs are) and `NODES` (how many share the Redis). It ends with
    /// 77 and a line on standard error if the server is not installed.
    pub start: PathBuf,
    /// Further environment of this target's.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Whether several of them on one Redis are one cluster.
    #[serde(default)]
    pub cluster: bool,
    /// A program that prints the version of the server.
    #[serde(default)]
    pub version: Option<Vec<String>>,
}

/// The names that may stand in templates.
const NAMES: [&str; 9] = ["channel", "id", "client", "token", "payload", "payload_string", "port", "redis", "dir"];

/// Those of them that `--set` gives a value.
pub const SET: [&str; 3] = ["port", "redis", "dir"];

/// A name that is misspelt would go out as it stands.
fn check_names(value: &toml::Value) -> anyhow::Result<()> {
    match value {
        toml::Value::String(template) => {
            for from in template.split('$').skip(1) {
                let end = from.find(|sign: char| !(sign.is_ascii_lowercase() || sign == '_')).unwrap_or(from.len());
                let name = &from[..end];
                ensure!(
                    name.is_empty() || NAMES.contains(&name),
                    "${name} stands for nothing: there are ${}",
                    NAMES.join(", $")
                );
            }
            Ok(())
        }
        toml::Value::Array(values) => values.iter().try_for_each(check_names),
        toml::Value::Table(values) => values.values().try_for_each(check_names),
        _ => Ok(()),
    }
}

/// The targets that are built in, by their names.
const BUILT_IN: [(&str, &str); 17] = [
    ("centrifugo", include_str!("../targets/centrifugo.toml")),
    ("floor", include_str!("../targets/floor.toml")),
    ("floor-batched", include_str!("../targets/floor-batched.toml")),
    ("nchan", include_str!("../targets/nchan.toml")),
    ("rabbitmq", include_str!("../targets/rabbitmq.toml")),
    ("socketio", include_str!("../targets/socketio.toml")),
    ("sockudo", include_str!("../targets/sockudo.toml")),
    ("ullim-eddsa", include_str!("../targets/ullim-eddsa.toml")),
    ("ullim-es256", include_str!("../targets/ullim-es256.toml")),
    ("ullim-json", include_str!("../targets/ullim-json.toml")),
    ("ullim-msgpack", include_str!("../targets/ullim-msgpack.toml")),
    ("ullim-recoverable", include_str!("../targets/ullim-recoverable.toml")),
    ("ullim-rs256", include_str!("../targets/ullim-rs256.toml")),
    ("ullim-stomp", include_str!("../targets/ullim-stomp.toml")),
    ("ullim-stomp-send", include_str!("../targets/ullim-stomp-send.toml")),
    ("ullim-stomp-websocket", include_str!("../targets/ullim-stomp-websocket.toml")),
    ("ullim-tls", include_str!("../targets/ullim-tls.toml")),
];

impl Target {
    /// A description in a file, or one that is built in.
    pub fn find(name: &str) -> anyhow::Result<Self> {
        let built_in = BUILT_IN.iter().find(|(built_in, _)| *built_in == name);
        match built_in {
            Some((_, text)) => Self::parse(text),
            None if Path::new(name).exists() => Self::read(Path::new(name)),
            None => {
                let names: Vec<_> = BUILT_IN.iter().map(|(name, _)| *name).collect();
                bail!("there is no file {name}, and what is built in is {}", names.join(", "));
            }
        }
    }

    /// Reads a description. Unknown keys are errors.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let target = Self::parse(&text).with_context(|| format!("{} is no target", file.display()))?;
        Ok(Self { file: file.to_owned(), ..target })
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        check_names(&toml::Value::Table(toml::from_str(text)?))?;
        Ok(toml::from_str(text)?)
    }
}
