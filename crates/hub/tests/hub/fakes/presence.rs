//! Presence that writes down what it is told, and answers what the test says.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ullim_broker::{Answer, Claim, Entry, PageRequest, Presence, PresenceError};
use ullim_protocol::channel::ChannelName;
use ullim_protocol::presence::{Member, MembersPage, Occupancy};
use ullim_protocol::session::SessionId;

#[derive(Default)]
pub(crate) struct FakePresence {
    asked: Mutex<Vec<String>>,
    /// What it was told last by [`enter`](Presence::enter).
    pub(crate) entry: Mutex<Option<Entry>>,
    /// The claim of the last leave.
    pub(crate) left: Mutex<Option<Claim>>,
    /// Who is in every channel.
    pub(crate) users: Mutex<Vec<&'static str>>,
    pub(crate) fails_to_enter: AtomicBool,
    pub(crate) fails_to_list: AtomicBool,
}

impl FakePresence {
    pub(crate) fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    fn ask(&self, asked: String) {
        self.asked.lock().unwrap().push(asked);
    }
}

impl Presence for FakePresence {
    fn enter(&self, entry: Entry) -> Answer<Result<(), PresenceError>> {
        let info = entry.info.as_ref().map(|info| format!(" {}", info.as_str())).unwrap_or_default();
        self.ask(format!("enter {} {}{info}", entry.channel, entry.user.as_deref().unwrap_or("~")));
        *self.entry.lock().unwrap() = Some(entry);
        match self.fails_to_enter.load(Ordering::Relaxed) {
            true => Answer::Pending(Box::pin(std::future::ready(Err(PresenceError::Unavailable)))),
            false => Answer::Ready(Ok(())),
        }
    }

    fn leave(&self, channel: &ChannelName, _: SessionId, claim: Claim, absence: Duration) {
        let absence = if absence.is_zero() { String::new() } else { format!(" for {absence:?}") };
        self.ask(format!("leave {channel}{absence}"));
        *self.left.lock().unwrap() = Some(claim);
    }

    fn members(&self, channel: &ChannelName, page: PageRequest) -> Answer<Result<MembersPage, PresenceError>> {
        self.ask(format!("members {channel} {}", page.limit));
        if self.fails_to_list.load(Ordering::Relaxed) {
            return Answer::Ready(Err(PresenceError::Unavailable));
        }
        if page.cursor.as_deref() == Some("wrong") {
            return Answer::Ready(Err(PresenceError::Cursor));
        }
        let users = self.users.lock().unwrap().clone();
        let session = SessionId([0; 16]);
        let member = |user: &str| Member { session, user: Some(user.into()), info: None, since: 0 };
        Answer::Ready(Ok(MembersPage { members: users.into_iter().map(member).collect(), cursor: page.cursor }))
    }

    fn occupancy(&self, channel: &ChannelName) -> Answer<Result<Occupancy, PresenceError>> {
        self.ask(format!("count {channel}"));
        Answer::Ready(Ok(Occupancy { connections: 3, users: 2 }))
    }
}
