//! A dialect that writes lines.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use ullim_hub::{Encode, Then, Wire};
use ullim_protocol::codes::{self, CloseCode};
use ullim_protocol::command::Label;
use ullim_protocol::outgoing::{Connected, HistoryPage, Outgoing, Push, Reply, Subscribed};
use ullim_protocol::presence::MembersPage;
use ullim_protocol::publication::Publication;
use ullim_protocol::session::SessionId;

use super::Client;

/// On this wire what comes for a subscription begins with its label and a number, and a refusal ends the connection.
pub(crate) const LABELLED: Wire = Wire(8);

/// One line per message, beginning with the wire's number; counts what it writes.
#[derive(Clone, Default)]
pub(crate) struct Lines {
    pub(crate) encoded: Rc<Cell<usize>>,
    /// The last session that was opened.
    pub(crate) session: Rc<Cell<Option<SessionId>>>,
    /// The text of the last refusal.
    pub(crate) refusal: Rc<RefCell<Option<String>>>,
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

fn subscribed(Subscribed { presence, position, recovered, publications, .. }: &Subscribed) -> String {
    let mut line = match recovered {
        Some(true) => " recovered".to_owned(),
        Some(false) => " lost".to_owned(),
        None => String::new(),
    };
    line.extend(position.map(|position| format!(" {position}")));
    line.extend(publications.iter().map(|publication| format!(" {}", content(publication))));
    line.extend(presence.as_ref().map(|page| format!(" {}", members(page))));
    line
}

/// Its data, behind its position if it has one.
fn content(publication: &Publication) -> String {
    let position = publication.position.map(|position| format!("({position}) ")).unwrap_or_default();
    format!("{position}{}", String::from_utf8_lossy(publication.data.bytes()))
}

fn page(HistoryPage { position, publications, more }: &HistoryPage) -> String {
    let publications: Vec<_> = publications.iter().map(content).collect();
    format!("{position} [{}]{}", publications.join(" "), if *more { " …" } else { "" })
}

fn members(page: &MembersPage) -> String {
    let users = page.members.iter().map(|member| member.user.as_deref().unwrap_or("~"));
    let more = if page.cursor.is_some() { " …" } else { "" };
    format!("[{}{more}]", users.collect::<Vec<_>>().join(" "))
}

impl Encode<Client> for Lines {
    fn shared(&self, wire: Wire, message: &Outgoing<'_>, out: &mut Vec<u8>) {
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
            Outgoing::Reply(id, Reply::Publish(None)) => format!("{id} Publish"),
            Outgoing::Reply(id, Reply::Publish(Some(position))) => format!("{id} Publish {position}"),
            Outgoing::Reply(id, Reply::History(found)) => format!("{id} {}", page(found)),
            Outgoing::Reply(id, reply) => format!("{id} {reply:?}"),
            Outgoing::Error(Some(id), refusal) => {
                *self.refusal.borrow_mut() = Some(refusal.message.clone());
                format!("{id} {}", refusal.code.name)
            }
            Outgoing::Reconnect(delay) => format!("reconnect in {delay}"),
            Outgoing::Error(None, refusal) => refusal.code.name.to_owned(),
            Outgoing::Push(channel, Push::Publication(publication)) => {
                format!("{channel} {}", content(publication))
            }
            Outgoing::Push(channel, Push::Presence(event)) => {
                format!("{channel} {} {}", if event.joined { "join" } else { "leave" }, event.user)
            }
            Outgoing::Push(channel, Push::Gap(gap)) => {
                let position = gap.position.map(|position| format!(" {} {position}", gap.reason.name()));
                format!("{channel} gap {}..{}{}", gap.from, gap.to, position.unwrap_or_default())
            }
            Outgoing::Push(channel, Push::Position(position)) => format!("{channel} at {position}"),
            Outgoing::Push(channel, Push::Unsubscribed(code)) => format!("{channel} ended {}", code.name),
        };
        out.extend_from_slice(format!("{}:{line}\n", wire.0).as_bytes());
    }

    fn message(&self, wire: Wire, _: &mut Client, message: &Outgoing<'_>, out: &mut Vec<u8>) -> Then {
        self.shared(wire, message, out);
        match message {
            Outgoing::Error(..) if self.refusals_end(wire) => Then::Close(&codes::REFUSED),
            _ => Then::GoOn,
        }
    }

    fn has_labels(&self, wire: Wire) -> bool {
        wire == LABELLED
    }

    fn refusals_end(&self, wire: Wire) -> bool {
        wire == LABELLED
    }

    fn head(&self, _: Wire, label: &Label, number: u64, push: &Push<'_>, _: usize, out: &mut Vec<u8>) -> bool {
        let is_for_it = label.gaps || !matches!(push, Push::Gap(_));
        if is_for_it {
            out.extend_from_slice(&label.text);
            out.extend_from_slice(format!("#{number} ").as_bytes());
        }
        is_for_it
    }

    fn heartbeat(&self, wire: Wire, _: &mut Client, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("{}:ping\n", wire.0).as_bytes());
    }

    fn close(&self, wire: Wire, _: &mut Client, code: &CloseCode, _: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("{}:close {}\n", wire.0, code.name).as_bytes());
    }
}
