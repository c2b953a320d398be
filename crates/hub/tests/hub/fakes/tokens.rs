//! Tokens that say what they are: `alice`, `alice@200` (until then, in Unix seconds), `alice@200 {"info":1}`; for
//! subscriptions `alice/token:a@200`. `backend` is a service. `bad` and `expired` are refused; what begins with `later:`
//! is judged later.

use std::sync::atomic::{AtomicBool, Ordering};

use ullim_auth::{Grant, Identity, Rejection, Verified};
use ullim_hub::Tokens;
use ullim_protocol::presence::Info;

/// Anonymous clients are let in unless the test says otherwise.
#[derive(Default)]
pub(crate) struct FakeTokens {
    pub(crate) refuses_anonymous: AtomicBool,
}

impl Tokens for FakeTokens {
    fn verify(&self, token: Option<&str>) -> Verified<Identity> {
        match token {
            Some(token) => judged(token, identity),
            None if self.refuses_anonymous.load(Ordering::Relaxed) => Verified::Now(Err(Rejection::Missing)),
            None => Verified::Now(Ok(Identity::default())),
        }
    }

    fn verify_login(&self, _: Option<&str>, passcode: Option<&str>) -> Verified<Identity> {
        self.verify(passcode)
    }

    fn verify_subscription(&self, token: &str) -> Verified<Grant> {
        judged(token, |token| {
            let (user, rest) = token.split_once('/').unwrap();
            let Identity { user: channel, info, expires, .. } = identity(rest);
            let user = (user != "~").then(|| user.into());
            Grant { user, channel: channel.unwrap().to_string(), expires: expires.unwrap(), info }
        })
    }
}

fn judged<T: Send + 'static>(token: &str, read: impl Fn(&str) -> T) -> Verified<T> {
    let verdict = |token: &str| match token {
        "bad" => Err(Rejection::Invalid("the token is malformed")),
        "expired" => Err(Rejection::Expired),
        token => Ok(read(token)),
    };
    match token.strip_prefix("later:") {
        Some(token) => Verified::Later(Box::pin(std::future::ready(verdict(token)))),
        None => Verified::Now(verdict(token)),
    }
}

fn identity(token: &str) -> Identity {
    let (token, info) = token.split_once(' ').unwrap_or((token, ""));
    let (user, expires) = token.split_once('@').unwrap_or((token, "1000000"));
    let expires = Some(expires.parse().unwrap());
    Identity { user: Some(user.into()), info: Info::parse(info), expires, is_service: user == "backend" }
}
