//! `ullim token`: a token for a user.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow};
use serde_json::value::RawValue;
use ullim_auth::{Config, Minted, Secret, Verifier};
use ullim_protocol::channel::ChannelName;

use crate::cli::{self, TokenArgs};
use crate::configuration;
use crate::dev;
use crate::failure::Failure;

/// Where `ullim serve` takes the same secret from.
const SECRET_VARIABLE: &str = "ULLIM_AUTH__HS256_SECRET";

pub(crate) fn run(arguments: &TokenArgs) -> Result<(), Failure> {
    let token = token(arguments, &node(arguments)?).map_err(Failure::Usage)?;
    println!("{token}");
    Ok(())
}

fn token(arguments: &TokenArgs, node: &Config) -> anyhow::Result<String> {
    let info = arguments.info.as_deref().map(serde_json::from_str::<&RawValue>);
    let minted = Minted {
        user: Some(&arguments.user),
        channel: arguments.channel.as_deref(),
        info: info.transpose().context("--info must be JSON")?,
        audience: node.audience.first().map(String::as_str),
        issuer: node.issuer.first().map(String::as_str),
        expires: 0,
    };
    mint_for(node, minted, arguments.ttl)
}

/// What the nodes that the token is for have to know.
fn node(arguments: &TokenArgs) -> Result<Config, Failure> {
    if let Some(file) = &arguments.config {
        let auth = configuration::load(&cli::file_and_environment(Some(file.clone()), Vec::new()))?.settings.auth;
        let Config { hs256_secret, audience, issuer, .. } = auth;
        return match hs256_secret {
            Some(secret) => Ok(Config { audience, issuer, ..with(secret) }),
            None => Err(Failure::Usage(anyhow!("auth.hs256_secret is not set: this command signs with nothing else"))),
        };
    }
    if let Some(secret) = &arguments.secret {
        return Ok(with(Secret::new(secret)));
    }
    if let Ok(secret) = std::env::var(SECRET_VARIABLE) {
        return Ok(with(Secret::new(secret)));
    }
    eprintln!("ullim: signed with the secret of `ullim dev`; give --config, --secret or {SECRET_VARIABLE} for another");
    Ok(with(Secret::new(dev::SECRET)))
}

fn with(secret: Secret) -> Config {
    Config { hs256_secret: Some(secret), ..Config::default() }
}

/// A token that a node with this secret takes.
pub(crate) fn mint(secret: Secret, user: &str, ttl: Duration) -> anyhow::Result<String> {
    mint_for(&with(secret), Minted { user: Some(user), ..Minted::default() }, ttl)
}

/// A token that `node` takes, good for `ttl`.
fn mint_for(node: &Config, minted: Minted<'_>, ttl: Duration) -> anyhow::Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock stands before 1970")?;
    let expires = now.checked_add(ttl).context("this time to live is too long")?.as_secs();
    let secret = node.hs256_secret.as_ref().context("there is no secret to sign with")?;
    let token = ullim_auth::mint_with(secret, &Minted { expires, ..minted })?;
    let verifier = Verifier::new(node)?;
    match minted.channel {
        None => drop(verifier.verify(Some(&token)).at_once()?),
        Some(channel) => {
            ChannelName::parse(channel)?;
            verifier.verify_subscription(&token).at_once()?;
        }
    }
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

    #[test]
    fn a_token_says_what_was_asked_for() {
        let arguments = |channel: Option<&str>, info: Option<&str>| TokenArgs {
            user: "alice".to_owned(),
            secret: None,
            config: None,
            channel: channel.map(str::to_owned),
            info: info.map(str::to_owned),
            ttl: Duration::from_secs(60),
        };
        let node = Config { audience: vec!["ullim".to_owned()], ..with(Secret::new(dev::SECRET)) };
        let verifier = Verifier::new(&node).unwrap();
        let connect = token(&arguments(None, Some("{\"a\": 1}")), &node).unwrap();
        let identity = verifier.verify(Some(&connect)).at_once().unwrap();
        assert_eq!(identity.info.unwrap().as_str(), "{\"a\": 1}");
        let subscribe = token(&arguments(Some("chat:42"), None), &node).unwrap();
        let grant = verifier.verify_subscription(&subscribe).at_once().unwrap();
        assert_eq!((grant.user.as_deref(), grant.channel.as_str()), (Some("alice"), "chat:42"));
        assert!(token(&arguments(Some("chat:*"), None), &node).is_err(), "no channel has this name");
        assert!(token(&arguments(None, Some("{")), &node).is_err(), "this is no JSON");
        assert!(token(&arguments(None, Some(&format!("{:?}", "x".repeat(5000)))), &node).is_err(), "this is too much");
    }
}
