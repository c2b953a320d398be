//! Where commands go: to the one server, or in a Cluster to where their keys are.

use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, RedisResult, Value};

use super::address::Address;
use super::cluster::Router;

/// Takes commands, one or many at a time. Clones share their connections.
#[derive(Debug, Clone)]
pub(super) enum Commands {
    One(MultiplexedConnection),
    Cluster(Arc<Router>),
    /// One master of a Cluster, whatever the keys.
    Master(Arc<Router>, Address),
}

impl Commands {
    /// Sends one command.
    pub(super) async fn one(&mut self, command: &Cmd) -> RedisResult<Value> {
        if let Self::One(connection) = self {
            return command.query_async(connection).await;
        }
        let mut alone = Pipeline::with_capacity(1);
        alone.add_command(command.clone()).ignore_errors();
        let answer = self.all(&alone).await?.into_iter().next();
        answer.unwrap_or_else(|| Err((redis::ErrorKind::UnexpectedReturnType, "no answer").into()))
    }

    /// Sends commands together; those on keys of one slot are done in their order. As many answers as commands; an error
    /// as a whole means that the connection cannot go on. In a Cluster a command that no server has taken has the error
    /// `UNREACHABLE`, and one that may have been done `UNANSWERED`. The pipeline must ignore errors
    /// ([`Pipeline::ignore_errors`]).
    pub(super) async fn all(&mut self, commands: &Pipeline) -> RedisResult<Vec<RedisResult<Value>>> {
        match self {
            Self::One(connection) => commands.query_async(connection).await,
            Self::Cluster(router) => Ok(Box::pin(router.all(commands)).await),
            Self::Master(router, address) => Ok(Box::pin(router.all_at(address, commands)).await),
        }
    }

    /// Each master by itself, with the tag of a slot that it has; of a server that stands alone, no tag.
    pub(super) fn masters(&self) -> Vec<(Self, Option<String>)> {
        match self {
            Self::Cluster(router) => {
                let masters = router.masters().into_iter();
                let one =
                    |address: Address| (Self::Master(Arc::clone(router), address.clone()), router.tag_at(&address));
                masters.map(one).collect()
            }
            Self::One(_) | Self::Master(..) => vec![(self.clone(), None)],
        }
    }
}
