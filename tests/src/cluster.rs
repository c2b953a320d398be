//! Several nodes that one Redis server joins.

use crate::{Node, Redis};

/// One Redis server and its nodes.
pub struct Cluster {
    /// What joins them.
    pub redis: Redis,
    /// The nodes.
    pub nodes: Vec<Node>,
}

impl Cluster {
    /// Starts `size` nodes.
    pub async fn start(size: usize) -> Self {
        let redis = Redis::start().await;
        let mut nodes = Vec::with_capacity(size);
        for _ in 0..size {
            nodes.push(Node::builder().redis(&redis).start().await);
        }
        Self { redis, nodes }
    }

    /// The node for the client number `client`, so that clients are spread evenly.
    pub fn node(&self, client: usize) -> &Node {
        &self.nodes[client % self.nodes.len()]
    }
}
