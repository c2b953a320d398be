//! Token or passcode → identity → what it may do. The only crate that knows JWT.
//!
//! * `verifier`: which key checks a token, and the verdict
//! * `token`: a token's parts, and what its claims have to be
//! * `key`: one key, and the one algorithm that it checks
//! * `weak`: keys for which anybody can sign
//! * `jwks`: keys from a file or an identity provider, read again and again
//! * `users`: who may come with a passcode instead, and how it is checked; `passcode`: one, and how it is made
//! * `resume`: the token that restores a session
//! * `permission`: who may do what in a namespace

mod config;
mod identity;
mod jwks;
mod key;
mod mint;
mod passcode;
mod permission;
mod resume;
mod secret;
mod token;
mod users;
mod verdict;
mod verifier;
mod weak;

pub use config::{Algorithm, Config, ConfigError, JwksConfig, KeyConfig, UserConfig};
pub use identity::{Grant, Identity};
pub use mint::{Minted, mint_with};
pub use passcode::hash_passcode;
pub use permission::Audience;
pub use resume::{Resumable, ResumeKey};
pub use secret::Secret;
pub use verdict::{Rejection, Verified};
pub use verifier::{KeyCounters, KeyWatch, Verifier};
