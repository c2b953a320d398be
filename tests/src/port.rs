//! Ports for servers that tests start, end, and start again at the same address.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the ports that the system gives to outgoing connections (32768 and higher): one of those would take the port
/// of a server that is about to start, or to start again.
const FIRST: u16 = 10_000;
const COUNT: u16 = 22_000;

/// How many ports were tried in this process.
static TRIED: AtomicU16 = AtomicU16::new(0);

/// A port of 127.0.0.1 that nothing listens on, and that this process gives to nobody else.
///
/// # Panics
/// If there is none.
pub fn free_port() -> u16 {
    // Other processes begin elsewhere.
    let start = std::process::id().wrapping_mul(7919) % u32::from(COUNT);
    for _ in 0..COUNT {
        let tried = u32::from(TRIED.fetch_add(1, Ordering::Relaxed));
        // Less than COUNT.
        let port = FIRST + ((start + tried) % u32::from(COUNT)) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("every port from {FIRST} on is taken");
}
