//! The limits of one address, and that addresses are forgotten.

use super::*;

fn addresses(limits: PerAddress) -> Arc<Addresses> {
    Arc::new(Addresses::new(limits))
}

fn without_limits() -> PerAddress {
    PerAddress { connections: 0, unauthenticated: 0, handshakes_per_second: 0, loopback: false }
}

fn enter(addresses: &Arc<Addresses>, client: &str) -> Result<Option<Lease>, Limit> {
    addresses.enter(client.parse().unwrap())
}

#[test]
fn connections_are_counted_by_address_and_come_back() {
    let addresses = addresses(PerAddress { connections: 2, ..without_limits() });
    let first = enter(&addresses, "203.0.113.1").unwrap();
    let _second = enter(&addresses, "::ffff:203.0.113.1").unwrap();
    assert_eq!(enter(&addresses, "203.0.113.1").unwrap_err(), Limit::Connections);
    assert!(enter(&addresses, "203.0.113.2").is_ok(), "another address");
    drop(first);
    assert!(enter(&addresses, "203.0.113.1").is_ok());
    assert_eq!(
        addresses.refused().collect::<Vec<_>>(),
        [("connections", 1), ("unauthenticated", 0), ("handshakes", 0)]
    );
}

#[test]
fn who_is_admitted_leaves_room_for_another_unknown() {
    let addresses = addresses(PerAddress { unauthenticated: 1, ..without_limits() });
    let mut first = enter(&addresses, "203.0.113.1").unwrap().unwrap();
    assert_eq!(enter(&addresses, "203.0.113.1").unwrap_err(), Limit::Unauthenticated);
    first.admitted();
    first.admitted();
    let second = enter(&addresses, "203.0.113.1").unwrap();
    assert_eq!(enter(&addresses, "203.0.113.1").unwrap_err(), Limit::Unauthenticated);
    drop(second);
    drop(first);
    assert!(enter(&addresses, "203.0.113.1").is_ok());
}

#[test]
fn a_second_of_handshakes_may_come_at_once() {
    let limits = PerAddress { handshakes_per_second: 10, ..without_limits() };
    let now = Instant::now();
    let key = Key::V4(1);
    let mut entry = Entry { key, connections: 0, unauthenticated: 0, recovered: now, queued: false };
    let mut entered = |after: u64| {
        let now = now + Duration::from_millis(after);
        (0..100).take_while(|_| entry.enter(&limits, now).is_ok()).count()
    };
    assert_eq!([entered(0), entered(0), entered(99), entered(100), entered(10_000)], [10, 0, 0, 1, 10]);
}

#[test]
fn ipv6_counts_by_64() {
    let addresses = addresses(PerAddress { connections: 1, ..without_limits() });
    let _first = enter(&addresses, "2001:db8:0:1::1").unwrap();
    assert!(enter(&addresses, "2001:db8:0:1:ffff::2").is_err(), "the same network");
    assert!(enter(&addresses, "2001:db8:0:2::1").is_ok(), "another network");
}

#[test]
fn loopback_is_exempt_unless_it_is_asked_for() {
    let limits = PerAddress { connections: 1, ..without_limits() };
    let exempt = addresses(limits.clone());
    for client in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
        assert!(enter(&exempt, client).unwrap().is_none(), "{client}");
    }
    let limited = addresses(PerAddress { loopback: true, ..limits });
    let _first = enter(&limited, "127.0.0.1").unwrap();
    assert!(enter(&limited, "127.0.0.1").is_err());
}

#[test]
fn addresses_are_forgotten_a_second_after_their_last_connection() {
    let addresses = addresses(PerAddress { handshakes_per_second: 1, ..without_limits() });
    let kept = enter(&addresses, "203.0.113.1").unwrap();
    drop(enter(&addresses, "203.0.113.2").unwrap());
    let mut table = addresses.table();
    let now = Instant::now();
    table.forget(now);
    assert_eq!(table.places.len(), 2, "not yet: its rate is remembered");
    table.forget(now + REMEMBERED);
    assert_eq!((table.places.len(), table.entries.len(), table.idle.len()), (1, 1, 0));
    drop(table);
    drop(kept);
    addresses.table().forget(Instant::now() + REMEMBERED);
    assert!(addresses.table().places.is_empty());
}

#[test]
fn addresses_without_connections_are_bounded() {
    let addresses = addresses(without_limits());
    let kept = enter(&addresses, "203.0.113.1").unwrap();
    for number in 0..MOST_IDLE as u32 + 1000 {
        drop(addresses.enter(IpAddr::V4((0x0a00_0000 + number).into())).unwrap());
    }
    assert!(addresses.table().entries.len() <= MOST_IDLE + 2);
    assert!(addresses.table().places.contains_key(&Key::of("203.0.113.1".parse().unwrap())), "it has a connection");
    drop(kept);
}
