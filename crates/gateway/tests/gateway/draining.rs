//! A gateway that ends, as its clients meet it.

use std::time::Duration;

use crate::client::{Client, soon};
use crate::running::Running;

#[tokio::test]
async fn everybody_is_told_when_to_go_and_closed_then() {
    let running = Running::plain(|config| config.shards = 2);
    let mut clients = Vec::new();
    for _ in 0..6 {
        clients.push(Client::plain(running.address()).await);
    }
    let window = Duration::from_millis(600);
    let drained = running.gateway.drain(window);
    let told = async {
        let mut delays = Vec::new();
        for client in &mut clients {
            let message = client.next().await;
            delays.push(message["push"]["reconnect"]["delay"].as_u64().unwrap());
        }
        for client in &mut clients {
            let closed = async {
                loop {
                    let (opcode, payload) = client.frame().await;
                    match opcode {
                        8 => return payload,
                        9 => {}
                        _ => panic!("{opcode}: {payload:?}"),
                    }
                }
            };
            let reason = soon("the close", closed).await;
            assert!(reason.starts_with(b"\x03\xe9going_away: reconnect"), "{}", String::from_utf8_lossy(&reason));
        }
        drop(clients);
        delays
    };
    let ((), mut delays) = tokio::join!(drained, told);
    delays.sort_unstable();
    // Each of the two shards spreads its own evenly, however many of them it has accepted.
    let spread = |own: u64| (1..=own).map(move |nth| 600 * nth / own);
    let mut splits = (0..=6).map(|own| {
        let mut expected: Vec<u64> = spread(own).chain(spread(6 - own)).collect();
        expected.sort_unstable();
        expected
    });
    assert!(splits.any(|expected| delays == expected), "{delays:?}");
}
