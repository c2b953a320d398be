//! Which number is told under which name.

use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use ullim_auth::KeyCounters;
use ullim_broker::{Counters, Status};

use super::family::{counter, counters, gauge, histogram, known};
use super::process::Process;
use super::{ClientCounters, Snapshot, TlsCounters};

/// The whole page.
pub(super) fn text(snapshot: Snapshot) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(snapshot.process));
    let ours = registry.sub_registry_with_prefix("ullim");
    ours.register("build", "The version of this node", Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]));
    ours.register_collector(Box::new(snapshot));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        Process::encode(*self, &mut encoder)
    }
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let to = &mut encoder;
        gauge(to, "config_hash", "A number that differs where the configuration does", self.config_hash)?;
        gauge(to, "draining", "Whether this node is shutting down", u64::from(self.draining))?;
        handshakes(to, &self.clients)?;
        self.clients.tls.as_ref().map_or(Ok(()), |it| tls(to, it))?;
        keys(to, &self.clients.keys)?;
        hub(to, &self.clients.hub, &self.broker)?;
        broker(to, &self.broker, self.status)?;
        history(to, &self.clients.hub, &self.broker)?;
        presence(to, &self.broker)
    }
}

fn handshakes(to: &mut DescriptorEncoder, clients: &ClientCounters) -> fmt::Result {
    counters(to, "handshakes_refused", "Handshakes that were refused", "status", &clients.handshakes_refused)?;
    let duration = "From an accepted connection to the answer 101 of its handshake";
    histogram(to, "handshake_duration_seconds", duration, &clients.handshake_duration)?;
    let limited = "Connections refused because their address had too many";
    counters(to, "address_limited", limited, "limit", &clients.address_limited)
}

fn tls(to: &mut DescriptorEncoder, tls: &TlsCounters) -> fmt::Result {
    let handshakes = [("ok", tls.handshakes), ("error", tls.failures)];
    counters(to, "tls_handshakes", "TLS handshakes of clients", "result", handshakes)?;
    counter(to, "tls_resumed", "TLS handshakes that went on with an earlier session", tls.resumed)?;
    let reloads = [("ok", tls.reloads), ("error", tls.reload_failures)];
    counters(to, "tls_reloads", "Times that the certificate was read anew", "result", reloads)?;
    known(to, "tls_certificate_expiry_timestamp_seconds", "When the certificate expires", tls.certificate_expires)
}

fn keys(to: &mut DescriptorEncoder, keys: &KeyCounters) -> fmt::Result {
    gauge(to, "token_keys", "Keys that tokens can be checked with", keys.keys as u64)?;
    let refreshes = [("ok", keys.jwks_refreshes_ok), ("error", keys.jwks_refreshes_failed)];
    counters(to, "jwks_refreshes", "Times that the JWK Set was read", "result", refreshes)?;
    known(to, "jwks_age_seconds", "Since the JWK Set was read", seconds(keys.jwks_age))
}

fn hub(to: &mut DescriptorEncoder, hub: &ullim_hub::Counters, broker: &Counters) -> fmt::Result {
    gauge(to, "connections", "Connections of clients", hub.connections)?;
    counter(to, "connections_opened", "Connections whose handshake was accepted", hub.opened)?;
    counters(to, "disconnects", "Connections that ended", "code", &hub.ended)?;
    counters(to, "auth_failures", "Tokens, or the lack of them, that were refused", "reason", &hub.auth_failures)?;
    counter(to, "sessions_resumed", "Sessions that went on on another connection", hub.resumed)?;
    let replaced = "Connections closed because their session went on on another";
    counter(to, "sessions_replaced", replaced, hub.replaced)?;
    counter(to, "rate_limited", "Commands of clients that were refused for their number", hub.rate_limited)?;
    gauge(to, "subscriptions", "Subscriptions of clients", hub.subscriptions)?;
    let messages_in = [("client", hub.commands), ("broker", broker.received)];
    counters(to, "messages_in", "Commands of clients, publications from the broker", "source", messages_in)?;
    counter(to, "messages_out", "Publications written or queued, once per subscriber", hub.deliveries)?;
    counter(to, "presence_events", "Joins and leaves written or queued, once per subscriber", hub.presence_events)?;
    counter(to, "message_bytes_out", "The bytes of both, framed", hub.message_bytes_out)?;
    let latency = "From a publication's time to the writes of its batch, once per subscriber";
    histogram(to, "delivery_latency_seconds", latency, &hub.delivery_latency)?;
    histogram(to, "fanout_duration_seconds", "How long fan-out of a batch took", &hub.fanout_duration)?;
    let slow = "Connections closed because their clients did not read";
    counter(to, "slow_consumer_closes", slow, hub.slow_closes)?;
    let shed = [("drop_oldest", hub.dropped_oldest), ("latest", hub.dropped_latest)];
    let text = "Publications that gave way because clients read too slowly, once per subscriber";
    counters(to, "slow_consumer_dropped", text, "policy", shed)?;
    counter(to, "gaps", "Gaps told to clients, once per subscriber", hub.gaps)
}

fn broker(to: &mut DescriptorEncoder, broker: &Counters, status: Status) -> fmt::Result {
    gauge(to, "channels", "Channels that this node hears from its broker", broker.channels)?;
    let dropped = [("undecodable", broker.undecodable), ("overload", broker.overflowed)];
    counters(to, "messages_dropped", "Publications that were not delivered", "reason", dropped)?;
    let published = [("ok", broker.published), ("error", broker.publish_errors)];
    counters(to, "publications", "Publications by this node's clients and HTTP API", "result", published)?;
    gauge(to, "relay_up", "Whether the links to the broker stand", u64::from(status == Status::Up))?;
    counter(to, "relay_gaps", "Gaps told to the shards of this node", broker.gaps)?;
    let stray = "Publications from the broker on channels that this node never subscribed to";
    counter(to, "relay_stray", stray, broker.stray)?;
    let unsharded = "Publications in a Redis Cluster that were published without sharding";
    counter(to, "relay_unsharded", unsharded, broker.unsharded)?;
    known(
        to,
        "relay_last_message_age_seconds",
        "Since the broker last relayed something",
        seconds(broker.last_message_age),
    )?;
    known(to, "relay_probe_rtt_seconds", "Round trip of the last probe of the relay", seconds(broker.probe_rtt))?;
    counter(to, "relay_probe_failures", "Probes of the relay that failed", broker.probe_failures)?;
    counter(to, "redis_reconnects", "Links to Redis that were built anew", broker.reconnects)?;
    counter(to, "redis_errors", "Commands that Redis answered with an error", broker.redis_errors)?;
    let duration = "Round trips of batches of commands";
    histogram(to, "redis_command_duration_seconds", duration, &broker.command_duration)
}

fn history(to: &mut DescriptorEncoder, hub: &ullim_hub::Counters, broker: &Counters) -> fmt::Result {
    let recoveries = [("recovered", hub.recovered), ("not_recovered", hub.not_recovered)];
    counters(to, "recoveries", "Subscriptions that named a position", "result", recoveries)?;
    counter(to, "recovered_messages", "Publications that recoveries brought", hub.recovered_publications)?;
    let reads = [("whole", broker.recoveries_whole), ("cut", broker.recoveries_cut), ("lost", broker.recoveries_lost)];
    counters(to, "history_recoveries", "What reading for recoveries came to, once for all who wait", "result", reads)?;
    counter(to, "history_errors", "Reads of histories that failed", broker.history_errors)?;
    counter(to, "history_verified", "Times that a channel was compared with its history", broker.verified)?;
    let repairs = [("link", broker.repairs), ("shard", hub.repairs)];
    counters(to, "repairs", "Holes that were filled from the history", "where", repairs)?;
    let repaired = [("link", broker.repaired), ("shard", hub.repaired_publications)];
    counters(to, "repaired_messages", "Publications that filled them", "where", repaired)?;
    counter(to, "repair_gaps", "Holes of shards that could not be filled, and were told as gaps", hub.repair_gaps)?;
    let plain = "Publications without a position on recoverable channels, which are outside of the promise";
    counter(to, "plain_publications", plain, broker.plain)
}

fn presence(to: &mut DescriptorEncoder, broker: &Counters) -> fmt::Result {
    let up = "Whether who is in channels can be read and changed in the broker";
    known(to, "presence_up", up, broker.presence_up.map(u64::from))?;
    gauge(to, "presence_members", "Members of channels that this node keeps up", broker.presence_members)?;
    counter(to, "presence_reaped", "Members of dead nodes that this node removed", broker.presence_reaped)?;
    let reasserted = "Members that were entered anew after a fault";
    counter(to, "presence_reasserted", reasserted, broker.presence_reasserted)?;
    let invalid = "Members in the broker that could not be understood";
    counter(to, "presence_invalid", invalid, broker.presence_invalid)?;
    counter(to, "control_received", "Orders from nodes", broker.control_received)?;
    counter(to, "control_dropped", "Orders that could not be read, or did not fit", broker.control_dropped)
}

fn seconds(duration: Option<Duration>) -> Option<f64> {
    duration.map(|duration| duration.as_secs_f64())
}

#[cfg(test)]
mod tests;
