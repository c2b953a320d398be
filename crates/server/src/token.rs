//! `ullim token`: a token for a user.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow};
use ullim_auth::{Secret, Verifier};

use crate::cli::{self, TokenArgs};
use crate::configuration;
use crate::dev;
use crate::failure::Failure;

/// Where `ullim serve` takes the same secret from.
const SECRET_VARIABLE: &str = "ULLIM_AUTH__HS256_SECRET";

pub(crate) fn run(arguments: &TokenArgs) -> Result<(), Failure> {
    let token = mint(secret(arguments)?, &arguments.user, arguments.ttl).map_err(Failure::Usage)?;
    println!("{token}");
    Ok(())
}

fn secret(arguments: &TokenArgs) -> Result<Secret, Failure> {
    if let Some(secret) = &arguments.secret {
        return Ok(Secret::new(secret));
    }
    if let Some(file) = &arguments.config {
        let loaded = configuration::load(&cli::file_and_environment(Some(file.clone()), Vec::new()))?;
        let secret = loaded.settings.auth.hs256_secret;
        return secret.ok_or_else(|| Failure::Usage(anyhow!("auth.hs256_secret is not set")));
    }
    if let Ok(secret) = std::env::var(SECRET_VARIABLE) {
        return Ok(Secret::new(secret));
    }
    eprintln!("ullim: signed with the secret of `ullim dev`; give --config, --secret or {SECRET_VARIABLE} for another");
    Ok(Secret::new(dev::SECRET))
}

/// A token that a node with this secret takes.
pub(crate) fn mint(secret: Secret, user: &str, ttl: Duration) -> anyhow::Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock stands before 1970")?;
    let expires = now.checked_add(ttl).context("this time to live is too long")?.as_secs();
    let token = ullim_auth::mint(&secret, user, expires)?;
    let verifier = Verifier::new(&ullim_auth::Config {
        hs256_secret: Some(secret),
        anonymous: false,
        ..ullim_auth::Config::default()
    })?;
    verifier.verify(Some(&token)).at_once()?;
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_only_if_nodes_would_take_it() {
        let mint = |secret: &str, user: &str, ttl| mint(Secret::new(secret), user, Duration::from_secs(ttl));
        assert!(mint(dev::SECRET, "alice", 60).is_ok());
        assert!(mint("short", "alice", 60).is_err());
        assert!(mint(dev::SECRET, "", 60).is_err());
    }
}
