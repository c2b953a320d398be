//! The shape of a command as both encodings have it, and its way into the vocabulary.

use bytes::Bytes;
use indexmap::IndexMap;
use serde::Deserialize;

use crate::codes;
use crate::command::{
    Command, DEFAULT_HISTORY, DecodeError, HistoryOf, MAX_HISTORY, MAX_PUBLICATION_ID, MembersOf, Publish, Refusal,
    Request, Subscribe,
};
use crate::json::Object;
use crate::position::{Epoch, MAX_NUMBER, Position};
use crate::presence::{DEFAULT_PAGE, MAX_PAGE};
use crate::publication::{Data, Headers, MAX_HEADER_BYTES, MAX_HEADERS};

/// The largest id: 2^53 − 1, which every client can hold in a double.
const MAX_ID: u64 = (1 << 53) - 1;

/// The names of the commands, as an error lists them.
const COMMANDS: &str = "connect, refresh, subscribe, unsubscribe, publish, presence, presence_count, history, ping";

/// One message of a client. `B` is the body of a publication, which the encodings carry differently.
#[derive(Deserialize)]
#[serde(bound(deserialize = "B: Deserialize<'de>"))]
pub(super) struct Message<B> {
    id: Option<u64>,
    connect: Option<Object<Connect>>,
    refresh: Option<Object<Refresh>>,
    subscribe: Option<Object<SubscribeBody>>,
    unsubscribe: Option<Object<Channel>>,
    publish: Option<Object<B>>,
    presence: Option<Object<PresenceBody>>,
    presence_count: Option<Object<Channel>>,
    history: Option<Object<HistoryBody>>,
    ping: Option<Object<Ping>>,
}

/// Only the id, for the answer to a message that is otherwise wrong.
#[derive(Deserialize)]
pub(super) struct OnlyId {
    pub(super) id: Option<u64>,
}

#[derive(Deserialize)]
struct Connect {
    token: Option<String>,
    resume: Option<String>,
}

#[derive(Deserialize)]
struct Refresh {
    token: String,
}

/// One channel with its options, or several.
#[derive(Deserialize)]
struct SubscribeBody {
    channel: Option<String>,
    token: Option<String>,
    presence: Option<bool>,
    events: Option<bool>,
    recover: Option<Object<PositionBody>>,
    channels: Option<Vec<Object<SubscribeItem>>>,
}

#[derive(Deserialize)]
struct SubscribeItem {
    channel: String,
    token: Option<String>,
    presence: Option<bool>,
    events: Option<bool>,
    recover: Option<Object<PositionBody>>,
}

#[derive(Deserialize)]
struct PositionBody {
    epoch: String,
    offset: u64,
}

#[derive(Deserialize)]
struct HistoryBody {
    channel: String,
    since: Option<Object<PositionBody>>,
    limit: Option<u64>,
    reverse: Option<bool>,
}

#[derive(Deserialize)]
struct PresenceBody {
    channel: String,
    limit: Option<u64>,
    cursor: Option<String>,
}

#[derive(Deserialize)]
struct Channel {
    channel: String,
}

#[derive(Deserialize)]
struct Ping {}

/// What a publication's body has in both encodings.
pub(super) struct Body {
    pub(super) channel: String,
    pub(super) data: Option<Result<Data, &'static str>>,
    pub(super) text: Option<String>,
    pub(super) binary: Option<Result<Data, &'static str>>,
    pub(super) headers: Option<IndexMap<String, String>>,
    pub(super) echo: Option<bool>,
    pub(super) id: Option<String>,
}

/// A message that cannot be read at all. What the reader says of it may quote it at length: it is cut.
pub(super) fn unreadable(id: Option<u64>, problem: &str) -> DecodeError {
    let shown: String = format!("this is no command: {problem}").chars().take(200).collect();
    DecodeError { id: valid(id), refusal: Refusal::new(&codes::BAD_MESSAGE, shown) }
}

/// The id, if it is one.
fn valid(id: Option<u64>) -> Option<u64> {
    id.filter(|id| (1..=MAX_ID).contains(id))
}

impl<B> Message<B> {
    /// The request in this message. `names` are the message's fields, asked for when none of them is a command.
    pub(super) fn into_request(
        self,
        body: impl FnOnce(B) -> Body,
        names: impl FnOnce() -> Vec<String>,
    ) -> Result<Request, DecodeError> {
        let id = self.id;
        let error = |refusal| DecodeError { id: valid(id), refusal };
        let bad = |message: &str| error(Refusal::new(&codes::BAD_MESSAGE, message));
        let Some(id) = valid(id) else {
            return Err(bad("every command needs an \"id\" from 1 to 2^53 - 1"));
        };
        let commands = [
            self.connect.map(|Object(Connect { token, resume })| Ok(Command::Connect { token, resume })),
            self.refresh.map(|Object(Refresh { token })| Ok(Command::Refresh { token })),
            self.subscribe.map(|Object(target)| subscribe(target)),
            self.unsubscribe.map(|Object(target)| Ok(Command::Unsubscribe(target.channel))),
            self.publish.map(|Object(publish)| publish_of(body(publish))),
            self.presence.map(|Object(target)| presence(target)),
            self.presence_count.map(|Object(target)| Ok(Command::PresenceCount(target.channel))),
            self.history.map(|Object(target)| history(target)),
            self.ping.map(|Object(Ping {})| Ok(Command::Ping)),
        ];
        let mut commands = commands.into_iter().flatten();
        match (commands.next(), commands.next()) {
            (Some(command), None) => Ok(Request { id, command: command.map_err(error)? }),
            (Some(_), Some(_)) => Err(bad("a message holds one command, this one has several")),
            (None, _) => Err(error(unknown_command(&names()))),
        }
    }
}

fn unknown_command(names: &[String]) -> Refusal {
    let message = match names.iter().find(|name| *name != "id") {
        Some(name) => {
            let shown: String = name.chars().take(40).collect();
            format!("{shown:?} is not a command; the commands are {COMMANDS}")
        }
        None => format!("the message holds no command; the commands are {COMMANDS}"),
    };
    Refusal::new(&codes::UNKNOWN_COMMAND, message)
}

fn subscribe(target: SubscribeBody) -> Result<Command, Refusal> {
    let SubscribeBody { channel, token, presence, events, recover, channels } = target;
    match (channel, channels) {
        (Some(channel), None) => {
            let item = SubscribeItem { channel, token, presence, events, recover };
            item.into_subscribe().map(Command::Subscribe)
        }
        (None, Some(channels)) => {
            let items = channels.into_iter().map(|Object(item)| item.into_subscribe());
            items.collect::<Result<_, _>>().map(Command::SubscribeMany)
        }
        _ => Err(Refusal::new(&codes::BAD_MESSAGE, "subscribe needs either \"channel\" or \"channels\"")),
    }
}

impl SubscribeItem {
    fn into_subscribe(self) -> Result<Subscribe, Refusal> {
        let Self { channel, token, presence, events, recover } = self;
        let recover = recover.map(|Object(body)| body.into_position("recover")).transpose()?;
        let (presence, events) = (presence.unwrap_or(false), events.unwrap_or(false));
        Ok(Subscribe { channel, token, presence, events, recover, label: None })
    }
}

impl PositionBody {
    fn into_position(self, field: &str) -> Result<Position, Refusal> {
        let epoch = Epoch::parse(&self.epoch).filter(|_| self.offset <= MAX_NUMBER);
        epoch.map(|epoch| Position { epoch, offset: self.offset }).ok_or_else(|| {
            let text = format!("\"{field}\" needs the \"epoch\" and \"offset\" of an earlier message, unchanged");
            Refusal::new(&codes::BAD_MESSAGE, text)
        })
    }
}

fn history(target: HistoryBody) -> Result<Command, Refusal> {
    let HistoryBody { channel, since, limit, reverse } = target;
    let since = since.map(|Object(body)| body.into_position("since")).transpose()?;
    let limit = limit.map_or(Some(DEFAULT_HISTORY), |limit| usize::try_from(limit).ok());
    match limit.filter(|limit| (1..=MAX_HISTORY).contains(limit)) {
        Some(limit) => Ok(Command::History(HistoryOf { channel, since, limit, reverse: reverse.unwrap_or(false) })),
        None => Err(Refusal::new(&codes::BAD_MESSAGE, format!("\"limit\" is from 1 to {MAX_HISTORY}"))),
    }
}

fn presence(target: PresenceBody) -> Result<Command, Refusal> {
    let PresenceBody { channel, limit, cursor } = target;
    let limit = limit.map_or(Some(DEFAULT_PAGE), |limit| usize::try_from(limit).ok());
    match limit.filter(|limit| (1..=MAX_PAGE).contains(limit)) {
        Some(limit) => Ok(Command::Presence(MembersOf { channel, limit, cursor })),
        None => Err(Refusal::new(&codes::BAD_MESSAGE, format!("\"limit\" is from 1 to {MAX_PAGE}"))),
    }
}

fn publish_of(body: Body) -> Result<Command, Refusal> {
    let text = body.text.map(|text| Ok(Data::Text(Bytes::from(text))));
    let mut given = [body.data, text, body.binary].into_iter().flatten();
    let (Some(data), None) = (given.next(), given.next()) else {
        return Err(Refusal::new(
            &codes::BAD_MESSAGE,
            "publish needs exactly one of \"data\", \"text\" and \"b64\" (in MessagePack \"bin\")",
        ));
    };
    let data = data.map_err(|reason| Refusal::new(&codes::BAD_DATA, reason))?;
    let headers = match body.headers {
        None => None,
        Some(entries) => Some(Headers::new(entries).ok_or_else(too_many_headers)?),
    };
    if body.id.as_ref().is_some_and(|id| !(1..=MAX_PUBLICATION_ID).contains(&id.len())) {
        let text = format!("the \"id\" of a publication has 1 to {MAX_PUBLICATION_ID} bytes");
        return Err(Refusal::new(&codes::BAD_MESSAGE, text));
    }
    let echo = body.echo.unwrap_or(true);
    Ok(Command::Publish(Publish { channel: body.channel, data, headers, echo, id: body.id }))
}

fn too_many_headers() -> Refusal {
    Refusal::new(
        &codes::BAD_DATA,
        format!("a publication has at most {MAX_HEADERS} headers and {MAX_HEADER_BYTES} bytes of them"),
    )
}
