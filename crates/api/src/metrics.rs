//! What this node has counted, for Prometheus. Labels never carry a user or a channel.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use ullim_broker::{Broker, Counters, Status};

use crate::ApiState;

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the clients' side of a node has counted since its start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientCounters {
    /// The sum of all shards.
    pub hub: ullim_hub::Counters,
    /// Handshakes that were refused, by HTTP status.
    pub handshakes_refused: BTreeMap<u16, u64>,
}

/// Where a scrape finds them.
#[derive(Clone)]
pub struct CounterSource(Arc<dyn Fn() -> ClientCounters + Send + Sync>);

impl CounterSource {
    /// `snapshot` is called at each scrape, and must not wait.
    pub fn new(snapshot: impl Fn() -> ClientCounters + Send + Sync + 'static) -> Self {
        Self(Arc::new(snapshot))
    }
}

pub(crate) async fn scrape(State(state): State<ApiState>) -> Response {
    match exposition(state.broker.as_ref(), (state.counters.0)()) {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(fmt::Error) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn exposition(broker: &dyn Broker, clients: ClientCounters) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("ullim");
    registry.register("build", "The version of this node", Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]));
    registry.register_collector(Box::new(Scrape { clients, broker: broker.counters(), status: broker.status() }));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

/// The counters as they stood at one moment.
#[derive(Debug)]
struct Scrape {
    clients: ClientCounters,
    broker: Counters,
    status: Status,
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let Self { clients, broker, status } = self;
        let to = &mut encoder;
        let hub = &clients.hub;
        gauge(to, "connections", "Connections of clients", hub.connections)?;
        counter(to, "connections_opened", "Connections whose handshake was accepted", hub.opened)?;
        counters(to, "disconnects", "Connections that ended", "code", &hub.ended)?;
        counters(to, "handshakes_refused", "Handshakes that were refused", "status", &clients.handshakes_refused)?;
        counter(to, "auth_failures", "Tokens that were refused", hub.auth_failures)?;
        counter(to, "rate_limited", "Commands of clients that were refused for their number", hub.rate_limited)?;
        gauge(to, "subscriptions", "Subscriptions of clients", hub.subscriptions)?;
        gauge(to, "channels", "Channels that this node hears from its broker", broker.channels)?;
        let messages_in = [("client", hub.commands), ("broker", broker.received)];
        counters(to, "messages_in", "Commands of clients, publications from the broker", "source", messages_in)?;
        counter(to, "messages_out", "Publications written or queued, once per subscriber", hub.deliveries)?;
        let dropped = [("undecodable", broker.undecodable), ("overload", broker.overflowed)];
        counters(to, "messages_dropped", "Publications that were not delivered", "reason", dropped)?;
        let slow = "Connections closed because their clients did not read";
        counter(to, "slow_consumer_closes", slow, hub.slow_closes)?;
        counter(to, "gaps", "Gaps told to clients, once per subscriber", hub.gaps)?;
        let published = [("ok", broker.published), ("error", broker.publish_errors)];
        counters(to, "publications", "Publications by this node's clients and HTTP API", "result", published)?;
        gauge(to, "relay_up", "Whether the links to the broker stand", u64::from(*status == Status::Up))?;
        counter(to, "relay_gaps", "Gaps told to the shards of this node", broker.gaps)?;
        counter(to, "redis_reconnects", "Links to Redis that were built anew", broker.reconnects)
    }
}

fn gauge(to: &mut DescriptorEncoder, name: &str, help: &str, value: u64) -> fmt::Result {
    let gauge = ConstGauge::new(value);
    gauge.encode(to.encode_descriptor(name, help, None, gauge.metric_type())?)
}

fn counter(to: &mut DescriptorEncoder, name: &str, help: &str, value: u64) -> fmt::Result {
    let counter = ConstCounter::new(value);
    counter.encode(to.encode_descriptor(name, help, None, counter.metric_type())?)
}

/// One counter for each value of `label`.
fn counters(
    to: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    label: &str,
    values: impl IntoIterator<Item = (impl fmt::Display, impl Borrow<u64>)>,
) -> fmt::Result {
    let metric_type = ConstCounter::new(0u64).metric_type();
    let mut family = to.encode_descriptor(name, help, None, metric_type)?;
    for (value, count) in values {
        let labels = [(label, value.to_string())];
        ConstCounter::new(*count.borrow()).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ullim_broker::PayloadRules;
    use ullim_broker::memory::MemoryBroker;

    #[test]
    fn every_counter_is_exposed_under_its_name() {
        let broker = MemoryBroker::new(&ullim_broker::Config::default(), PayloadRules::default());
        let ended = BTreeMap::from([(1001, 2), (4003, 1)]);
        let hub = ullim_hub::Counters { connections: 3, ended, slow_closes: 7, ..Default::default() };
        let clients = ClientCounters { hub, handshakes_refused: BTreeMap::from([(403, 5)]) };
        let text = exposition(&broker, clients).unwrap();
        for line in [
            "ullim_build_info{version=\"0.1.0\"} 1",
            "ullim_connections 3",
            "ullim_connections_opened_total 0",
            "ullim_disconnects_total{code=\"4003\"} 1",
            "ullim_handshakes_refused_total{status=\"403\"} 5",
            "ullim_messages_in_total{source=\"broker\"} 0",
            "ullim_slow_consumer_closes_total 7",
            "ullim_messages_dropped_total{reason=\"undecodable\"} 0",
            "ullim_relay_up 1",
            "ullim_relay_gaps_total 0",
            "ullim_redis_reconnects_total 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
    }
}
