//! What can be typed: the commands, their arguments and flags.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use ullim_protocol::position::Position;

use crate::configuration::{Document, Layers};
use crate::logging::Format;

/// A cluster of nodes that relay messages to connected clients, in real time.
#[derive(Debug, Parser)]
#[command(name = "ullim", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a node to try things out: nothing to configure, loopback only
    Dev(DevArgs),
    /// Run a node
    Serve(Overrides),
    /// Publish to a channel
    Pub(PubArgs),
    /// Print what is published on channels
    Sub(SubArgs),
    /// Print what was published on a recoverable channel
    History(HistoryArgs),
    /// Make a token for a user
    Token(TokenArgs),
    /// Hash a passcode from stdin, for auth.users.NAME.passcode
    Passcode,
    /// Look at the configuration
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print "ok", or all that is wrong
    Check(Overrides),
    /// Print what is in effect, secrets as ***
    Show(Overrides),
}

/// Where the configuration of `serve` comes from.
#[derive(Debug, Default, Args)]
pub(crate) struct Overrides {
    /// A file in TOML or YAML
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
    /// How log lines look
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<Format>,
}

/// Keys that are set on the command line.
#[derive(Debug, Default, Args)]
pub(crate) struct Flags {
    /// Set any key of the configuration; repeat for more
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// Where clients connect (client.listen)
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Where health, metrics and the HTTP API are served (internal.listen)
    #[arg(long, value_name = "ADDRESS")]
    internal: Option<SocketAddr>,
    /// Join the other nodes at this Redis (broker.kind, broker.redis.url)
    #[arg(long, value_name = "URL")]
    pub(crate) redis: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    #[command(flatten)]
    pub(crate) flags: Flags,
    /// Print addresses and keys as one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SubArgs {
    /// The channels to hear
    #[arg(required = true, value_name = "CHANNEL")]
    pub(crate) channels: Vec<String>,
    #[command(flatten)]
    pub(crate) server: Server,
    /// Print one JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
    /// Print who is there, who comes and who goes as well
    #[arg(long)]
    pub(crate) presence: bool,
    /// End after this many messages
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u64>,
    /// Go on behind this position of the one recoverable channel: what was missed comes first
    #[arg(long, value_name = "EPOCH-OFFSET", value_parser = position)]
    pub(crate) since: Option<Position>,
}

#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// Whose history
    pub(crate) channel: String,
    #[command(flatten)]
    pub(crate) server: Server,
    /// Print one JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
    /// Only what lies behind this position, or before it with --reverse
    #[arg(long, value_name = "EPOCH-OFFSET", value_parser = position)]
    pub(crate) since: Option<Position>,
    /// The most messages
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
    /// Newest first
    #[arg(long)]
    pub(crate) reverse: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PubArgs {
    /// Where to publish
    pub(crate) channel: String,
    /// JSON if it is valid JSON, else text; "-" publishes each line of stdin
    #[arg(allow_hyphen_values = true)]
    pub(crate) data: String,
    /// Publish through this Redis, as a backend would, rather than as a client
    #[arg(long, value_name = "URL", conflicts_with_all = ["url", "token", "ca"])]
    pub(crate) redis: Option<String>,
    /// The nodes' configuration: which namespaces are recoverable, and what payloads are. Without it the nodes have told
    /// Redis the former
    #[arg(long, value_name = "FILE", requires = "redis")]
    pub(crate) config: Option<PathBuf>,
    /// On a recoverable channel: publish this once, however often it is tried within five minutes
    #[arg(long)]
    pub(crate) id: Option<String>,
    /// What the names of channels in Redis begin with
    #[arg(long, default_value = "ullim", requires = "redis")]
    pub(crate) prefix: String,
    #[command(flatten)]
    pub(crate) server: Server,
    /// The data are text, even if they are valid JSON
    #[arg(long, conflicts_with = "binary_b64")]
    pub(crate) text: bool,
    /// The data are base64 of bytes
    #[arg(long)]
    pub(crate) binary_b64: bool,
}

/// The node that a tool talks to.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// Where the node listens for clients, ws:// or wss://
    #[arg(long, value_name = "URL", default_value = "ws://127.0.0.1:8000/ws")]
    pub(crate) url: String,
    /// Who to be; without one, an anonymous client
    #[arg(long)]
    pub(crate) token: Option<String>,
    /// Trust the certificate authorities in this file (PEM) besides those of the system
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    /// The user's name, the token's "sub"
    pub(crate) user: String,
    /// The secret to sign with; without one, ULLIM_AUTH__HS256_SECRET or that of `ullim dev`
    #[arg(long, conflicts_with = "config")]
    pub(crate) secret: Option<String>,
    /// Take auth.hs256_secret, and auth.audience and auth.issuer, from this file and the environment
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Make a subscription token for this channel
    #[arg(long)]
    pub(crate) channel: Option<String>,
    /// What others are told of the user (presence), the token's "info"
    #[arg(long, value_name = "JSON")]
    pub(crate) info: Option<String>,
    /// How long it is good
    #[arg(long, default_value = "1h", value_parser = humantime::parse_duration)]
    pub(crate) ttl: Duration,
}

impl Server {
    /// How to reach it.
    pub(crate) fn config(self) -> ullim_client::Config {
        let mut config = ullim_client::Config::new([self.url]);
        config.token = self.token.map(ullim_client::Token::fixed);
        config.ca_file = self.ca;
        config
    }
}

impl Overrides {
    /// The file, the environment and the flags.
    pub(crate) fn layers(&self) -> Layers {
        let mut flags = self.flags.pairs();
        if let Some(format) = self.log_format {
            let format = if format == Format::Json { "json" } else { "human" };
            flags.push(("log.format".to_owned(), format.to_owned()));
        }
        file_and_environment(self.config.clone(), flags)
    }
}

impl Flags {
    /// The keys that they set; the later one wins.
    pub(crate) fn pairs(&self) -> Vec<(String, String)> {
        let address = |key: &str, address: Option<SocketAddr>| Some((key.to_owned(), address?.to_string()));
        let mut pairs = self.set.clone();
        pairs.extend(address("client.listen", self.listen));
        pairs.extend(address("internal.listen", self.internal));
        if let Some(url) = &self.redis {
            pairs.push(("broker.kind".to_owned(), "redis".to_owned()));
            pairs.push(("broker.redis.url".to_owned(), url.clone()));
        }
        pairs
    }
}

/// Layers of a command that reads this process's environment.
pub(crate) fn file_and_environment(file: Option<PathBuf>, flags: Vec<(String, String)>) -> Layers {
    // What is not Unicode is no value that a key could take.
    let variables =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Layers { document: file.map(Document::File), variables: variables.collect(), flags }
}

fn position(text: &str) -> Result<Position, String> {
    Position::parse(text).ok_or_else(|| "it must be an epoch, a hyphen and an offset, as they were printed".to_owned())
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("it must be KEY=VALUE, such as client.shards=2")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_commands_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn short_forms_set_keys() {
        let line = "ullim serve --set client.shards=2 --listen 127.0.0.1:1 --redis redis://h?a=b --log-format json";
        let Command::Serve(overrides) = Cli::parse_from(line.split(' ')).command else { panic!() };
        let flags = overrides.layers().flags;
        let flags: Vec<_> = flags.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(
            flags,
            [
                "client.shards=2",
                "client.listen=127.0.0.1:1",
                "broker.kind=redis",
                "broker.redis.url=redis://h?a=b",
                "log.format=json"
            ]
        );
    }

    #[test]
    fn data_may_begin_with_a_hyphen() {
        let Command::Pub(arguments) = Cli::parse_from(["ullim", "pub", "a", "-1"]).command else { panic!() };
        assert_eq!(arguments.data, "-1");
        for flag in ["--token", "--ca"] {
            assert!(Cli::try_parse_from(["ullim", "pub", "a", "1", "--redis", "redis://h", flag, "t"]).is_err());
        }
    }
}
