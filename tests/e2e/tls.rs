//! wss: beside the plain listener, with certificates that change under the connections.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use ullim_tests::{
    Authority, CertificateFiles, Client, Encoding, Node, NodeBuilder, eventually, free_address, token, within,
};

use crate::bystander::Bystander;
use crate::turn;

/// A node that serves both, and what is needed to reach it.
struct Secured {
    node: Node,
    address: SocketAddr,
    authority: Authority,
    connector: TlsConnector,
    files: CertificateFiles,
    _folder: TempDir,
}

impl Secured {
    async fn start(builder: NodeBuilder) -> Self {
        let (authority, folder, address) = (Authority::new(), TempDir::new().unwrap(), free_address());
        let files = CertificateFiles::write(folder.path(), &authority.issue());
        let node = builder
            .set("client.tls.listen", &address.to_string())
            .set("client.tls.certificate", files.certificate.to_str().unwrap())
            .set("client.tls.key", files.key.to_str().unwrap())
            .set("client.tls.reload_interval", "100ms")
            .start()
            .await;
        let connector = authority.connector();
        Self { node, address, authority, connector, files, _folder: folder }
    }

    /// A session over TLS, and the certificate that it was shown.
    async fn connect(&self, user: &str) -> (Client, Vec<u8>) {
        let (mut client, shown) =
            Client::open_tls(&self.node, self.address, &self.connector, Encoding::MessagePack).await;
        client.ok("connect", json!({"token": token::good(user)})).await;
        (client, shown)
    }
}

#[tokio::test]
async fn plain_and_encrypted_clients_meet_on_one_channel() {
    let secured = Secured::start(Node::builder()).await;
    let (mut encrypted, _) = secured.connect("alice").await;
    encrypted.subscribe("chat:1").await;
    let mut plain = Client::subscribed(&secured.node, "chat:1").await;
    for (size, number) in [(10, 1), (60_000, 2), (10, 3)] {
        let data = json!({"n": number, "filling": "x".repeat(size)});
        plain.publish("chat:1", data.clone()).await;
        assert_eq!(encrypted.publication("chat:1").await["data"], data);
        assert_eq!(plain.publication("chat:1").await["data"], data);
        encrypted.publish("chat:1", data.clone()).await;
        assert_eq!(plain.publication("chat:1").await["data"], data);
        assert_eq!(encrypted.publication("chat:1").await["data"], data);
    }
    // Large ones, from the backend: more than one record, and more than a socket takes at once.
    let data = json!("y".repeat(3_000_000));
    secured.node.publish("chat:1", data.clone()).await;
    assert_eq!(encrypted.publication("chat:1").await["data"], data);
    assert_eq!(encrypted.close(1000, "").await.code, 1000);
}

#[tokio::test]
async fn a_certificate_is_swapped_under_a_thousand_connections_and_nobody_is_dropped() {
    const CONNECTIONS: usize = 1000;
    let _turn = turn::take().await;
    let secured = Secured::start(Node::builder()).await;
    let mut clients = Vec::new();
    let mut first = Vec::new();
    for number in 0..CONNECTIONS {
        let (mut client, shown) = secured.connect(&format!("user-{number}")).await;
        client.subscribe("default-channel").await;
        first = shown;
        clients.push(client);
    }
    let mut publisher = Client::connect(&secured.node, Encoding::Json).await;
    let mut published = 0;
    let new = secured.authority.issue();
    assert_ne!(first, new.der);
    secured.files.replace(&new);
    let shown = eventually("the new certificate", async || {
        publisher.publish("default-channel", json!(published)).await;
        published += 1;
        let (_, shown) = secured.connect("newcomer").await;
        (shown != first).then_some(shown)
    })
    .await;
    assert_eq!(shown, new.der);
    publisher.publish("default-channel", json!(published)).await;
    for client in &mut clients {
        for number in 0..=published {
            assert_eq!(client.publication("default-channel").await["data"], number);
        }
    }
}

#[tokio::test]
async fn a_bad_certificate_is_refused_loudly_and_the_old_one_kept() {
    let secured = Secured::start(Node::builder()).await;
    let (_, first) = secured.connect("alice").await;
    let (good, other) = (secured.authority.issue(), secured.authority.issue());
    let expired = secured.authority.issue_expired();
    let bad = [
        ("not PEM", "nonsense".to_owned(), "nonsense".to_owned()),
        ("another's key", good.certificate.clone(), other.key.clone()),
        ("expired", expired.certificate.clone(), expired.key.clone()),
        ("no key", good.certificate.clone(), good.certificate.clone()),
    ];
    for (number, (what, certificate, key)) in bad.iter().enumerate() {
        secured.files.replace_with(certificate, key);
        eventually(&format!("the refusal of a certificate: {what}"), async || {
            let log = secured.node.process.stderr();
            let refusals = log.lines().filter(|line| line.contains("ERROR") && line.contains("certificate")).count();
            (refusals > number).then_some(())
        })
        .await;
        let (mut client, shown) = secured.connect("alice").await;
        assert_eq!(shown, first, "{what}");
        client.ok("ping", json!({})).await;
    }
    secured.files.replace(&good);
    eventually("the good one", async || (secured.connect("alice").await.1 == good.der).then_some(())).await;
}

#[tokio::test]
async fn a_node_with_a_bad_certificate_does_not_start() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new();
    let (good, other) = (authority.issue(), authority.issue());
    let files = CertificateFiles::write(folder.path(), &good);
    for (certificate, key) in [("nonsense", good.key.as_str()), (good.certificate.as_str(), other.key.as_str())] {
        files.replace_with(certificate, key);
        let builder = Node::builder()
            .set("client.tls.listen", "127.0.0.1:0")
            .set("client.tls.certificate", files.certificate.to_str().unwrap())
            .set("client.tls.key", files.key.to_str().unwrap());
        let (mut process, _folder) = builder.spawn();
        assert!(!process.end().await.success());
        let said = process.stderr();
        assert!(said.contains("client.tls"), "the key is named: {said}");
    }
}

#[tokio::test]
async fn whoever_does_not_finish_a_tls_hello_is_cut_and_disturbs_nobody() {
    let secured = Secured::start(Node::builder().set("client.handshake_timeout", "500ms")).await;
    let mut bystander = Bystander::of(&secured.node).await;
    // The first bytes of a ClientHello that claims to be longer, then one byte now and then.
    let mut dripping = TcpStream::connect(secured.address).await.unwrap();
    dripping.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await.unwrap();
    let mut silent = TcpStream::connect(secured.address).await.unwrap();
    let mut plain = TcpStream::connect(secured.address).await.unwrap();
    plain.write_all(b"GET /ws HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    within("the end of a dripping hello", async {
        loop {
            pace.tick().await;
            let mut byte = [0; 64];
            if dripping.write_all(b"x").await.is_err() || matches!(dripping.try_read(&mut byte), Ok(0)) {
                return;
            }
        }
    })
    .await;
    for (what, stream) in [("a silent client", &mut silent), ("plain HTTP", &mut plain)] {
        let mut rest = Vec::new();
        // An alert may come first; a reset is an end as well.
        let _ended = within(what, stream.read_to_end(&mut rest)).await;
        assert!(rest.len() < 100, "{what}: {rest:?}");
    }
    bystander.is_undisturbed().await;
    let (mut client, _) = secured.connect("alice").await;
    client.ok("ping", json!({})).await;
}

#[tokio::test]
async fn a_connection_that_is_cut_without_a_farewell_leaves_its_channels() {
    let secured = Secured::start(Node::builder()).await;
    let (mut client, _) = secured.connect("alice").await;
    client.subscribe("chat:1").await;
    let mut watcher = Client::connect(&secured.node, Encoding::Json).await;
    watcher.subscribe("chat:1").await;
    drop(client);
    eventually("one member", async || {
        let count = watcher.ok("presence_count", json!({"channel": "chat:1"})).await;
        (count["connections"] == 1).then_some(())
    })
    .await;
}
