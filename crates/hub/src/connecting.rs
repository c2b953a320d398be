//! How a session begins, and how it is prolonged: tokens, anonymous clients, resumption.

use std::sync::Arc;

use rand::RngCore as _;
use smallvec::SmallVec;
use ullim_auth::{Identity, Rejection, Resumable, Verified};
use ullim_broker::{Answer as Later, Control};
use ullim_protocol::codes;
use ullim_protocol::outgoing::{Connected, Outgoing, Refreshed, Reply};
use ullim_protocol::session::SessionId;

use crate::connection::ConnectionId;
use crate::hub::Hub;
use crate::outlet::{Encode, Outlet};
use crate::permission::bad_token;
use crate::pipeline::{Answer, Stage, Ticket};
use crate::session::Session;
use crate::work::Ended;

impl<O: Outlet, E: Encode<O>> Hub<O, E> {
    /// Draws random numbers and seals a token for nobody: their first use in a thread takes milliseconds. Call it once in
    /// the thread that the hub will stay in, before there are clients.
    pub fn warm_up(&self) {
        let mut session = SessionId([0; 16]);
        rand::rng().fill_bytes(&mut session.0);
        let _ = self.seal(session, Identity::default());
    }

    pub(crate) fn connect(&mut self, ticket: Ticket, token: Option<&str>, resume: Option<&str>) -> Stage {
        let now = self.unix_seconds();
        let resumable = resume.and_then(|resume| self.resume_key.open(resume, now));
        // Whether an anonymous session may go on is judged like any other client without a token.
        if let (None, Some(Resumable { session, identity, .. })) = (token, &resumable)
            && identity.user.is_some()
        {
            return self.open_session_of(ticket.connection, identity.clone(), Some(*session));
        }
        let verified = self.verifier.verify(token);
        self.judged(ticket, verified, resumable)
    }

    pub(crate) fn login(&mut self, ticket: Ticket, login: Option<&str>, passcode: Option<&str>) -> Stage {
        let verified = self.verifier.verify_login(login, passcode);
        self.judged(ticket, verified, None)
    }

    fn judged(&mut self, ticket: Ticket, verified: Verified<Identity>, resumable: Option<Resumable>) -> Stage {
        match verified {
            Verified::Now(verdict) => self.connected(ticket.connection, verdict, resumable),
            Verified::Later(verdict) => {
                self.wait_for(Later::Pending(verdict), move |verdict| Ended::Verified(ticket, verdict));
                Stage::Connecting(resumable.map(Box::new))
            }
        }
    }

    /// The verdict on a token that had to be waited for.
    pub(crate) fn verified(&mut self, ticket: Ticket, verdict: Result<Identity, Rejection>) {
        let pipeline = self.pipeline(ticket.connection);
        let Some(command) = pipeline.and_then(|pipeline| pipeline.find(ticket.sequence)) else { return };
        let stage = match &mut command.stage {
            Stage::Connecting(resumable) => {
                let resumable = resumable.take().map(|resumable| *resumable);
                self.connected(ticket.connection, verdict, resumable)
            }
            Stage::Refreshing => self.refreshed(ticket.connection, verdict),
            _ => return,
        };
        self.go_on(ticket, stage);
    }

    /// A token, or the lack of one, was judged. Another user's session is not resumed: a new one begins.
    fn connected(
        &mut self,
        id: ConnectionId,
        verdict: Result<Identity, Rejection>,
        resumable: Option<Resumable>,
    ) -> Stage {
        match verdict {
            Ok(identity) => {
                let own = resumable.filter(|resumable| resumable.identity.user == identity.user);
                self.open_session_of(id, identity, own.map(|own| own.session))
            }
            Err(rejection) => Stage::Ready(Answer::Refused(self.rejected(&rejection))),
        }
    }

    fn open_session_of(&mut self, id: ConnectionId, identity: Identity, resumed: Option<SessionId>) -> Stage {
        let session = resumed.unwrap_or_else(|| {
            let mut session = SessionId([0; 16]);
            rand::rng().fill_bytes(&mut session.0);
            session
        });
        self.close_older(session);
        let keep = rand::rng().next_u64();
        let pipeline = self.connecting.remove(&id);
        let expires = identity.expires;
        let Some(connection) = self.connection(id) else { return Stage::Ready(Answer::Connected { resumed: false }) };
        connection.outlet.admitted();
        connection.session = Some(Box::new(Session {
            id: session,
            identity,
            subscriptions: SmallVec::new(),
            pipeline,
            keep,
            replacing: resumed.is_some(),
            unacknowledged_bytes: 0,
            refreshed: false,
        }));
        self.sessions.insert(session, id.slot);
        self.expiries.move_session(id.slot, None, expires);
        if resumed.is_some() {
            self.counters.resumed += 1;
            self.replace_deadlines.add(self.now, id);
            let answer = self.broker.control(Control::Replace { session, keep });
            self.wait_for(answer, Ended::Ordered);
        }
        Stage::Ready(Answer::Connected { resumed: resumed.is_some() })
    }

    /// The newer connection of a session wins, also on the same shard.
    fn close_older(&mut self, session: SessionId) {
        if let Some(older) = self.sessions.get(&session).and_then(|slot| self.connection_in(*slot as usize)) {
            self.close_replaced(older);
        }
    }

    pub(crate) fn tell_connected(&mut self, id: ConnectionId, number: u64, resumed: bool) {
        let Some((session, identity)) = self.session(id).map(|session| (session.id, session.identity.clone())) else {
            return;
        };
        let expires = identity.expires;
        let user: Option<Arc<str>> = identity.user.clone();
        let resume = self.seal(session, identity);
        let connected = Connected {
            session,
            resume: resume.as_deref(),
            resumed,
            user: user.as_deref(),
            expires,
            ping_ms: self.config.ping_interval.as_millis() as u64,
            message_bytes: self.message_bytes,
            subscriptions: self.config.subscriptions,
        };
        self.tell(id.slot, &Outgoing::Reply(number, Reply::Connect(connected)));
    }

    fn seal(&self, session: SessionId, identity: Identity) -> Option<String> {
        let until = self.resume_key.until(&identity, self.unix_seconds());
        self.resume_key.seal(&Resumable { session, identity, until })
    }

    pub(crate) fn refresh(&mut self, ticket: Ticket, token: &str) -> Stage {
        let session = self.session(ticket.connection);
        if session.is_none_or(|session| session.identity.user.is_none()) {
            let text = "this session is anonymous: connect anew with the token";
            return Stage::Ready(Answer::Refused(bad_token(text)));
        }
        match self.verifier.verify(Some(token)) {
            Verified::Now(verdict) => self.refreshed(ticket.connection, verdict),
            Verified::Later(verdict) => {
                self.wait_for(Later::Pending(verdict), move |verdict| Ended::Verified(ticket, verdict));
                Stage::Refreshing
            }
        }
    }

    fn refreshed(&mut self, id: ConnectionId, verdict: Result<Identity, Rejection>) -> Stage {
        let identity = match verdict {
            Ok(identity) => identity,
            Err(rejection) => return Stage::Ready(Answer::Refused(self.rejected(&rejection))),
        };
        let expires = identity.expires;
        let Some(session) = self.session(id).filter(|session| session.identity.user == identity.user) else {
            self.counters.auth_failed("invalid");
            let text = "the token is another user's: a session is refreshed with a token of its own user";
            return Stage::Ready(Answer::Refused(bad_token(text)));
        };
        session.refreshed |= session.identity.info != identity.info;
        let before = std::mem::replace(&mut session.identity, identity).expires;
        self.expiries.move_session(id.slot, before, expires);
        Stage::Ready(Answer::Refreshed)
    }

    pub(crate) fn tell_refreshed(&mut self, id: ConnectionId, number: u64) {
        let Some((session, identity)) = self.session(id).map(|session| (session.id, session.identity.clone())) else {
            return;
        };
        let expires = identity.expires;
        let resume = self.seal(session, identity);
        let refreshed = Refreshed { expires, resume: resume.as_deref() };
        self.tell(id.slot, &Outgoing::Reply(number, Reply::Refresh(refreshed)));
    }

    pub(crate) fn close_replaced(&mut self, id: ConnectionId) {
        self.counters.replaced += 1;
        self.close(id, &codes::SESSION_REPLACED, "the session goes on elsewhere");
    }
}
