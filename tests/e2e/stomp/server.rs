//! A node with a listener for STOMP over TCP.

use std::net::SocketAddr;

use ullim_tests::{Node, NodeBuilder, free_address};

/// The node, and where it hears STOMP.
pub(crate) struct Server {
    pub(crate) node: Node,
    pub(crate) tcp: SocketAddr,
}

impl Server {
    /// A node on its own, with the embedded broker.
    pub(crate) async fn start() -> Self {
        Self::of(Node::builder()).await
    }

    /// A node that is described already.
    pub(crate) async fn of(builder: NodeBuilder) -> Self {
        Self::at(free_address(), builder).await
    }

    /// The same, with its STOMP listener at this address.
    pub(crate) async fn at(tcp: SocketAddr, builder: NodeBuilder) -> Self {
        let node = builder.set("client.stomp.listen", &tcp.to_string()).start().await;
        Self { node, tcp }
    }

    /// Where STOMP is spoken over WebSocket.
    pub(crate) fn ws(&self) -> String {
        format!("ws://{}/stomp", self.node.address())
    }
}
