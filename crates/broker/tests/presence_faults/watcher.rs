//! A plain subscriber of Redis that writes down who comes and goes.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::task::JoinSet;
use ullim_protocol::envelope::{self, Content};
use ullim_protocol::publication::PayloadRule;

use super::wait::until;
use ullim_tests::redis::server::Server;

pub(crate) struct Watcher {
    heard: Arc<Mutex<Vec<String>>>,
    _listening: JoinSet<()>,
}

impl Watcher {
    pub(crate) async fn start(server: &Server) -> Self {
        let mut subscription = redis::Client::open(server.url()).unwrap().get_async_pubsub().await.unwrap();
        subscription.psubscribe("ullim:{*}").await.unwrap();
        let heard = Arc::<Mutex<Vec<String>>>::default();
        let mut listening = JoinSet::new();
        let to = Arc::clone(&heard);
        listening.spawn(async move {
            let mut messages = subscription.into_on_message();
            while let Some(message) = messages.next().await {
                let payload = Bytes::copy_from_slice(message.get_payload_bytes());
                let Ok(Content::Presence(event)) = envelope::decode(payload, PayloadRule::Auto) else {
                    panic!("{message:?}")
                };
                let sign = if event.joined { '+' } else { '-' };
                let channel = message.get_channel_name().trim_start_matches("ullim:");
                to.lock().unwrap().push(format!("{channel}{sign}{}", event.user));
            }
        });
        Self { heard, _listening: listening }
    }

    /// What was heard so far, as `{channel}+user` and `{channel}-user`, sorted.
    pub(crate) fn heard(&self) -> Vec<String> {
        let mut heard = self.heard.lock().unwrap().clone();
        heard.sort();
        heard
    }

    /// The same in the order in which it was heard.
    pub(crate) fn in_order(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    /// Forgets what was heard so far.
    pub(crate) fn clear(&self) {
        self.heard.lock().unwrap().clear();
    }

    /// Waits until exactly these have been heard.
    pub(crate) async fn hear(&self, mut expected: Vec<String>) {
        expected.sort();
        until("heard", || self.heard.lock().unwrap().len() >= expected.len()).await;
        assert_eq!(self.heard(), expected);
    }
}
