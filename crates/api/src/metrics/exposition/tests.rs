//! Names and numbers, and `docs/metrics.md`, which lists them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;
use crate::metrics::ClientCounters;

/// Something of everything.
fn exposed() -> String {
    let hub = ullim_hub::Counters {
        connections: 3,
        ended: BTreeMap::from([(1001, 2), (4003, 1)]),
        slow_closes: 7,
        auth_failures: BTreeMap::from([("expired", 8)]),
        ..Default::default()
    };
    let mut clients = ClientCounters {
        hub,
        handshakes_refused: BTreeMap::from([(403, 5)]),
        address_limited: BTreeMap::from([("connections", 6)]),
        keys: KeyCounters { keys: 2, jwks_age: Some(Duration::from_secs(30)), ..Default::default() },
        tls: Some(TlsCounters { failures: 4, certificate_expires: Some(1_800_000_000), ..Default::default() }),
        ..Default::default()
    };
    clients.handshake_duration.record(Duration::from_millis(1), 2);
    clients.handshake_duration.record(Duration::from_secs(4), 1);
    text(Snapshot {
        clients,
        broker: Counters {
            undecodable: 9,
            last_message_age: Some(Duration::from_millis(1500)),
            probe_rtt: Some(Duration::from_millis(2)),
            presence_up: Some(false),
            presence_members: 11,
            ..Default::default()
        },
        status: Status::Up,
        draining: true,
        config_hash: 1 << 52,
        process: Process::read(),
    })
    .unwrap()
}

#[test]
fn every_number_is_exposed_under_its_name() {
    let text = exposed();
    for line in [
        "ullim_build_info{version=\"0.1.0\"} 1",
        "ullim_config_hash 4503599627370496",
        "ullim_draining 1",
        "ullim_connections 3",
        "ullim_connections_opened_total 0",
        "ullim_disconnects_total{code=\"4003\"} 1",
        "ullim_handshakes_refused_total{status=\"403\"} 5",
        "ullim_handshake_duration_seconds_bucket{le=\"0.0005\"} 0",
        "ullim_handshake_duration_seconds_bucket{le=\"0.001\"} 2",
        "ullim_handshake_duration_seconds_bucket{le=\"2.5\"} 2",
        "ullim_handshake_duration_seconds_bucket{le=\"+Inf\"} 3",
        "ullim_handshake_duration_seconds_count 3",
        "ullim_handshake_duration_seconds_sum 4.002",
        "ullim_address_limited_total{limit=\"connections\"} 6",
        "ullim_tls_handshakes_total{result=\"error\"} 4",
        "ullim_tls_certificate_expiry_timestamp_seconds 1800000000",
        "ullim_slow_consumer_closes_total 7",
        "ullim_auth_failures_total{reason=\"expired\"} 8",
        "ullim_delivery_latency_seconds_count 0",
        "ullim_token_keys 2",
        "ullim_jwks_age_seconds 30.0",
        "ullim_messages_in_total{source=\"broker\"} 0",
        "ullim_messages_dropped_total{reason=\"undecodable\"} 9",
        "ullim_relay_up 1",
        "ullim_relay_gaps_total 0",
        "ullim_redis_reconnects_total 0",
        "ullim_relay_last_message_age_seconds 1.5",
        "ullim_relay_probe_rtt_seconds 0.002",
        "ullim_presence_up 0",
        "ullim_presence_members 11",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
}

/// Each metric of an exposition as a row of the page begins: name, type, labels.
fn families(text: &str) -> BTreeSet<String> {
    let mut families = BTreeMap::new();
    let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut current = "";
    for line in text.lines() {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            let (name, kind) = declared.split_once(' ').unwrap();
            families.insert(name, kind);
            current = name;
        } else if let Some((_, rest)) = line.split_once('{') {
            let names = rest.split("\",").filter_map(|label| label.split_once('=')).map(|(name, _)| name);
            labels.entry(current).or_default().extend(names.filter(|name| *name != "le"));
        }
    }
    let row = |(name, kind): (&&str, &&str)| {
        let suffix = match *kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let labels: Vec<_> = labels.get(name).into_iter().flatten().map(|label| format!("`{label}`")).collect();
        let labels = if labels.is_empty() { "–".to_owned() } else { labels.join(", ") };
        format!("| `{name}{suffix}` | {kind} | {labels} |")
    };
    families.iter().map(row).collect()
}

#[test]
fn the_page_lists_every_metric_with_its_type_and_labels() {
    let page = include_str!("../../../../../docs/metrics.md");
    let rows = page.lines().filter(|line| line.starts_with("| `ullim_") || line.starts_with("| `process_"));
    let first_cells = |row: &str| row.match_indices('|').nth(3).map(|(end, _)| row[..=end].to_owned()).unwrap();
    let documented: BTreeSet<_> = rows.map(first_cells).collect();
    let exposed = families(&exposed());
    let undocumented: Vec<_> = exposed.difference(&documented).collect();
    let absent: Vec<_> = documented.difference(&exposed).collect();
    assert!(undocumented.is_empty() && absent.is_empty(), "not on the page: {undocumented:#?}\nnot there: {absent:#?}");
}
