//! Who a client is, and what a subscription token allows.

use std::sync::Arc;

use ullim_protocol::presence::Info;

/// Who a client is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// The token's `sub`, or the login that came with a passcode; `None` for an anonymous client.
    pub user: Option<Arc<str>>,
    /// The token's `info`: what the application says of the user to others.
    pub info: Option<Info>,
    /// The token's `exp`, in Unix seconds; `None` for who needs no token.
    pub expires: Option<u64>,
    /// A configured user, with a passcode: a backend, or what relays for many clients. Its commands are not limited to
    /// `hub.commands_per_second`.
    pub is_service: bool,
}

/// What a subscription token allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The token's `sub`: for whom; `None` for anonymous clients.
    pub user: Option<Arc<str>>,
    /// The token's `channel`: where.
    pub channel: String,
    /// The token's `exp`, in Unix seconds.
    pub expires: u64,
    /// The token's `info`: what presence says of the member, instead of the identity's.
    pub info: Option<Info>,
}
