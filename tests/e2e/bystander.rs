//! A session that did nothing wrong, and is not to notice what others do.

use serde_json::json;
use ullim_tests::{Client, Node};

pub(crate) struct Bystander {
    client: Client,
    said: u64,
}

const CHANNEL: &str = "chat:bystander";

impl Bystander {
    pub(crate) async fn of(node: &Node) -> Self {
        Self { client: Client::subscribed(node, CHANNEL).await, said: 0 }
    }

    /// Publishes, and hears exactly that.
    pub(crate) async fn is_undisturbed(&mut self) {
        self.said += 1;
        self.client.publish(CHANNEL, json!(self.said)).await;
        let publication = self.client.publication(CHANNEL).await;
        assert_eq!(publication["data"], self.said);
    }
}
