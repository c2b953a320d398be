//! `ullim dev`: a node to try things out. Its secrets are public, so it listens on loopback addresses only.

mod greeting;
mod page;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use ullim_broker::Status;
use ullim_broker::config::Kind;
use ullim_gateway::Pages;

use crate::cli::DevArgs;
use crate::configuration::{self, Document, Layers, Settings};
use crate::drain::{self, Signals};
use crate::failure::Failure;
use crate::logging;
use crate::node::Node;
use crate::token;
use greeting::Greeting;
use page::{Access, Site};

/// Signs the tokens of every development node, so that one token serves them all.
pub(crate) const SECRET: &str = "ullim-development-secret-do-not-use-in-production";

/// What backends publish with on every development node.
pub(crate) const API_KEY: &str = "ullim-development-api-key";

const USER: &str = "dev";

const TOKEN_TTL: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long the greeting waits for the broker.
const PATIENCE: Duration = Duration::from_secs(1);

/// The only variable that a development node heeds.
const LOG_LEVEL: &str = "ULLIM_LOG__LEVEL";

pub(crate) async fn run(arguments: &DevArgs) -> Result<(), Failure> {
    let variables = std::env::var(LOG_LEVEL).map(|level| (LOG_LEVEL.to_owned(), level));
    let settings = settings(variables.into_iter().collect(), arguments.flags.pairs())?;
    logging::start(&settings.log).map_err(Failure::Usage)?;
    // `--set` may have brought another secret.
    let secret = settings.auth.hs256_secret.clone();
    let site = Arc::new(Site::new(secret.clone()));
    let token = secret.map(|secret| token::mint(secret, USER, TOKEN_TTL)).transpose().map_err(Failure::Usage)?;
    let api_key = settings.internal.api_key.as_ref().map(|key| key.expose().to_owned()).unwrap_or_default();
    let redis = &settings.broker.redis;
    let redis = (settings.broker.kind == Kind::Redis).then(|| (redis.url.clone(), redis.prefix.clone()));

    let mut signals = Signals::new().map_err(Failure::runtime)?;
    let node = Node::start(settings, pages(Arc::clone(&site))).await.map_err(Failure::Runtime)?;
    site.tell(&Access { internal: node.internal_address(), api_key: api_key.clone(), redis: redis.clone() });
    let greeting = Greeting {
        client: node.client_address(),
        internal: node.internal_address(),
        stomp: node.stomp_address(),
        token: token.unwrap_or_default(),
        api_key,
        redis,
        reached: is_reached(&node).await,
        program: std::env::args().next().unwrap_or_else(|| "ullim".to_owned()),
    };
    greeting.print(arguments.json);
    drain::serve(node, &mut signals).await.map_err(Failure::Runtime)
}

fn pages(site: Arc<Site>) -> Pages {
    Pages::new(move |path, query| site.page(path, query))
}

fn settings(variables: Vec<(String, String)>, flags: Vec<(String, String)>) -> Result<Settings, Failure> {
    let secrets = [("auth.hs256_secret", SECRET), ("internal.api_key", API_KEY)];
    let secrets = secrets.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let document = Document::Toml { name: "ullim dev", text: include_str!("dev/dev.toml") };
    let layers = Layers { document: Some(document), variables, flags: secrets.into_iter().chain(flags).collect() };
    let settings = configuration::load(&layers)?.settings;
    only_loopback("client.listen", settings.client.listen)?;
    let client = &settings.client;
    let others = [
        ("client.tls.listen", client.tls.listen),
        ("client.stomp.listen", client.stomp.listen),
        ("client.stomp.tls_listen", client.stomp.tls_listen),
    ];
    for (key, address) in others.into_iter().filter_map(|(key, address)| Some((key, address?))) {
        only_loopback(key, address)?;
    }
    only_loopback("internal.listen", settings.internal.listen)?;
    Ok(settings)
}

/// Whether the broker is there, or comes while one still likes to wait.
async fn is_reached(node: &Node) -> bool {
    let reached = async {
        let mut looks = tokio::time::interval(Duration::from_millis(10));
        while node.broker.status() != Status::Up {
            looks.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.is_ok()
}

fn only_loopback(key: &str, address: SocketAddr) -> Result<(), Failure> {
    if address.ip().is_loopback() {
        return Ok(());
    }
    Err(Failure::Usage(anyhow!(
        "`ullim dev` listens on loopback addresses only, because its secrets are public: {key} is {address}; use \
         `ullim serve` with secrets of your own"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ullim_auth::{Audience, Secret, Verified, Verifier};

    fn flags(flags: &[(&str, &str)]) -> Vec<(String, String)> {
        flags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn development_settings_let_anyone_chat_and_only_backends_bring_news() {
        let settings = settings(Vec::new(), Vec::new()).unwrap();
        let audiences = |name: &str| {
            let namespace = &settings.namespaces.0[name];
            (namespace.subscribe, namespace.publish)
        };
        assert_eq!(audiences("chat"), (Audience::Anyone, Audience::Anyone));
        assert_eq!(audiences("default"), (Audience::Anyone, Audience::Anyone));
        assert!(settings.namespaces.0["chat"].presence, "the page shows who is here");
        assert_eq!(audiences("orders"), (Audience::Anyone, Audience::Anyone));
        assert!(settings.namespaces.0["orders"].recoverable);
        assert_eq!(audiences("news"), (Audience::Anyone, Audience::Nobody));
        assert_eq!(settings.client.origins, ["*"]);
        let token = token::mint(Secret::new(SECRET), USER, TOKEN_TTL).unwrap();
        let verifier = Verifier::new(&settings.auth).unwrap();
        assert!(verifier.verify(Some(&token)).at_once().is_ok() && verifier.verify(None).at_once().is_ok());
    }

    #[tokio::test]
    async fn guest_is_a_user_with_the_passcode_guest() {
        let settings = settings(Vec::new(), Vec::new()).unwrap();
        let verifier = Verifier::new(&settings.auth).unwrap();
        let Verified::Later(verdict) = verifier.verify_login(Some("guest"), Some("guest")) else { panic!("at once") };
        assert_eq!(verdict.await.unwrap().user.as_deref(), Some("guest"));
    }

    #[test]
    fn any_key_can_be_set() {
        let settings = settings(Vec::new(), flags(&[("client.message_bytes", "1000")])).unwrap();
        assert_eq!(settings.client.message_bytes, 1000);
    }

    #[test]
    fn public_secrets_stay_on_this_machine() {
        for key in ["client.listen", "internal.listen", "client.stomp.listen"] {
            let failure = settings(Vec::new(), flags(&[(key, "0.0.0.0:0")])).unwrap_err();
            assert!(failure.to_string().contains("loopback addresses only"), "{failure}");
        }
        assert!(settings(Vec::new(), flags(&[("client.listen", "[::1]:0")])).is_ok());
    }
}
