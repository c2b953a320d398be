//! What types cannot say of a configuration.

use std::ops::RangeInclusive;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use ullim_api::config::MIN_KEY_BYTES;
use ullim_auth::Verifier;
use ullim_broker::MAX_SHARDS;
use ullim_broker::config::Kind;
use ullim_hub::config::{NamespaceConfig, SlowConsumer};
use ullim_protocol::channel::ChannelName;

use super::Settings;
use crate::{dev, file_limit};

/// Connections and files that a node needs beside its clients'.
const SPARE_FILES: u64 = 100;

/// A node renews its lease of 4 s each second: a command must not take longer than what is left.
const LONGEST_COMMAND: Duration = Duration::from_secs(3);

/// All that is wrong, a sentence each.
pub(super) fn check(settings: &Settings) -> Vec<String> {
    let mut problems = Vec::new();
    auth(settings, &mut problems);
    internal(settings, &mut problems);
    limits(settings, &mut problems);
    client(settings, &mut problems);
    redis(settings, &mut problems);
    namespaces(settings, &mut problems);
    if let Err(error) = EnvFilter::try_new(&settings.log.level) {
        problems.push(format!("log.level: {error}"));
    }
    problems
}

/// What works, but hardly as it was meant, a sentence each.
pub(super) fn doubts(settings: &Settings) -> Vec<String> {
    let tls = &settings.client.tls;
    let doubts = [
        (
            settings.namespaces.0.is_empty(),
            "no namespace is configured, so there is no channel: add a section [namespaces.default]",
        ),
        (
            tls.listen.is_none()
                && settings.client.stomp.tls_listen.is_none()
                && (tls.certificate.is_some() || tls.key.is_some()),
            "client.tls.listen is not set, so the certificate is not used and nobody can connect with TLS",
        ),
        (
            settings.broker.kind == Kind::Redis && settings.broker.redis.command_timeout > LONGEST_COMMAND,
            "broker.redis.command_timeout is more than 3s: a node that waits longer for a command may lose its lease of \
             4 s, and its sessions their places in channels until they are entered again",
        ),
    ];
    doubts.into_iter().filter(|(is_so, _)| *is_so).map(|(_, doubt)| doubt.to_owned()).collect()
}

/// Between what a runtime can wait for at all and what its clock can hold.
const SENSIBLE: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(24 * 60 * 60);

fn auth(settings: &Settings, problems: &mut Vec<String>) {
    if let Err(error) = Verifier::new(&settings.auth) {
        problems.push(error.to_string());
    }
}

fn internal(settings: &Settings, problems: &mut Vec<String>) {
    let listen = settings.internal.listen;
    let is_local = listen.ip().to_canonical().is_loopback();
    let Some(key) = &settings.internal.api_key else {
        if !is_local {
            problems.push(format!(
                "internal.listen is {listen}, which others can reach: set internal.api_key (openssl rand -hex 32), \
                 or listen on 127.0.0.1"
            ));
        }
        return;
    };
    let key = key.expose();
    if key.is_empty() {
        problems.push("internal.api_key is empty: leave it out to turn the HTTP API off".to_owned());
    } else if key.len() < MIN_KEY_BYTES {
        let bytes = key.len();
        problems.push(format!(
            "internal.api_key has {bytes} bytes; it needs at least {MIN_KEY_BYTES}: openssl rand -hex 32"
        ));
    } else if key.trim() != key || key.chars().any(char::is_control) {
        problems
            .push("internal.api_key cannot be sent in a header: no spaces around it, no control characters".to_owned());
    } else if !is_local && [dev::API_KEY, dev::SECRET].contains(&key) {
        problems.push(format!(
            "internal.api_key is that of `ullim dev`, which everybody knows, and others can reach {listen}: set one of \
             your own, or listen on loopback addresses only"
        ));
    }
}

fn limits(settings: &Settings, problems: &mut Vec<String>) {
    let Settings { client, internal, auth, broker, hub, drain, .. } = settings;
    let sizes = [
        ("client.header_bytes", client.header_bytes),
        ("client.message_bytes", client.message_bytes),
        ("client.message_fragments", client.message_fragments),
        ("client.stomp.headers", client.stomp.headers),
        ("client.stomp.header_bytes", client.stomp.header_bytes),
        ("client.stomp.transactions", client.stomp.transactions),
        ("client.stomp.transaction_frames", client.stomp.transaction_frames),
        ("client.max_connections", client.max_connections.unwrap_or(1)),
        ("auth.jwks.bytes", auth.jwks.bytes),
        ("internal.max_connections", internal.max_connections),
        ("internal.max_requests", internal.max_requests),
        ("broker.payload_bytes", broker.payload_bytes),
        ("hub.subscriptions", hub.subscriptions),
        ("hub.queue_bytes", hub.queue_bytes),
        ("hub.commands_per_second", hub.commands_per_second as usize),
    ];
    let durations = [
        ("client.handshake_timeout", client.handshake_timeout),
        ("client.close_timeout", client.close_timeout),
        ("auth.resume_ttl", auth.resume_ttl),
        ("auth.jwks.refresh_interval", auth.jwks.refresh_interval),
        ("auth.jwks.min_refresh_interval", auth.jwks.min_refresh_interval),
        ("auth.jwks.timeout", auth.jwks.timeout),
        ("client.tls.reload_interval", client.tls.reload_interval),
        ("internal.idle_timeout", internal.idle_timeout),
        ("internal.request_timeout", internal.request_timeout),
        ("broker.redis.ping_interval", broker.redis.ping_interval),
        ("broker.redis.ping_timeout", broker.redis.ping_timeout),
        ("broker.redis.canary_interval", broker.redis.canary_interval),
        ("broker.redis.command_timeout", broker.redis.command_timeout),
        ("hub.connect_timeout", hub.connect_timeout),
        ("hub.ping_interval", hub.ping_interval),
        ("hub.subscribe_timeout", hub.subscribe_timeout),
        ("drain.window", drain.window),
    ];
    let zero_sizes = sizes.iter().filter(|(_, size)| *size == 0).map(|(key, _)| key);
    problems.extend(zero_sizes.map(|key| format!("{key} must be more than 0")));
    let absurd = durations.iter().filter(|(_, duration)| !SENSIBLE.contains(duration)).map(|(key, _)| key);
    problems.extend(absurd.map(|key| format!("{key} must be from 1ms to 1day")));
    if broker.redis.cooldown > *SENSIBLE.end() {
        problems.push("broker.redis.cooldown must be at most 1day".to_owned());
    }
    if broker.shard_queue_bytes < broker.payload_bytes {
        problems.push("broker.shard_queue_bytes must be at least broker.payload_bytes".to_owned());
    }
}

fn client(settings: &Settings, problems: &mut Vec<String>) {
    let client = &settings.client;
    if client.shards > MAX_SHARDS {
        problems.push(format!("client.shards is {}: there can be at most {MAX_SHARDS}", client.shards));
    }
    let listeners = [
        ("client.listen", Some(client.listen)),
        ("client.tls.listen", client.tls.listen),
        ("client.stomp.listen", client.stomp.listen),
        ("client.stomp.tls_listen", client.stomp.tls_listen),
        ("internal.listen", Some(settings.internal.listen)),
    ];
    for (index, (key, address)) in listeners.iter().enumerate() {
        let Some(address) = address.filter(|address| address.port() != 0) else { continue };
        let same = listeners[index + 1..].iter().filter(|(_, other)| *other == Some(address));
        problems.extend(same.map(|(other, _)| format!("{key} and {other} are both {address}")));
    }
    if let Err(error) = ullim_gateway::check_certificate(client) {
        problems.push(error.to_string());
    }
    let files = file_limit::raise();
    if let Some(connections) = client.max_connections
        && connections as u64 > files.saturating_sub(SPARE_FILES)
    {
        problems.push(format!(
            "client.max_connections is {connections}, but this process may open only {files} files: \
             raise the limit (ulimit -n, LimitNOFILE), or lower the key to {} at most",
            files.saturating_sub(SPARE_FILES)
        ));
    }
    for origin in client.origins.iter().filter(|origin| !is_origin(origin)) {
        problems.push(format!(
            "client.origins: {origin:?} is not an origin: it must be \"*\" or a scheme, a host and perhaps a port, \
             such as \"https://example.com\", and nothing more"
        ));
    }
}

/// As browsers send it: compared exactly, so that a path or a slash at the end would never match.
fn is_origin(origin: &str) -> bool {
    let Some((scheme, host)) = origin.split_once("://") else {
        return origin == "*" || origin == "null";
    };
    let is_scheme = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c);
    let is_host = |c: char| c.is_alphanumeric() || ".-:[]_".contains(c);
    let parts_are_plain = scheme.chars().all(is_scheme) && host.chars().all(is_host);
    !scheme.is_empty() && !host.is_empty() && parts_are_plain && *origin == origin.to_lowercase()
}

fn redis(settings: &Settings, problems: &mut Vec<String>) {
    if settings.broker.kind == Kind::Redis
        && let Err(error) = ullim_broker::redis::check(&settings.broker.redis)
    {
        problems.push(format!("broker.redis: {error}"));
    }
}

fn namespaces(settings: &Settings, problems: &mut Vec<String>) {
    for (name, namespace) in &settings.namespaces.0 {
        if namespace.presence_grace > *SENSIBLE.end() {
            problems.push(format!("namespaces.{name}.presence_grace must be at most 1day"));
        }
        history(name, namespace, problems);
        let problem = match ChannelName::parse(&format!("{name}:x")) {
            Err(error) => error.to_string(),
            Ok(_) if name.is_empty() => "a namespace needs a name".to_owned(),
            Ok(_) if name.contains(':') => "a namespace's name ends before the first \":\" of a channel".to_owned(),
            Ok(_) => continue,
        };
        problems.push(format!("namespaces.{name}: {problem}"));
    }
}

/// The most publications that can be kept of a channel, or recovered at once.
const MAX_KEPT: usize = 1_000_000;

/// How long a history may outlive its last publication: from a second to a year.
const KEPT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(365 * 24 * 60 * 60);

fn history(name: &str, namespace: &NamespaceConfig, problems: &mut Vec<String>) {
    let sizes = [("history_size", namespace.history_size), ("recover_limit", namespace.recover_limit)];
    for (key, size) in sizes.into_iter().filter(|(_, size)| !(1..=MAX_KEPT).contains(size)) {
        problems.push(format!("namespaces.{name}.{key} is {size}: it must be from 1 to {MAX_KEPT}"));
    }
    if !KEPT.contains(&namespace.history_ttl) {
        problems.push(format!("namespaces.{name}.history_ttl must be from 1s to 365days"));
    }
    if namespace.cache && !namespace.recoverable {
        problems.push(format!(
            "namespaces.{name}.cache needs the history of a recoverable namespace: set namespaces.{name}.recoverable to \
             true, or leave cache out"
        ));
    }
    let drops = match namespace.slow_consumer {
        SlowConsumer::Close => return,
        SlowConsumer::DropOldest => "drop_oldest",
        SlowConsumer::Latest => "latest",
    };
    if namespace.recoverable {
        problems.push(format!(
            "namespaces.{name}.slow_consumer is {drops:?}, which loses publications, but the namespace is recoverable, \
             where none may be lost: set it to \"close\", or set namespaces.{name}.recoverable to false"
        ));
    }
}
