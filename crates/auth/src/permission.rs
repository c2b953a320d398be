//! Who may subscribe to a namespace or publish in it.

use serde::{Deserialize, Serialize};

use ullim_protocol::channel::ChannelName;

use crate::token::Identity;

/// Those clients to whom something is allowed. Backends are not clients: they may always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Audience {
    /// No client.
    Nobody,
    /// The user whose name stands behind the namespace: `ns:alice` for alice.
    Own,
    /// Whoever brings a subscription token for the channel.
    Token,
    /// Whoever came with a token.
    User,
    /// Anonymous clients too.
    Anyone,
}

impl Audience {
    /// Whether `identity` belongs to it on `channel` without a subscription token.
    pub fn includes(self, identity: &Identity, channel: &ChannelName) -> bool {
        match self {
            Self::Nobody | Self::Token => false,
            Self::Own => identity.user.as_deref().is_some_and(|user| owner(channel) == Some(user)),
            Self::User => identity.user.is_some(),
            Self::Anyone => true,
        }
    }
}

/// Whose channel this is, where the namespace says that channels have owners.
fn owner(channel: &ChannelName) -> Option<&str> {
    channel.as_str().split_once(':').map(|(_, user)| user)
}
