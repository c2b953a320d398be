//! Connections that carry commands: redis-rs, with a deadline for every answer.

use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, PushInfo, PushKind, RedisResult};
use tokio::sync::Notify;

use super::Shared;
use super::socket;

pub(super) struct Connection {
    pub(super) commands: MultiplexedConnection,
    /// redis-rs has seen the connection end.
    pub(super) ended: Arc<Notify>,
}

impl Connection {
    pub(super) async fn open(shared: &Shared) -> RedisResult<Self> {
        let set_up = shared.config.ping_timeout;
        let info = shared.address.connection_info()?.set_tcp_settings(socket::settings(set_up));
        let ended = Arc::new(Notify::new());
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(set_up))
            .set_response_timeout(Some(shared.config.command_timeout))
            .set_push_sender({
                let ended = Arc::clone(&ended);
                move |push: PushInfo| {
                    if push.kind == PushKind::Disconnection {
                        ended.notify_one();
                    }
                    Ok::<(), std::convert::Infallible>(())
                }
            });
        let client = redis::Client::open(info)?;
        let commands = client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(Self { commands, ended })
    }
}
