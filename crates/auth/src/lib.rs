//! Token → identity → what it may do. The only crate that knows JWT.
//!
//! * `verifier`: which key checks a token, and the verdict
//! * `token`: a token's parts, and what its claims have to be
//! * `key`: one key, and the one algorithm that it checks
//! * `weak`: keys for which anybody can sign
//! * `jwks`: keys from a file or an identity provider, read again and again
//! * `resume`: the token that restores a session
//! * `permission`: who may do what in a namespace

mod config;
mod identity;
mod jwks;
mod key;
mod mint;
mod permission;
mod resume;
mod secret;
mod token;
mod verdict;
mod verifier;
mod weak;

pub use config::{Algorithm, Config, ConfigError, JwksConfig, KeyConfig};
pub use identity::{Grant, Identity};
pub use mint::{Minted, mint_with};
pub use permission::Audience;
pub use resume::{Resumable, ResumeKey};
pub use secret::Secret;
pub use verdict::{Rejection, Verified};
pub use verifier::{KeyCounters, KeyWatch, Verifier};
