//! Who may do what on which channel. A channel that is forbidden and one whose namespace does not exist are refused
//! alike: nothing tells a client which namespaces there are.

use ullim_auth::{Audience, Grant, Rejection};
use ullim_protocol::channel::ChannelName;
use ullim_protocol::codes;
use ullim_protocol::command::Refusal;

use crate::config::NamespaceConfig;
use crate::connection::ConnectionId;
use crate::hub::Hub;
use crate::outlet::{Encode, Outlet};
use crate::session::{Permit, Session, Subscription};

pub(crate) fn parse_name(channel: &str) -> Result<ChannelName, Refusal> {
    ChannelName::parse(channel).map_err(|error| Refusal::new(&codes::BAD_CHANNEL, error.to_string()))
}

fn denied(doing: &str, channel: &ChannelName) -> Refusal {
    let text = format!("{doing} {:?} is not allowed to this session", channel.as_str());
    Refusal::new(&codes::PERMISSION_DENIED, text)
}

pub(crate) fn no_presence(channel: &ChannelName) -> Refusal {
    Refusal::new(&codes::NO_PRESENCE, format!("the namespace {:?} keeps no presence", channel.namespace()))
}

fn no_history(channel: &ChannelName) -> Refusal {
    Refusal::new(&codes::NO_HISTORY, format!("the namespace {:?} keeps no history", channel.namespace()))
}

impl<O: Outlet, E: Encode<O>> Hub<O, E> {
    pub(crate) fn namespace(&self, channel: &ChannelName) -> Option<&NamespaceConfig> {
        self.namespaces.0.get(channel.namespace())
    }

    fn open_session(&self, id: ConnectionId) -> Option<&Session> {
        let connection = self.connections.get(id.slot as usize)?;
        connection.session.as_deref().filter(|_| connection.generation == id.generation)
    }

    fn subscription(&self, id: ConnectionId, channel: &ChannelName) -> Option<&Subscription> {
        let key = self.registry.find(channel.as_str())?;
        self.open_session(id)?.subscriptions.iter().find(|subscription| subscription.channel == key)
    }

    /// Whether a session belongs to those that a namespace names.
    fn includes(&self, audience: Audience, id: ConnectionId, channel: &ChannelName) -> bool {
        self.open_session(id).is_some_and(|session| audience.includes(&session.identity, channel))
    }

    /// Whether a session may subscribe without a subscription token.
    fn is_included(&self, id: ConnectionId, channel: &ChannelName) -> bool {
        self.namespace(channel).is_some_and(|namespace| self.includes(namespace.subscribe, id, channel))
    }

    /// What a session may subscribe with, judged by its identity and by the verdict on the subscription token that it
    /// brought. The token is judged before the namespace is looked at.
    pub(crate) fn admit(
        &mut self,
        id: ConnectionId,
        channel: &ChannelName,
        verdict: Option<Result<Grant, Rejection>>,
    ) -> Result<Option<Permit>, Refusal> {
        let included = self.is_included(id, channel);
        let permit = match verdict.map(|verdict| self.judge(id, channel, verdict)) {
            None => None,
            Some(Ok(grant)) => Some(Permit { expires: grant.expires, info: grant.info, needed: !included }),
            // It may do without.
            Some(Err(_)) if included => None,
            Some(Err(refusal)) => return Err(refusal),
        };
        let listens_to_tokens = |namespace: &NamespaceConfig| namespace.subscribe != Audience::Nobody;
        let granted = permit.is_some() && self.namespace(channel).is_some_and(listens_to_tokens);
        match included || granted || self.subscription(id, channel).is_some() {
            true => Ok(permit),
            false => Err(denied("subscribing to", channel)),
        }
    }

    /// Whether a subscription token is good, and this session's and this channel's.
    fn judge(
        &mut self,
        id: ConnectionId,
        channel: &ChannelName,
        verdict: Result<Grant, Rejection>,
    ) -> Result<Grant, Refusal> {
        let user = self.open_session(id).and_then(|session| session.identity.user.as_deref());
        let refusal = match verdict {
            Ok(grant) if grant.channel != channel.as_str() => {
                bad_token("the subscription token is for another channel")
            }
            Ok(grant) if grant.user.as_deref() != user => bad_token("the subscription token is another user's"),
            Ok(grant) => return Ok(grant),
            Err(rejection) => refusal_of(&rejection),
        };
        self.counters.auth_failed("subscription");
        Err(refusal)
    }

    /// The channel's name, if the session may publish there.
    pub(crate) fn may_publish(&self, id: ConnectionId, channel: &str) -> Result<ChannelName, Refusal> {
        let channel = parse_name(channel)?;
        let audience = self.namespace(&channel).map_or(Audience::Nobody, |namespace| namespace.publish);
        let by_token = || self.subscription(id, &channel).is_some_and(|subscription| subscription.permit().is_some());
        match self.includes(audience, id, &channel) || audience == Audience::Token && by_token() {
            true => Ok(channel),
            false => Err(denied("publishing to", &channel)),
        }
    }

    /// The channel's name, if the session may subscribe, or has.
    fn may_hear(&self, id: ConnectionId, channel: &str, doing: &str) -> Result<ChannelName, Refusal> {
        let channel = parse_name(channel)?;
        match self.is_included(id, &channel) || self.subscription(id, &channel).is_some() {
            true => Ok(channel),
            false => Err(denied(doing, &channel)),
        }
    }

    /// The channel's name, if the session may know what was published there.
    pub(crate) fn may_read(&self, id: ConnectionId, channel: &str) -> Result<ChannelName, Refusal> {
        let channel = self.may_hear(id, channel, "reading what was published on")?;
        match self.namespace(&channel).is_some_and(|namespace| namespace.recoverable) {
            true => Ok(channel),
            false => Err(no_history(&channel)),
        }
    }

    /// The channel's name, if the session may know who is there.
    pub(crate) fn may_see(&self, id: ConnectionId, channel: &str, doing: &str) -> Result<ChannelName, Refusal> {
        let channel = self.may_hear(id, channel, doing)?;
        match self.namespace(&channel).is_some_and(|namespace| namespace.presence) {
            true => Ok(channel),
            false => Err(no_presence(&channel)),
        }
    }

    /// How a refused token is told and counted.
    pub(crate) fn rejected(&mut self, rejection: &Rejection) -> Refusal {
        self.counters.auth_failed(match rejection {
            Rejection::Missing => "missing",
            Rejection::Expired => "expired",
            Rejection::Invalid(_) => "invalid",
            Rejection::Unavailable(_) => "unavailable",
        });
        refusal_of(rejection)
    }
}

pub(crate) fn bad_token(text: &str) -> Refusal {
    Refusal::new(&codes::BAD_TOKEN, text)
}

fn refusal_of(rejection: &Rejection) -> Refusal {
    let code = match rejection {
        Rejection::Expired => &codes::TOKEN_EXPIRED,
        Rejection::Missing | Rejection::Invalid(_) => &codes::BAD_TOKEN,
        Rejection::Unavailable(_) => &codes::UNAVAILABLE,
    };
    Refusal::new(code, rejection.to_string())
}
