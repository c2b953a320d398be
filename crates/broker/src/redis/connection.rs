//! Connections that carry commands: redis-rs over a socket of ours, with a deadline for every answer.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, PushInfo, PushKind, RedisError, RedisResult};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::Shared;
use super::address::Address;
use super::cluster::Router;
use super::commands::Commands;
use super::place::{Access, Form};
use super::socket;

/// What a link that sends commands holds.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) commands: Commands,
    /// redis-rs has seen a connection end.
    ended: Arc<Notify>,
    /// Which servers they are.
    pub(super) masters: Vec<Address>,
}

impl Connection {
    /// Connects to wherever Redis is now.
    pub(super) async fn open(shared: &Shared) -> RedisResult<Self> {
        let elsewhere = |problem: String| RedisError::from((redis::ErrorKind::Client, "no server", problem));
        let ended = Arc::new(Notify::new());
        let access = &shared.place.access;
        match &shared.place.form {
            Form::Single(_) | Form::Sentinel(_) => {
                let address = shared.place.master().await.map_err(elsewhere)?;
                let connection = open(access, &address, &ended).await?;
                Ok(Self { commands: Commands::One(connection), ended, masters: vec![address] })
            }
            Form::Cluster(topology) => {
                let (home, ours) = (shared.names.control(), Arc::clone(&ended));
                let router = Router::new(Arc::clone(topology), access.clone(), home, ours);
                router.reach().await?;
                let masters = router.masters();
                Ok(Self { commands: Commands::Cluster(Arc::new(router)), ended, masters })
            }
        }
    }

    /// Waits until what is done here may be lost, and says why: a connection ended, or other servers are the masters.
    pub(super) async fn over(&self, shared: &Shared) -> String {
        tokio::select! {
            () = self.ended.notified() => "redis closed the connection".to_owned(),
            () = self.moved(shared) => "another server is the master".to_owned(),
        }
    }

    /// The same for a link that does nothing that can be lost: in a Cluster it goes on, with other connections.
    pub(super) async fn unusable(&self, shared: &Shared) -> String {
        match &shared.place.form {
            Form::Single(_) | Form::Sentinel(_) => self.over(shared).await,
            Form::Cluster(_) => std::future::pending().await,
        }
    }

    async fn moved(&self, shared: &Shared) {
        match (&shared.place.form, self.masters.first()) {
            (Form::Cluster(topology), _) => {
                if topology.maps().wait_for(|map| map.masters() != self.masters).await.is_err() {
                    std::future::pending().await
                }
            }
            (_, Some(address)) => shared.place.moved(address).await,
            (_, None) => std::future::pending().await,
        }
    }
}

/// A connection to one server, which tells `ended` of its end.
pub(super) async fn open(
    access: &Access,
    address: &Address,
    ended: &Arc<Notify>,
) -> RedisResult<MultiplexedConnection> {
    let ended = Arc::clone(ended);
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(access.response)).set_push_sender(
        move |push: PushInfo| {
            if push.kind == PushKind::Disconnection {
                ended.notify_one();
            }
            Ok::<(), std::convert::Infallible>(())
        },
    );
    dial(address, access, access.set_up, config).await
}

/// A connection to one server that is ready for commands, within `deadline`.
pub(super) async fn dial(
    address: &Address,
    access: &Access,
    deadline: Duration,
    config: AsyncConnectionConfig,
) -> RedisResult<MultiplexedConnection> {
    let dialling = async {
        let stream = socket::connect(address, access.tls.as_ref(), deadline).await?;
        let settings = access.credentials.settings();
        let (connection, driver) = MultiplexedConnection::new_with_config(&settings, stream, config).await?;
        // Nobody has to await it: it ends with the last of the connection's handles.
        #[allow(clippy::disallowed_methods)]
        tokio::spawn(driver);
        Ok(connection)
    };
    let late = || RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
    timeout(deadline, dialling).await.unwrap_or_else(|_| Err(late()))
}
