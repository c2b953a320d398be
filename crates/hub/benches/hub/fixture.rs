//! A hub whose clients take everything and keep nothing.

#[allow(dead_code, reason = "the tests use all of it")]
#[path = "../../tests/hub/fakes/broker.rs"]
mod broker;
#[allow(dead_code, reason = "the tests use all of it")]
#[path = "../../tests/hub/fakes/presence.rs"]
mod presence;
#[allow(dead_code, reason = "the tests use all of it")]
#[path = "../../tests/hub/fakes/tokens.rs"]
mod tokens;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ullim_auth::{Audience, ResumeKey};
use ullim_broker::{Broker, Relayed, Routed, ShardId, Window};
use ullim_hub::{Config, ConnectionId, Encode, Hub, NamespaceConfig, Namespaces, Outlet, Setup, Transport, Wire};
use ullim_protocol::channel::ChannelName;
use ullim_protocol::codes::CloseCode;
use ullim_protocol::command::{Command, Request, Subscribe};
use ullim_protocol::native::json;
use ullim_protocol::outgoing::Outgoing;
use ullim_protocol::publication::{Data, Publication};
use ullim_protocol::websocket::{OpCode, write_message};

/// A socket that takes everything: as large as an outlet may be for a connection to be one cache line.
pub(crate) struct Sink {
    written: u64,
    _size: [u64; 2],
}

impl Outlet for Sink {
    #[inline(never)]
    fn write(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let written: usize = black_box(buffers).iter().map(|buffer| buffer.len()).sum();
        self.written += written as u64;
        Ok(written)
    }

    fn finish(&mut self) {}
}

/// JSON in WebSocket frames.
pub(crate) struct Frames;

impl Encode<Sink> for Frames {
    fn shared(&self, _: Wire, message: &Outgoing<'_>, out: &mut Vec<u8>) {
        write_message(OpCode::Text, out, |out| json::encode(message, out));
    }

    fn heartbeat(&self, _: Wire, _: &mut Sink, _: &mut Vec<u8>) {}

    fn close(&self, _: Wire, _: &mut Sink, _: &CloseCode, _: &str, _: &mut Vec<u8>) {}
}

/// A hub, who is connected to it, and what is relayed to it next.
pub(crate) struct Fixture {
    pub(crate) hub: Hub<Sink, Frames>,
    broker: Arc<broker::FakeBroker>,
    pub(crate) connections: Vec<ConnectionId>,
    pub(crate) items: Vec<Relayed>,
}

impl Fixture {
    /// A hub with so many sessions.
    pub(crate) fn new(connections: usize) -> Self {
        let config = Config { subscriptions: 1_000_000, commands_per_second: 1_000_000, ..Config::default() };
        let chat =
            NamespaceConfig { subscribe: Audience::Anyone, publish: Audience::Anyone, ..NamespaceConfig::default() };
        let broker = Arc::new(broker::FakeBroker::default());
        let setup = Setup {
            config,
            namespaces: Arc::new(Namespaces(BTreeMap::from([("chat".to_owned(), chat)]))),
            verifier: Arc::new(tokens::FakeTokens::default()),
            broker: Arc::clone(&broker) as Arc<dyn Broker>,
            presence: Arc::new(presence::FakePresence::default()),
            history: Arc::clone(&broker) as _,
            resume: Arc::new(ResumeKey::new(&ullim_auth::Config::default()).unwrap()),
        };
        let transport = Transport { message_bytes: 1 << 16, close_timeout: Duration::from_secs(5) };
        let hub = Hub::new(setup, ShardId(0), Frames, transport);
        let mut fixture = Self { hub, broker, connections: Vec::new(), items: Vec::new() };
        for _ in 0..connections {
            let id = fixture.hub.open(Sink { written: 0, _size: [0; 2] }, Wire(0));
            fixture.say(id, Command::Connect { token: None, resume: None });
            fixture.connections.push(id);
        }
        fixture
    }

    fn say(&mut self, id: ConnectionId, command: Command) {
        self.hub.command(id, Ok(Request { id: 1, command }));
        self.hub.uncork();
    }

    pub(crate) fn subscribe(&mut self, place: usize, channel: &str) {
        self.say(self.connections[place], Command::Subscribe(Subscribe::plain(channel)));
        for asked in self.broker.take_asked() {
            if let Some(channel) = asked.strip_prefix("subscribe ") {
                self.hub.relay(&[Relayed::Joined(ChannelName::parse(channel).unwrap(), None)]);
            }
        }
    }

    pub(crate) fn unsubscribe(&mut self, place: usize, channel: &str) {
        self.say(self.connections[place], Command::Unsubscribe(channel.to_owned()));
    }

    /// Everybody hears one channel.
    pub(crate) fn all_hear(mut self, channel: &str) -> Self {
        for place in 0..self.connections.len() {
            self.subscribe(place, channel);
        }
        self
    }

    /// Each hears so many channels of its own: `chat:0` and so on.
    pub(crate) fn each_hears(mut self, channels: usize) -> Self {
        for channel in 0..self.connections.len() * channels {
            self.subscribe(channel / channels, &format!("chat:{channel}"));
        }
        self
    }

    /// Publications of 100 bytes on these channels are relayed next, in one batch.
    pub(crate) fn publish<'a>(mut self, channels: impl IntoIterator<Item = &'a str>) -> Self {
        self.items.extend(channels.into_iter().map(published));
        self
    }

    pub(crate) fn relay(&mut self) {
        assert_eq!(self.hub.relay(&self.items), self.items.len());
    }
}

fn published(channel: &str) -> Relayed {
    let data = Data::Json(Bytes::from(format!("{{\"text\":\"{}\"}}", "x".repeat(89))));
    Relayed::Publication(Arc::new(Routed {
        channel: ChannelName::parse(channel).unwrap(),
        publication: Publication { data, time: 1_700_000_000_000, headers: None, position: None },
        exclude: None,
        published: Window::at(0),
    }))
}
