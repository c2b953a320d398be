//! Who may subscribe to a namespace or publish in it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use ullim_protocol::channel::ChannelName;

use crate::identity::Identity;

/// Those clients to whom something is allowed. Backends are not clients: they may always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Audience {
    /// No client.
    Nobody,
    /// The user whose name stands behind the namespace: `ns:alice` for alice. What a channel's name cannot hold of it is
    /// written as `%` and two hexadecimal digits in upper case, and so is `%` itself: `ns:50%25` for 50%.
    Own,
    /// Whoever brings a subscription token for the channel.
    Token,
    /// Whoever came with a login and a passcode of `auth.users`.
    Service,
    /// Whoever came with a token, and services.
    User,
    /// Anonymous clients too.
    Anyone,
}

impl Audience {
    /// Whether `identity` belongs to it on `channel` without a subscription token.
    pub fn includes(self, identity: &Identity, channel: &ChannelName) -> bool {
        match self {
            Self::Nobody | Self::Token => false,
            Self::Own => identity.user.as_deref().is_some_and(|user| owner(channel) == Some(&*escaped(user))),
            Self::Service => identity.is_service,
            Self::User => identity.user.is_some(),
            Self::Anyone => true,
        }
    }
}

/// Whose channel this is, where the namespace says that channels have owners.
fn owner(channel: &ChannelName) -> Option<&str> {
    channel.as_str().split_once(':').map(|(_, user)| user)
}

/// A user's name as a channel's name can hold it. No two users' are the same.
fn escaped(user: &str) -> Cow<'_, str> {
    let is_plain = |c: char| !c.is_control() && !"{}*?[]\\%".contains(c);
    if user.chars().all(is_plain) {
        return Cow::Borrowed(user);
    }
    let mut escaped = String::with_capacity(user.len() + 2);
    for c in user.chars() {
        if is_plain(c) {
            escaped.push(c);
        } else {
            let mut bytes = [0; 4];
            escaped.extend(c.encode_utf8(&mut bytes).bytes().map(|byte| format!("%{byte:02X}")));
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owns(user: &str, channel: &str) -> bool {
        let identity = Identity { user: Some(user.into()), ..Identity::default() };
        Audience::Own.includes(&identity, &ChannelName::parse(channel).unwrap())
    }

    #[test]
    fn a_channel_belongs_to_the_user_behind_its_namespace() {
        assert!(owns("alice", "inbox:alice") && owns("a:b", "inbox:a:b") && owns("\u{c6b8}", "inbox:\u{c6b8}"));
        for channel in ["inbox:bob", "inbox:Alice", "inbox:alice:1", "inbox:alic", "alice", "inbox:", "inbox:%61lice"] {
            assert!(!owns("alice", channel), "{channel}");
        }
        let anonymous = Identity::default();
        assert!(!Audience::Own.includes(&anonymous, &ChannelName::parse("inbox:alice").unwrap()));
    }

    #[test]
    fn services_are_users_but_users_are_no_services() {
        let channel = ChannelName::parse("simp-user-registry").unwrap();
        let user = Identity { user: Some("alice".into()), ..Identity::default() };
        let service = Identity { is_service: true, ..user.clone() };
        let includes = |audience: Audience| [&user, &service].map(|identity| audience.includes(identity, &channel));
        assert_eq!(includes(Audience::Service), [false, true]);
        assert_eq!(includes(Audience::User), [true, true]);
    }

    #[test]
    fn what_a_channels_name_cannot_hold_is_escaped() {
        for (user, channel) in [
            ("a*b", "inbox:a%2Ab"),
            ("50%", "inbox:50%25"),
            ("a%2Ab", "inbox:a%252Ab"),
            ("{}?[]\\", "inbox:%7B%7D%3F%5B%5D%5C"),
            ("a\u{85}", "inbox:a%C2%85"),
        ] {
            assert!(owns(user, channel), "{user}");
        }
        assert!(!owns("a*b", "inbox:a%2ab"), "the digits are in upper case");
        assert!(!owns("a%2Ab", "inbox:a%2Ab"), "this is the channel of a*b");
    }
}
