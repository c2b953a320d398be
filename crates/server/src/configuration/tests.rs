//! Layers, misspelt keys, wrong types and bad values, by fixtures.

use std::path::Path;
use std::time::Duration;

use ullim_auth::Audience;
use ullim_broker::config::Kind;

use super::*;
use crate::logging::Format;

fn fixture(name: &str) -> Layers {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    Layers { document: Some(Document::File(path)), ..Layers::default() }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// The problems, each without the directory of the fixture.
fn problems(layers: &Layers) -> Vec<String> {
    let directory = format!("{}/tests/fixtures/", env!("CARGO_MANIFEST_DIR"));
    load(layers).unwrap_err().0.into_iter().map(|problem| problem.replace(&directory, "")).collect()
}

#[test]
fn toml_and_yaml_say_the_same() {
    let toml = load(&fixture("good.toml")).unwrap().settings;
    let yaml = load(&fixture("good.yaml")).unwrap().settings;
    assert_eq!(show(&toml).unwrap(), show(&yaml).unwrap());
    assert_eq!(toml.client.handshake_timeout, Duration::from_secs(3));
    assert_eq!(toml.broker.kind, Kind::Redis);
    assert_eq!(toml.namespaces.0["chat"].publish, Audience::User);
    assert!(toml.namespaces.0.contains_key("Telemetry"), "the case of a namespace's name is kept");
    assert_eq!(yaml.auth.hs256_secret.unwrap().expose().len(), 32);
}

#[test]
fn what_is_shown_holds_no_secret_and_loads_again() {
    let shown = show(&load(&fixture("good.toml")).unwrap().settings).unwrap();
    for secret in ["hunter2", "0123456789abcdef", "a key for backends"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    let again: toml::Table = shown.parse().unwrap();
    assert_eq!(again["client"]["listen"].as_str(), Some("0.0.0.0:9000"));
    assert_eq!(again["hub"]["ping_interval"].as_str(), Some("25s"));
}

#[test]
fn flags_go_before_the_environment_before_the_file() {
    let mut layers = fixture("good.toml");
    layers.variables = pairs(&[
        ("ULLIM_CLIENT__LISTEN", "127.0.0.1:1"),
        ("ULLIM_HUB__QUEUE_BYTES", "5000"),
        ("ULLIM_INTERNAL__API_KEY", "0070070070070070"),
        ("ULLIM_CLIENT__ORIGINS", "https://a.example, https://b.example"),
        ("ULLIM_NAMESPACES__NEWS__SUBSCRIBE", "anyone"),
    ]);
    layers.flags = pairs(&[("client.listen", "127.0.0.1:2"), ("client.origins", "")]);
    let loaded = load(&layers).unwrap();
    let settings = loaded.settings;
    assert_eq!(settings.client.listen.port(), 2);
    assert_eq!(settings.client.origins, Vec::<String>::new());
    assert_eq!(settings.hub.queue_bytes, 5000);
    assert_eq!(settings.internal.api_key.unwrap().expose(), "0070070070070070");
    assert_eq!(settings.namespaces.0.len(), 3);
    assert_eq!(settings.namespaces.0["news"].subscribe, Audience::Anyone);
    assert_eq!(settings.log.format, Format::Json);
    assert!(loaded.warnings.is_empty());
}

#[test]
fn lists_in_variables_are_separated_by_commas() {
    let mut layers = fixture("good.toml");
    layers.variables = pairs(&[("ULLIM_CLIENT__ORIGINS", "https://a.example, https://b.example")]);
    let origins = load(&layers).unwrap().settings.client.origins;
    assert_eq!(origins, ["https://a.example", "https://b.example"]);
}

#[test]
fn unknown_keys_are_all_named_with_the_nearest() {
    let mut layers = fixture("wrong-key.toml");
    layers.flags = pairs(&[("client.shard", "2"), ("client", "x")]);
    assert_eq!(
        problems(&layers),
        [
            "unknown key \"client.shard\" in --set: did you mean \"client.shards\"?",
            "\"client\" in --set is a section, not a key",
            "unknown key \"client.listne\" in wrong-key.toml: did you mean \"client.listen\"?",
            "unknown key \"namespaces.chat.publsh\" in wrong-key.toml: did you mean \"namespaces.chat.publish\"?",
            "unknown key \"redis.url\" in wrong-key.toml: did you mean \"broker.redis.url\"?",
        ]
    );
}

/// A good configuration, and then `text`.
fn toml(text: &'static str) -> Layers {
    Layers { document: Some(Document::Toml { name: "x.toml", text }), ..Layers::default() }
}

#[test]
fn keys_of_tokens_are_sections_with_any_name() {
    let mut layers = toml(
        r#"
        [auth.keys.2026-A]
        algorithm = "HS256"
        secret = "0123456789abcdef0123456789abcdef"
        [auth.keys."https://id.example/1"]
        algorithm = "HS256"
        secret = "fedcba9876543210fedcba9876543210"
        [namespaces.default]
        "#,
    );
    layers.variables = pairs(&[
        ("ULLIM_AUTH__KEYS__C__ALGORITHM", "HS256"),
        ("ULLIM_AUTH__KEYS__C__SECRET", "00000000000000000000000000000000"),
    ]);
    layers.flags = pairs(&[("auth.keys.2026-A.secret", "11111111111111111111111111111111"), ("auth.audience", "a,b")]);
    let loaded = load(&layers).unwrap();
    assert_eq!(loaded.warnings, Vec::<String>::new());
    let auth = &loaded.settings.auth;
    let secret = |kid: &str| auth.keys[kid].secret.as_ref().unwrap().expose();
    assert_eq!(auth.keys.len(), 3);
    assert!(secret("2026-A").starts_with('1') && secret("c").starts_with('0'));
    assert!(secret("https://id.example/1").starts_with('f'), "a name with a dot stays one name");
    assert_eq!(auth.audience, ["a", "b"]);
    let shown = show(&loaded.settings).unwrap();
    assert!(shown.contains("[auth.keys.c]") && shown.contains("[auth.jwks]"), "{shown}");
    assert!(!shown.contains("0000") && !shown.contains("fedc"), "{shown}");
}

#[test]
fn users_are_sections_with_any_name_and_their_hashes_are_not_shown() {
    const HASH: &str = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$KPtFgCWwKXkMMgkJR0NqdiFUMgIV5GZ1yVOeiFpGLIM";
    let text = format!("[auth.users.\"A.b\"]\npasscode = '{HASH}'\n[namespaces.default]\n");
    let mut layers = toml(text.leak());
    layers.variables = pairs(&[("ULLIM_AUTH__USERS__GUEST__PASSCODE", HASH)]);
    layers.flags = pairs(&[("auth.users.Relay.passcode", HASH)]);
    let loaded = load(&layers).unwrap();
    assert_eq!(loaded.warnings, Vec::<String>::new());
    let users = &loaded.settings.auth.users;
    assert_eq!(users.keys().collect::<Vec<_>>(), ["A.b", "Relay", "guest"]);
    assert!(users.values().all(|user| user.passcode.as_ref().is_some_and(|hash| hash.expose() == HASH)));
    let shown = show(&loaded.settings).unwrap();
    assert!(shown.contains("[auth.users.guest]\npasscode = \"***\"") && !shown.contains("argon2id"), "{shown}");
}

#[test]
fn mistakes_below_a_key_of_tokens_are_named() {
    let wrong = r#"
        [auth.keys.a]
        algoritm = "HS256"
        algorithm = "RS512"
        secret = 7
        [auth.keys."b.c"]
        publickey = "x"
        [auth.jwks]
        ulr = "https://id.example/"
        "#;
    let found = problems(&toml(wrong));
    let begins = [
        "unknown key \"auth.jwks.ulr\" in x.toml: did you mean \"auth.jwks.url\"?",
        "unknown key \"auth.keys.a.algoritm\" in x.toml: did you mean \"auth.keys.a.algorithm\"?",
        "auth.keys.a.secret in x.toml: expected text, found a number without quotes",
        "unknown key \"auth.keys.b.c.publickey\" in x.toml: did you mean \"auth.keys.b.c.public_key\"?",
        "auth.keys.a.algorithm in x.toml: unknown variant `RS512`, expected one of `HS256`, `RS256`, ",
    ];
    assert_eq!(found.len(), begins.len(), "{found:#?}");
    for (found, begin) in found.iter().zip(begins) {
        assert!(found.starts_with(begin), "{found}\nis not\n{begin}");
    }
}

#[test]
fn wrong_types_and_bad_values_are_all_named() {
    let found = problems(&fixture("wrong-type.toml"));
    let begins = [
        "auth.anonymous in wrong-type.toml: expected true or false, found text",
        "auth.hs256_secret in wrong-type.toml: expected text, found a number without quotes",
        "client.close_timeout in wrong-type.toml: expected text, found a number without quotes",
        "client.message_bytes in wrong-type.toml: expected an integer, found a number with a fraction",
        "client.origins in wrong-type.toml: expected a list of texts, found text",
        "client.shards in wrong-type.toml: expected an integer, found text",
        "hub in wrong-type.toml is a section, not a key",
        "client.handshake_timeout in wrong-type.toml: ",
        "client.listen in wrong-type.toml: invalid socket address syntax",
        "client.message_fragments in wrong-type.toml: invalid value: integer `-1`, expected usize",
        "namespaces.chat.publish in wrong-type.toml: unknown variant `members`, expected one of `nobody`, `own`, ",
    ];
    assert_eq!(found.len(), begins.len(), "{found:#?}");
    for (found, begin) in found.iter().zip(begins) {
        assert!(found.starts_with(begin), "{found}\nis not\n{begin}");
    }
}

#[test]
fn a_bad_variable_is_named() {
    let mut layers = fixture("good.toml");
    layers.variables = pairs(&[("ULLIM_CLIENT__SHARDS", "two")]);
    assert_eq!(problems(&layers), ["client.shards in ULLIM_CLIENT__SHARDS: expected an integer, found text"]);
}

#[test]
fn unknown_variables_warn_and_those_of_kubernetes_do_not() {
    let mut layers = fixture("good.toml");
    layers.variables = pairs(&[
        ("ULLIM_CLIENT_LISTEN", "127.0.0.1:1"),
        ("ULLIM_CLIENT", "x"),
        ("ULLIM_XYZZY", "x"),
        ("OTHER_CLIENT__LISTEN", "x"),
        ("ULLIM_SERVICE_HOST", "10.0.0.1"),
        ("ULLIM_SERVICE_PORT", "8000"),
        ("ULLIM_SERVICE_PORT_CLIENT", "8000"),
        ("ULLIM_PORT", "tcp://10.0.0.1:8000"),
        ("ULLIM_PORT_8000_TCP", "tcp://10.0.0.1:8000"),
        ("ULLIM_PORT_8000_TCP_PROTO", "tcp"),
        ("ULLIM_PORT_8000_TCP_PORT", "8000"),
        ("ULLIM_PORT_8000_TCP_ADDR", "10.0.0.1"),
        ("ULLIM_INTERNAL_SERVICE_HOST", "10.0.0.2"),
        ("ULLIM_INTERNAL_PORT", "tcp://10.0.0.2:8001"),
    ]);
    let loaded = load(&layers).unwrap();
    assert_eq!(loaded.settings.client.listen.port(), 9000);
    assert_eq!(
        loaded.warnings,
        [
            "unknown variable ULLIM_CLIENT_LISTEN: did you mean ULLIM_CLIENT__LISTEN?",
            "unknown variable ULLIM_CLIENT: docs/configuration.md lists the keys",
            "unknown variable ULLIM_XYZZY: docs/configuration.md lists the keys",
        ]
    );
}

#[test]
fn what_cannot_work_is_refused() {
    let cases = [
        (("auth.hs256_secret", "short"), "auth.hs256_secret has 5 bytes"),
        (("auth.resume_secret", "short"), "auth.resume_secret has 5 bytes"),
        (("auth.resume_ttl", "0s"), "auth.resume_ttl must be from 1ms to 1day"),
        (("auth.jwks.timeout", "2days"), "auth.jwks.timeout must be from 1ms to 1day"),
        (("auth.jwks.bytes", "0"), "auth.jwks.bytes must be more than 0"),
        (("auth.jwks.url", "http://id.example/"), "auth.jwks.url: it must be https"),
        (("auth.jwks.file", "/none.json"), "auth.jwks.file: No such file"),
        (("auth.keys.a.algorithm", "RS256"), "auth.keys.a: it takes one of public_key and file"),
        (("auth.users.a.passcode", "hunter2"), "auth.users.a.passcode: it is no argon2id hash"),
        (("broker.redis.prefix", "a*"), "broker.redis: the prefix \"a*\" must have"),
        (("broker.redis.url", "unix:/db"), "broker.redis: unix sockets"),
        (("broker.redis.cluster", "db"), "broker.redis: \"db\" is not a server like host:port"),
        (("client.message_bytes", "0"), "client.message_bytes must be more than 0"),
        (("hub.ping_interval", "0s"), "hub.ping_interval must be from 1ms to 1day"),
        (("broker.redis.cooldown", "18446744073709551615s"), "broker.redis.cooldown must be at most"),
        (("broker.shard_queue_bytes", "1"), "broker.shard_queue_bytes must be at least"),
        (("client.shards", "65"), "client.shards is 65"),
        (("client.max_connections", "4000000000"), "client.max_connections is 4000000000, but"),
        (("client.origins", "https://a.example/"), "client.origins: \"https://a.example/\""),
        (("internal.listen", "0.0.0.0:9000"), "client.listen and internal.listen are both"),
        (("client.tls.listen", "0.0.0.0:9443"), "client.tls.certificate is not set, but client.tls.listen is"),
        (
            ("client.stomp.tls_listen", "0.0.0.0:9443"),
            "client.tls.certificate is not set, but client.stomp.tls_listen is",
        ),
        (("client.stomp.listen", "0.0.0.0:9000"), "client.listen and client.stomp.listen are both"),
        (("client.stomp.headers", "0"), "client.stomp.headers must be more than 0"),
        (("client.stomp.namespace_separator", ":"), "client.stomp.namespace_separator in --set: unknown variant `:`"),
        (("client.tls.reload_interval", "0s"), "client.tls.reload_interval must be from 1ms to 1day"),
        (("client.trusted_proxies", "10.0.0.0/99"), "client.trusted_proxies in --set: "),
        (("internal.api_key", ""), "internal.api_key is empty"),
        (("internal.api_key", "fifteen bytes.."), "internal.api_key has 15 bytes; it needs at least 16"),
        (("internal.api_key", "seventeen bytes. "), "internal.api_key cannot be sent in a header"),
        (("internal.max_requests", "0"), "internal.max_requests must be more than 0"),
        (("internal.request_timeout", "0s"), "internal.request_timeout must be from 1ms to 1day"),
        (("namespaces.a:b.payload", "text"), "namespaces.a:b: a namespace's name ends"),
        (("namespaces.$a.payload", "text"), "namespaces.$a: channel names that begin"),
        (("namespaces.a.history_size", "0"), "namespaces.a.history_size is 0: it must be from 1 to 1000000"),
        (("namespaces.a.history_size", "1000001"), "namespaces.a.history_size is 1000001"),
        (("namespaces.a.recover_limit", "0"), "namespaces.a.recover_limit is 0: it must be from 1 to 1000000"),
        (("namespaces.a.history_ttl", "999ms"), "namespaces.a.history_ttl must be from 1s to 365days"),
        (("namespaces.a.cache", "true"), "namespaces.a.cache needs the history of a recoverable namespace: set"),
        (("drain.window", "0s"), "drain.window must be from 1ms to 1day"),
        (("log.level", "x=y=z"), "log.level: "),
    ];
    for (flag, expected) in cases {
        let mut layers = fixture("good.toml");
        layers.flags = pairs(&[flag]);
        let found = problems(&layers);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{found:?}\nis not\n{expected}");
    }
}

#[test]
fn what_may_lose_nothing_drops_nothing() {
    for (policy, recoverable, is_good) in [
        ("close", "true", true),
        ("drop_oldest", "true", false),
        ("latest", "true", false),
        ("drop_oldest", "false", true),
        ("latest", "false", true),
    ] {
        let mut layers = fixture("good.toml");
        layers.flags =
            pairs(&[("namespaces.chat.slow_consumer", policy), ("namespaces.chat.recoverable", recoverable)]);
        let found = load(&layers).map_or_else(|problems| problems.0, |_| Vec::new());
        assert_eq!(found.is_empty(), is_good, "{policy} {recoverable}: {found:?}");
        let says_what_to_do =
            |problem: &String| problem.contains("set it to \"close\", or set namespaces.chat.recoverable");
        assert!(found.iter().all(says_what_to_do), "{found:?}");
    }
}

#[test]
fn the_internal_listener_is_not_shown_to_others_without_a_key_of_its_own() {
    let with = |listen: &str, key: &str| {
        let flags = [("auth.anonymous", "true"), ("internal.listen", listen), ("internal.api_key", key)];
        let set = flags.into_iter().filter(|(_, value)| !value.is_empty()).collect::<Vec<_>>();
        load(&Layers { flags: pairs(&set), ..Layers::default() }).map_or_else(|problems| problems.0, |_| Vec::new())
    };
    for listen in ["127.0.0.1:8001", "127.0.0.9:8001", "[::1]:8001", "[::ffff:127.0.0.1]:8001"] {
        assert_eq!(with(listen, ""), Vec::<String>::new(), "{listen}");
    }
    for listen in ["0.0.0.0:8001", "10.0.0.1:8001", "[::]:8001"] {
        let found = with(listen, "");
        assert!(found.len() == 1 && found[0].contains("set internal.api_key"), "{found:?}");
        let found = with(listen, "ullim-development-api-key");
        assert!(found.len() == 1 && found[0].contains("which everybody knows"), "{found:?}");
        assert_eq!(with(listen, "0123456789abcdef"), Vec::<String>::new());
    }
}

#[test]
fn an_empty_configuration_says_what_is_needed() {
    let found = problems(&Layers::default());
    assert!(found.len() == 1 && found[0].contains("auth.hs256_secret"), "{found:?}");
    let anonymous = Layers { flags: pairs(&[("auth.anonymous", "true")]), ..Layers::default() };
    let warnings = load(&anonymous).unwrap().warnings;
    assert!(warnings.len() == 1 && warnings[0].contains("[namespaces.default]"), "{warnings:?}");
}

#[test]
fn a_certificate_without_a_listener_is_a_warning() {
    let mut layers = fixture("good.toml");
    layers.flags = pairs(&[("client.tls.key", "/nowhere/tls.key")]);
    let warnings = load(&layers).unwrap().warnings;
    assert!(warnings.len() == 1 && warnings[0].starts_with("client.tls.listen is not set"), "{warnings:?}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    assert!(problems(&fixture("none.toml"))[0].contains("none.toml: No such file"));
    assert!(problems(&fixture("good.json"))[0].contains("must end in .toml, .yaml or .yml"));
    let broken = Document::Toml { name: "broken.toml", text: "a = " };
    let found = problems(&Layers { document: Some(broken), ..Layers::default() });
    assert!(found[0].starts_with("broken.toml: ") && found[0].contains("line 1"), "{found:?}");
}
