//! Token → identity → what it may do. The only crate that knows JWT.

mod config;
mod permission;
mod secret;
mod token;

pub use config::{Config, ConfigError};
pub use permission::Audience;
pub use secret::Secret;
pub use token::{Identity, Rejection, Verifier, mint};
