//! Who may subscribe to a namespace or publish in it.

use serde::{Deserialize, Serialize};

use crate::token::Identity;

/// Those clients to whom something is allowed. Backends are not clients: they may always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Audience {
    /// No client.
    Nobody,
    /// Whoever came with a token.
    User,
    /// Anonymous clients too.
    Anyone,
}

impl Audience {
    /// Whether `identity` belongs to it.
    pub fn includes(self, identity: &Identity) -> bool {
        match self {
            Self::Nobody => false,
            Self::User => identity.user.is_some(),
            Self::Anyone => true,
        }
    }
}
