//! Sentinels: asked again and again where the master is, so that a failover is followed even if the old master's sockets
//! stay open. The one with the newest configuration is believed, not the one that answers first.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisError, RedisResult, Value};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::address::Address;
use super::connection;
use super::place::Access;

/// How often the sentinels are asked.
const INTERVAL: Duration = Duration::from_millis(250);

/// How long a sentinel may take.
const PATIENCE: Duration = Duration::from_millis(500);

/// What sentinels know of one master.
#[derive(Debug)]
pub(super) struct Sentinels {
    addresses: Vec<Address>,
    name: String,
    access: Access,
    known: watch::Sender<Known>,
    /// The newest configuration that any has told of. What is older is not believed, also if only those answer now that
    /// have not heard of it.
    newest: AtomicU64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Known {
    /// Nobody has been asked.
    Nothing,
    Master(Address),
    /// Nobody has ever said; the last problem.
    Nobody(String),
}

/// What one sentinel says. The order is that of belief.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Word {
    epoch: u64,
    master: Address,
}

impl Sentinels {
    pub(super) fn new(addresses: Vec<Address>, name: String, access: Access) -> Self {
        Self { addresses, name, access, known: watch::Sender::new(Known::Nothing), newest: AtomicU64::new(0) }
    }

    /// Where the master is, by the last word of the sentinels.
    pub(super) async fn master(&self) -> Result<Address, String> {
        let mut known = self.known.subscribe();
        let known = known.wait_for(|known| *known != Known::Nothing).await;
        match known.as_deref() {
            Ok(Known::Master(address)) => Ok(address.clone()),
            Ok(Known::Nobody(problem)) => Err(problem.clone()),
            // Neither can be: the sender is our own, and nothing was waited for.
            Ok(Known::Nothing) | Err(_) => Err("no sentinel was asked".to_owned()),
        }
    }

    /// Waits until the master is elsewhere than at `address`.
    pub(super) async fn moved(&self, address: &Address) {
        let elsewhere = |known: &Known| matches!(known, Known::Master(master) if master != address);
        if self.known.subscribe().wait_for(elsewhere).await.is_err() {
            std::future::pending().await
        }
    }

    /// Asks again and again.
    pub(super) async fn watch(&self) {
        let mut links: Vec<Option<MultiplexedConnection>> = vec![None; self.addresses.len()];
        loop {
            let asking = self.addresses.iter().zip(&mut links).map(|(address, link)| self.ask(address, link));
            self.learn(join_all(asking).await);
            sleep(INTERVAL).await;
        }
    }

    fn learn(&self, words: Vec<Result<Word, String>>) {
        let (mut said, mut problems) = (Vec::new(), Vec::new());
        for word in words {
            match word {
                Ok(word) => said.push(word),
                Err(problem) => problems.push(problem),
            }
        }
        let told = said.iter().map(|word| word.epoch).max().unwrap_or_default();
        let newest = self.newest.fetch_max(told, Ordering::Relaxed).max(told);
        if told < newest && !said.is_empty() {
            tracing::debug!(master = self.name, told, newest, "the sentinels tell of an older configuration only");
            problems.push(format!("the sentinels tell of the configuration {told}, which is older than {newest}"));
        }
        said.retain(|word| word.epoch == newest);
        let new = match believed(said) {
            Some(master) => Known::Master(master),
            None => Known::Nobody(problems.into_iter().next().unwrap_or_else(|| "there is no sentinel".to_owned())),
        };
        self.known.send_if_modified(|known| {
            // What was known stays while no sentinel can be asked.
            let keep = matches!((&*known, &new), (Known::Master(_), Known::Nobody(_)));
            if keep || *known == new {
                return false;
            }
            if let (Known::Master(before), Known::Master(address)) = (&*known, &new) {
                tracing::warn!(master = self.name, %before, %address, "the sentinels name another master");
            }
            *known = new;
            true
        });
    }

    async fn ask(&self, address: &Address, link: &mut Option<MultiplexedConnection>) -> Result<Word, String> {
        let asking = async {
            let connection = match link {
                Some(connection) => connection,
                None => link.insert(self.connect(address).await?),
            };
            self.question(connection).await
        };
        let answer = timeout(PATIENCE, asking).await;
        let problem = match answer {
            Ok(Ok(word)) => {
                return word.ok_or_else(|| format!("the sentinel {address} does not know \"{}\"", self.name));
            }
            Ok(Err(error)) => format!("the sentinel {address}: {error}"),
            Err(_) => format!("the sentinel {address} does not answer"),
        };
        *link = None;
        Err(problem)
    }

    async fn connect(&self, address: &Address) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
        connection::dial(address, &self.access, PATIENCE, config).await
    }

    /// Both are asked: during a failover only the first answer names the new master as soon as it is promoted, and only
    /// the second says how new that is.
    async fn question(&self, connection: &mut MultiplexedConnection) -> RedisResult<Option<Word>> {
        let mut questions = redis::pipe();
        questions.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(&self.name);
        questions.cmd("SENTINEL").arg("MASTER").arg(&self.name).ignore_errors();
        let answers: Vec<RedisResult<Value>> = questions.query_async(connection).await?;
        let [address, about]: [RedisResult<Value>; 2] = answers.try_into().map_err(|_| unreadable())?;
        let Some((host, port)) = redis::from_redis_value::<Option<(String, u16)>>(address?)? else {
            return Ok(None);
        };
        let about: HashMap<String, String> = redis::from_redis_value(about?)?;
        let epoch = about.get("config-epoch").and_then(|epoch| epoch.parse().ok()).ok_or_else(unreadable)?;
        Ok(Some(Word { epoch, master: Address { host, port } }))
    }
}

fn unreadable() -> RedisError {
    RedisError::from((redis::ErrorKind::UnexpectedReturnType, "its answer cannot be read"))
}

/// The newest; of several as new, that which most say.
fn believed(said: Vec<Word>) -> Option<Address> {
    let votes = |word: &Word| said.iter().filter(|other| *other == word).count();
    said.iter().max_by_key(|word| (word.epoch, votes(word))).map(|word| word.master.clone())
}

impl fmt::Display for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the master \"{}\" of the sentinels", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(epoch: u64, port: u16) -> Word {
        Word { epoch, master: Address { host: "db".to_owned(), port } }
    }

    #[test]
    fn the_newest_is_believed_and_then_the_many() {
        let port = |said| believed(said).map(|address| address.port);
        assert_eq!(port(vec![]), None);
        assert_eq!(port(vec![word(1, 1), word(1, 1), word(2, 2)]), Some(2));
        assert_eq!(port(vec![word(1, 2), word(1, 1), word(1, 2)]), Some(2));
    }

    #[tokio::test]
    async fn a_master_stays_known_while_no_sentinel_answers_or_only_those_that_know_of_older_ones() {
        let credentials = super::super::address::Credentials::default();
        let access = Access { credentials, tls: None, set_up: PATIENCE, response: PATIENCE };
        let sentinels = Sentinels::new(Vec::new(), "m".to_owned(), access);
        sentinels.learn(vec![Err("down".to_owned())]);
        assert_eq!(sentinels.master().await, Err("down".to_owned()));
        let Word { master, .. } = word(1, 7);
        sentinels.learn(vec![Ok(word(1, 7)), Err("down".to_owned())]);
        sentinels.learn(vec![Err("down".to_owned())]);
        assert_eq!(sentinels.master().await, Ok(master.clone()));
        sentinels.learn(vec![Ok(word(2, 8))]);
        sentinels.moved(&master).await;
        // Of two sentinels the one that knows of that is gone; then both know of the next.
        let Word { master: newer, .. } = word(2, 8);
        sentinels.learn(vec![Ok(word(1, 7)), Err("down".to_owned())]);
        assert_eq!(sentinels.master().await, Ok(newer));
        sentinels.learn(vec![Ok(word(3, 7)), Ok(word(1, 9))]);
        assert_eq!(sentinels.master().await, Ok(master));
    }
}
