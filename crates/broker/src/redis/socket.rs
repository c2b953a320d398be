//! TCP connections to Redis, both links' alike: no delay, and no half-open connection for long.

use std::io;
use std::time::Duration;

use redis::io::tcp::TcpSettings;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::address::Address;

/// How long a connection may take to be accepted. Short, so that a host that is back is not waited for with a SYN that
/// was sent into the void.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

fn keepalive() -> TcpKeepalive {
    TcpKeepalive::new().with_time(Duration::from_secs(10)).with_interval(Duration::from_secs(5))
}

/// For redis-rs. What was sent must be acknowledged within `user_timeout`.
pub(super) fn settings(user_timeout: Duration) -> TcpSettings {
    TcpSettings::default().set_nodelay(true).set_keepalive(keepalive()).set_user_timeout(user_timeout)
}

/// A connection of our own. What was sent must be acknowledged within `user_timeout`.
pub(super) async fn connect(address: &Address, user_timeout: Duration) -> io::Result<TcpStream> {
    let connecting = TcpStream::connect((address.host.as_str(), address.port));
    let stream = timeout(CONNECT_TIMEOUT, connecting).await??;
    let socket = SockRef::from(&stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&keepalive())?;
    socket.set_tcp_user_timeout(Some(user_timeout))?;
    Ok(stream)
}
