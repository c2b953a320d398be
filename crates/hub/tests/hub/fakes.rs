//! A hub among fakes.

#[path = "fakes/broker.rs"]
mod broker;
#[path = "fakes/client.rs"]
mod client;
#[path = "fakes/history.rs"]
mod history;
#[path = "fakes/lines.rs"]
mod lines;
#[path = "fakes/presence.rs"]
mod presence;
#[path = "fakes/tokens.rs"]
mod tokens;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use ullim_auth::{Audience, ResumeKey};
use ullim_broker::{Broker, Presence, Relayed, Routed, RoutedEvent, ShardId, Window};
use ullim_hub::{Config, ConnectionId, Hub, NamespaceConfig, Namespaces, Setup, SlowConsumer, Transport, Wire, Work};
use ullim_protocol::channel::ChannelName;
use ullim_protocol::command::{Command, DecodeError, Publish, Request, Subscribe};
use ullim_protocol::outgoing::{Gap, GapReason};
use ullim_protocol::position::Position;
use ullim_protocol::presence::PresenceEvent;
use ullim_protocol::publication::{Data, Publication};

pub(crate) use broker::FakeBroker;
pub(crate) use client::Client;
pub(crate) use history::FakeHistory;
pub(crate) use lines::{LABELLED, Lines};
pub(crate) use presence::FakePresence;
pub(crate) use tokens::FakeTokens;

const TRANSPORT: Transport = Transport { message_bytes: 1000, close_timeout: Duration::from_secs(5) };

/// A hub among fakes.
pub(crate) struct World {
    pub(crate) hub: Hub<Client, Lines>,
    pub(crate) broker: Arc<FakeBroker>,
    pub(crate) presence: Arc<FakePresence>,
    pub(crate) history: Arc<FakeHistory>,
    pub(crate) tokens: Arc<FakeTokens>,
    pub(crate) lines: Lines,
    next_id: u64,
    work: Vec<Option<Work>>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Config::default())
    }

    pub(crate) fn with(config: Config) -> Self {
        let broker = Arc::new(FakeBroker::default());
        let presence = Arc::new(FakePresence::default());
        let history = Arc::new(FakeHistory::default());
        let tokens = Arc::new(FakeTokens::default());
        let auth = ullim_auth::Config { resume_ttl: Duration::from_secs(1000), ..Default::default() };
        let setup = Setup {
            config,
            namespaces: Arc::new(namespaces()),
            verifier: Arc::clone(&tokens) as _,
            broker: Arc::clone(&broker) as Arc<dyn Broker>,
            presence: Arc::clone(&presence) as Arc<dyn Presence>,
            history: Arc::clone(&history) as _,
            resume: Arc::new(ResumeKey::new(&auth).unwrap()),
        };
        let lines = Lines::default();
        let hub = Hub::new(setup, ShardId(0), lines.clone(), TRANSPORT);
        Self { hub, broker, presence, history, tokens, lines, next_id: 0, work: Vec::new() }
    }

    /// A connection that has not said connect.
    pub(crate) fn open(&mut self, wire: Wire) -> (ConnectionId, Client) {
        let client = Client::default();
        (self.hub.open(client.clone(), wire), client)
    }

    /// A connection with a session.
    pub(crate) fn connected(&mut self) -> (ConnectionId, Client) {
        self.connected_on(Wire(0))
    }

    pub(crate) fn connected_on(&mut self, wire: Wire) -> (ConnectionId, Client) {
        let (id, client) = self.open(wire);
        self.say(id, connect(None));
        assert_eq!(client.lines().len(), 1);
        client.writes();
        (id, client)
    }

    /// A connection with a session of this user, or whatever else the token says.
    pub(crate) fn connected_as(&mut self, token: &str) -> (ConnectionId, Client) {
        let (id, client) = self.open(Wire(0));
        self.say(id, connect(Some(token)));
        assert!(client.lines()[0].contains("connected"));
        client.writes();
        (id, client)
    }

    /// Subscribed by this user to a channel with presence; hears joins and leaves.
    pub(crate) fn member(&mut self, user: &str, channel: &str) -> (ConnectionId, Client) {
        let (id, client) = self.connected_as(user);
        self.say(id, Command::Subscribe(Subscribe { events: true, ..Subscribe::plain(channel) }));
        self.relay(&[joined(channel)]);
        self.finish();
        assert!(client.lines()[0].contains("Subscribe"));
        client.writes();
        (id, client)
    }

    /// Subscribed, and confirmed by the broker.
    pub(crate) fn subscribed(&mut self, channel: &str) -> (ConnectionId, Client) {
        let (id, client) = self.connected();
        self.say(id, subscribe(channel));
        self.relay(&[joined(channel)]);
        assert!(client.lines()[0].ends_with("Subscribe"));
        client.writes();
        (id, client)
    }

    /// Gives a command the next number.
    pub(crate) fn say(&mut self, id: ConnectionId, command: Command) -> ullim_hub::Reading {
        self.next_id += 1;
        self.say_as(id, self.next_id, command)
    }

    pub(crate) fn say_as(&mut self, id: ConnectionId, number: u64, command: Command) -> ullim_hub::Reading {
        let request: Result<Request, DecodeError> = Ok(Request { id: number, command });
        let reading = self.hub.command(id, request);
        self.hub.uncork();
        reading
    }

    pub(crate) fn relay(&mut self, items: &[Relayed]) {
        let mut taken = 0;
        while taken < items.len() {
            taken += self.hub.relay(&items[taken..]);
        }
    }

    /// Ends the pending publications with these places among all that there were, in this order.
    pub(crate) fn settle(&mut self, order: &[usize]) {
        self.work.extend(self.hub.take_work().into_iter().map(Some));
        for place in order {
            let finished = self.work[*place].take().unwrap().into_future().now_or_never().unwrap();
            self.hub.finished(finished);
        }
    }

    /// Ends one of what is waited for.
    pub(crate) fn settle_any(&mut self, which: usize) {
        self.settle(&[]);
        self.work.retain(Option::is_some);
        if !self.work.is_empty() {
            self.settle(&[which % self.work.len()]);
        }
    }

    /// Ends what was taken from the hub before.
    pub(crate) fn take_up(&mut self, work: Vec<Work>) {
        for work in work {
            self.hub.finished(work.into_future().now_or_never().unwrap());
        }
    }

    /// Ends all that is waited for, in order, and what comes of it.
    pub(crate) fn finish(&mut self) {
        loop {
            self.work.extend(self.hub.take_work().into_iter().map(Some));
            let pending = self.work.iter().filter(|work| work.is_some()).count();
            if pending == 0 {
                return;
            }
            let places: Vec<usize> = (0..self.work.len()).filter(|place| self.work[*place].is_some()).collect();
            self.settle(&places);
        }
    }

    pub(crate) fn wait(&mut self, since_start: Duration) {
        self.hub.advance(since_start);
    }
}

pub(crate) fn name(channel: &str) -> ChannelName {
    ChannelName::parse(channel).unwrap()
}

pub(crate) fn joined(channel: &str) -> Relayed {
    Relayed::Joined(name(channel), None)
}

pub(crate) fn at(position: &str) -> Position {
    Position::parse(position).unwrap()
}

/// Subscribes with what the client has heard last.
pub(crate) fn recover(channel: &str, position: &str) -> Command {
    Command::Subscribe(Subscribe { recover: Some(at(position)), ..Subscribe::plain(channel) })
}

pub(crate) fn gap(channel: &str, from: u64, to: u64) -> Relayed {
    Relayed::Gap(name(channel), Gap { from, to, reason: GapReason::BrokerLink, position: None })
}

pub(crate) fn published(channel: &str, text: &str) -> Relayed {
    let data = Data::Text(Bytes::copy_from_slice(text.as_bytes()));
    let publication = Publication { data, time: 0, headers: None, position: None };
    Relayed::Publication(Arc::new(Routed {
        channel: name(channel),
        publication,
        exclude: None,
        published: ullim_broker::Window::at(0),
    }))
}

pub(crate) fn publish(channel: &str, text: &str) -> Command {
    let data = Data::Text(Bytes::copy_from_slice(text.as_bytes()));
    Command::Publish(Publish { channel: channel.to_owned(), data, headers: None, echo: true, id: None })
}

pub(crate) fn subscribe(channel: &str) -> Command {
    Command::Subscribe(Subscribe::plain(channel))
}

pub(crate) fn subscribe_many<const COUNT: usize>(channels: [&str; COUNT]) -> Command {
    Command::SubscribeMany(channels.map(Subscribe::plain).to_vec())
}

pub(crate) fn connect(token: Option<&str>) -> Command {
    Command::Connect { token: token.map(str::to_owned), resume: None }
}

pub(crate) fn event(channel: &str, joined: bool, user: &str) -> Relayed {
    let event = PresenceEvent { joined, user: user.into(), info: None };
    Relayed::Presence(Arc::new(RoutedEvent { channel: name(channel), event, published: Window::at(0) }))
}

fn namespaces() -> Namespaces {
    let of = |subscribe, publish| NamespaceConfig { subscribe, publish, ..Default::default() };
    let open = of(Audience::Anyone, Audience::Anyone);
    let kept = NamespaceConfig { recoverable: true, recover_limit: 10, ..open.clone() };
    Namespaces(BTreeMap::from([
        ("news".to_owned(), of(Audience::Anyone, Audience::Nobody)),
        ("users".to_owned(), of(Audience::User, Audience::Anyone)),
        ("own".to_owned(), of(Audience::Own, Audience::Own)),
        ("token".to_owned(), of(Audience::Token, Audience::Token)),
        ("nobody".to_owned(), of(Audience::Nobody, Audience::Nobody)),
        ("feed".to_owned(), NamespaceConfig { slow_consumer: SlowConsumer::DropOldest, ..open.clone() }),
        ("state".to_owned(), NamespaceConfig { slow_consumer: SlowConsumer::Latest, ..open.clone() }),
        ("orders".to_owned(), kept.clone()),
        ("long".to_owned(), NamespaceConfig { recover_limit: 1000, ..kept.clone() }),
        ("prices".to_owned(), NamespaceConfig { cache: true, ..kept.clone() }),
        ("team".to_owned(), NamespaceConfig { presence: true, ..kept }),
        ("room".to_owned(), NamespaceConfig { presence: true, ..open.clone() }),
        ("hall".to_owned(), NamespaceConfig { presence: true, ..of(Audience::Own, Audience::Nobody) }),
        ("chat".to_owned(), open),
    ]))
}
