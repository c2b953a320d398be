//! Token → identity → what it may do. The only crate that knows JWT.

mod config;
mod permission;
mod resume;
mod secret;
mod token;

pub use config::{Config, ConfigError};
pub use permission::Audience;
pub use resume::{Resumable, ResumeKey};
pub use secret::Secret;
pub use token::{Grant, Identity, Rejection, Verified, Verifier, mint};
