//! What the hub asks of whoever knows tokens.

use ullim_auth::{Grant, Identity, Verified, Verifier};

/// Says who clients are, and what subscription tokens allow. No method waits.
pub trait Tokens: Send + Sync + 'static {
    /// The identity behind `token`, or of a client without one.
    fn verify(&self, token: Option<&str>) -> Verified<Identity>;

    /// Who a configured user with this passcode is, or whoever has a token for a passcode.
    fn verify_login(&self, login: Option<&str>, passcode: Option<&str>) -> Verified<Identity>;

    /// What a subscription token allows. Whose it is and where it counts is for the hub to say.
    fn verify_subscription(&self, token: &str) -> Verified<Grant>;
}

impl Tokens for Verifier {
    fn verify(&self, token: Option<&str>) -> Verified<Identity> {
        Self::verify(self, token)
    }

    fn verify_login(&self, login: Option<&str>, passcode: Option<&str>) -> Verified<Identity> {
        Self::verify_login(self, login, passcode)
    }

    fn verify_subscription(&self, token: &str) -> Verified<Grant> {
        Self::verify_subscription(self, token)
    }
}
