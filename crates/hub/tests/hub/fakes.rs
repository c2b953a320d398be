//! A client that can stop reading, a dialect that writes lines, and a broker that does what the test says.

#[path = "fakes/presence.rs"]
mod presence;
#[path = "fakes/tokens.rs"]
mod tokens;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use ullim_auth::{Audience, ResumeKey};
use ullim_broker::{
    Answer, Broker, ChannelsPage, ChannelsRequest, Control, Counters, Presence, PublishError, PublishRequest, Relayed,
    Routed, RoutedEvent, ShardId, ShardQueue, Status, Window,
};
use ullim_hub::{Config, ConnectionId, Encode, Hub, NamespaceConfig, Namespaces, Outlet, Setup, Transport, Wire, Work};
use ullim_protocol::channel::ChannelName;
use ullim_protocol::codes::CloseCode;
use ullim_protocol::command::{Command, DecodeError, Publish, Request, Subscribe};
use ullim_protocol::outgoing::{Connected, Gap, GapReason, Outgoing, Push, Reply, Subscribed};
use ullim_protocol::presence::{MembersPage, PresenceEvent};
use ullim_protocol::publication::{Data, Publication};
use ullim_protocol::session::SessionId;

pub(crate) use presence::FakePresence;
pub(crate) use tokens::FakeTokens;

/// The other end of an outlet: what a client was written, and how much more it takes.
#[derive(Clone, Default)]
pub(crate) struct Client(Rc<ClientState>);

#[derive(Default)]
struct ClientState {
    written: RefCell<Vec<u8>>,
    writes: Cell<usize>,
    room: Cell<Option<usize>>,
    finished: Cell<bool>,
    admitted: Cell<usize>,
    gathers: Cell<Option<usize>>,
}

impl Client {
    /// The lines written since the last call.
    pub(crate) fn lines(&self) -> Vec<String> {
        let written = self.0.written.take();
        String::from_utf8(written).unwrap().lines().map(str::to_owned).collect()
    }

    /// How many writes there were since the last call.
    pub(crate) fn writes(&self) -> usize {
        self.0.writes.take()
    }

    /// From now on the client takes so many bytes and no more; `None` for all.
    pub(crate) fn takes(&self, bytes: Option<usize>) {
        self.0.room.set(bytes);
    }

    /// Takes so many buffers of one write and no more, as systems do.
    pub(crate) fn gathers_at_most(&self, buffers: usize) {
        self.0.gathers.set(Some(buffers));
    }

    /// How often it was said that the client may be here.
    pub(crate) fn admitted(&self) -> usize {
        self.0.admitted.get()
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.0.finished.get()
    }
}

impl Outlet for Client {
    fn write(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let gathered = self.0.gathers.get().unwrap_or(buffers.len());
        let offered = buffers.iter().take(gathered).flat_map(|buffer| buffer.iter().copied());
        let offered: Vec<u8> = offered.collect();
        let taken = self.0.room.get().map_or(offered.len(), |room| room.min(offered.len()));
        self.0.room.set(self.0.room.get().map(|room| room - taken));
        self.0.written.borrow_mut().extend_from_slice(&offered[..taken]);
        self.0.writes.set(self.0.writes.get() + 1);
        Ok(taken)
    }

    fn admitted(&mut self) {
        self.0.admitted.set(self.0.admitted.get() + 1);
    }

    fn finish(&mut self) {
        self.0.finished.set(true);
    }
}

/// One line per message, beginning with the wire's number; counts what it writes.
#[derive(Clone, Default)]
pub(crate) struct Lines {
    pub(crate) encoded: Rc<Cell<usize>>,
    /// The last session that was opened.
    pub(crate) session: Rc<Cell<Option<SessionId>>>,
    /// What the last `connect` or `refresh` said to resume with.
    pub(crate) resume: Rc<RefCell<Option<String>>>,
}

impl Lines {
    fn connected(&self, connected: &Connected<'_>) -> String {
        self.session.set(Some(connected.session));
        *self.resume.borrow_mut() = connected.resume.map(str::to_owned);
        let user = connected.user.map(|user| format!(" {user}")).unwrap_or_default();
        let expires = connected.expires.map(|expires| format!(" until {expires}")).unwrap_or_default();
        let resumed = if connected.resumed { " resumed" } else { "" };
        format!("connected{resumed}{user}{expires}")
    }
}

fn subscribed(Subscribed { presence }: &Subscribed) -> String {
    presence.as_ref().map(|page| format!(" {}", members(page))).unwrap_or_default()
}

fn members(page: &MembersPage) -> String {
    let users = page.members.iter().map(|member| member.user.as_deref().unwrap_or("~"));
    let more = if page.cursor.is_some() { " …" } else { "" };
    format!("[{}{more}]", users.collect::<Vec<_>>().join(" "))
}

impl Encode for Lines {
    fn message(&self, wire: Wire, message: &Outgoing<'_>, out: &mut Vec<u8>) {
        self.encoded.set(self.encoded.get() + 1);
        let line = match message {
            Outgoing::Reply(id, Reply::Connect(connected)) => format!("{id} {}", self.connected(connected)),
            Outgoing::Reply(id, Reply::Refresh(refreshed)) => {
                *self.resume.borrow_mut() = refreshed.resume.map(str::to_owned);
                format!("{id} refreshed until {}", refreshed.expires.unwrap_or_default())
            }
            Outgoing::Reply(id, Reply::Subscribe(one)) => format!("{id} Subscribe{}", subscribed(one)),
            Outgoing::Reply(id, Reply::Presence(page)) => format!("{id} {}", members(page)),
            Outgoing::Reply(id, Reply::PresenceCount(count)) => format!("{id} {}/{}", count.connections, count.users),
            Outgoing::Reply(id, Reply::SubscribeMany(results)) => {
                let results = results.iter().map(|(channel, result)| match result {
                    Ok(one) => format!("{channel} ok{}", subscribed(one)),
                    Err(refusal) => format!("{channel} {}", refusal.code.name),
                });
                format!("{id} subscribed {}", results.collect::<Vec<_>>().join(", "))
            }
            Outgoing::Reply(id, reply) => format!("{id} {reply:?}"),
            Outgoing::Error(Some(id), refusal) => format!("{id} {}", refusal.code.name),
            Outgoing::Error(None, refusal) => refusal.code.name.to_owned(),
            Outgoing::Push(channel, Push::Publication(publication)) => {
                format!("{channel} {}", String::from_utf8_lossy(publication.data.bytes()))
            }
            Outgoing::Push(channel, Push::Presence(event)) => {
                format!("{channel} {} {}", if event.joined { "join" } else { "leave" }, event.user)
            }
            Outgoing::Push(channel, Push::Gap(gap)) => format!("{channel} gap {}..{}", gap.from, gap.to),
            Outgoing::Push(channel, Push::Unsubscribed(code)) => format!("{channel} ended {}", code.name),
        };
        out.extend_from_slice(format!("{}:{line}\n", wire.0).as_bytes());
    }

    fn heartbeat(&self, wire: Wire, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("{}:ping\n", wire.0).as_bytes());
    }

    fn close(&self, wire: Wire, code: &CloseCode, _: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("{}:close {}\n", wire.0, code.name).as_bytes());
    }
}

/// Writes down what it is asked for.
#[derive(Default)]
pub(crate) struct FakeBroker {
    pub(crate) asked: Mutex<Vec<String>>,
    pub(crate) time: AtomicU64,
    /// Whether publications are answered later, by the test.
    pub(crate) answers_later: AtomicBool,
    /// Whom the last publication is not for.
    pub(crate) excluded: Mutex<Option<SessionId>>,
    /// What other nodes were ordered.
    pub(crate) ordered: Mutex<Vec<Control>>,
}

impl FakeBroker {
    pub(crate) fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    /// Sets the clock, in Unix seconds.
    pub(crate) fn set_seconds(&self, seconds: u64) {
        self.time.store(seconds * 1000, Ordering::Relaxed);
    }

    pub(crate) fn take_ordered(&self) -> Vec<Relayed> {
        let ordered = std::mem::take(&mut *self.ordered.lock().unwrap());
        ordered.into_iter().map(|control| Relayed::Control(Arc::new(control))).collect()
    }
}

impl Broker for FakeBroker {
    fn attach(&self, _: ShardQueue) -> ShardId {
        ShardId(0)
    }

    fn subscribe(&self, _: ShardId, channel: &ChannelName) {
        self.asked.lock().unwrap().push(format!("subscribe {channel}"));
    }

    fn unsubscribe(&self, _: ShardId, channel: &ChannelName) {
        self.asked.lock().unwrap().push(format!("unsubscribe {channel}"));
    }

    fn publish(&self, request: PublishRequest) -> Answer<Result<(), PublishError>> {
        let data = String::from_utf8_lossy(request.data.bytes()).into_owned();
        self.asked.lock().unwrap().push(format!("publish {} {data}", request.channel));
        *self.excluded.lock().unwrap() = request.exclude;
        if !self.answers_later.load(Ordering::Relaxed) {
            return Answer::Ready(Ok(()));
        }
        Answer::Pending(Box::pin(std::future::ready(match data.as_str() {
            "late" => Err(PublishError::Timeout),
            _ => Ok(()),
        })))
    }

    fn control(&self, control: Control) -> Answer<Result<(), PublishError>> {
        self.ordered.lock().unwrap().push(control);
        Answer::Ready(Ok(()))
    }

    fn channels(&self, _: ChannelsRequest) -> Answer<Result<ChannelsPage, PublishError>> {
        Answer::Ready(Ok(ChannelsPage::default()))
    }

    fn now(&self) -> u64 {
        self.time.load(Ordering::Relaxed)
    }

    fn status(&self) -> Status {
        Status::Up
    }

    fn counters(&self) -> Counters {
        Counters::default()
    }
}

const TRANSPORT: Transport = Transport { message_bytes: 1000, close_timeout: Duration::from_secs(5) };

/// A hub among fakes.
pub(crate) struct World {
    pub(crate) hub: Hub<Client, Lines>,
    pub(crate) broker: Arc<FakeBroker>,
    pub(crate) presence: Arc<FakePresence>,
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
        let tokens = Arc::new(FakeTokens::default());
        let auth = ullim_auth::Config { resume_ttl: Duration::from_secs(1000), ..Default::default() };
        let setup = Setup {
            config,
            namespaces: Arc::new(namespaces()),
            verifier: Arc::clone(&tokens) as _,
            broker: Arc::clone(&broker) as Arc<dyn Broker>,
            presence: Arc::clone(&presence) as Arc<dyn Presence>,
            resume: Arc::new(ResumeKey::new(&auth).unwrap()),
        };
        let lines = Lines::default();
        let hub = Hub::new(setup, ShardId(0), lines.clone(), TRANSPORT);
        Self { hub, broker, presence, tokens, lines, next_id: 0, work: Vec::new() }
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
    Relayed::Joined(name(channel))
}

pub(crate) fn gap(channel: &str, from: u64, to: u64) -> Relayed {
    Relayed::Gap(name(channel), Gap { from, to, reason: GapReason::BrokerLink })
}

pub(crate) fn published(channel: &str, text: &str) -> Relayed {
    let data = Data::Text(Bytes::copy_from_slice(text.as_bytes()));
    let publication = Publication { data, time: 0, headers: None };
    Relayed::Publication(Arc::new(Routed {
        channel: name(channel),
        publication,
        exclude: None,
        published: ullim_broker::Window::at(0),
    }))
}

pub(crate) fn publish(channel: &str, text: &str) -> Command {
    let data = Data::Text(Bytes::copy_from_slice(text.as_bytes()));
    Command::Publish(Publish { channel: channel.to_owned(), data, headers: None, echo: true })
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
    Namespaces(BTreeMap::from([
        ("news".to_owned(), of(Audience::Anyone, Audience::Nobody)),
        ("users".to_owned(), of(Audience::User, Audience::Anyone)),
        ("own".to_owned(), of(Audience::Own, Audience::Own)),
        ("token".to_owned(), of(Audience::Token, Audience::Token)),
        ("nobody".to_owned(), of(Audience::Nobody, Audience::Nobody)),
        ("room".to_owned(), NamespaceConfig { presence: true, ..open.clone() }),
        ("hall".to_owned(), NamespaceConfig { presence: true, ..of(Audience::Own, Audience::Nobody) }),
        ("chat".to_owned(), open),
    ]))
}
