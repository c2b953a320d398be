//! `docs/configuration.md` lists every key, with its default, and no other.

use std::collections::BTreeMap;

use serde_json::Value;

use super::keys::Keys;

/// Keys that are not set by default.
const UNSET: [&str; 8] = [
    "client.max_connections",
    "client.tls.listen",
    "client.tls.certificate",
    "client.tls.key",
    "client.stomp.listen",
    "client.stomp.tls_listen",
    "internal.api_key",
    "auth.hs256_secret",
];

/// The first two cells of each row that begins with a key.
fn documented() -> BTreeMap<String, String> {
    let page = include_str!("../../../../docs/configuration.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")).filter(|row| !row.starts_with("--"));
    rows.map(|row| {
        let mut cells = row.split(" | ");
        let key = cells.next().unwrap().trim_end_matches('`').to_owned();
        (key, cells.next().unwrap().to_owned())
    })
    .collect()
}

#[test]
fn every_key_is_documented_and_every_documented_key_exists() {
    let documented: Vec<_> = documented().into_keys().collect();
    let existing: Vec<_> = Keys::new().leaves(&[]).into_keys().collect();
    assert_eq!(documented, existing);
}

#[test]
fn the_documented_defaults_are_the_real_ones() {
    let documented = documented();
    for (key, default) in Keys::new().leaves(&[]) {
        let cell = &documented[&key];
        let unset = UNSET.contains(&key.as_str());
        let expected = match default {
            _ if unset => "–".to_owned(),
            Value::Null => "–".to_owned(),
            Value::String(text) => format!("`\"{text}\"`"),
            other => format!("`{other}`"),
        };
        assert_eq!(*cell, expected, "{key}");
    }
}
