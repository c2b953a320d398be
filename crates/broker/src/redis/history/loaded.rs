//! What other nodes have loaded, for whoever publishes without their configuration.

use tokio::time::timeout;

use super::library::Revision;
use super::options::Options;
use crate::redis::connection::Connection;
use crate::redis::presence::calls::{self, Broken, Refusal};
use crate::redis::{RedisBroker, Shared};
use crate::{ChannelRules, HistoryError};

impl RedisBroker {
    /// Which namespaces are recoverable, as the nodes have told Redis: none if there are no nodes with recoverable
    /// namespaces. What the payloads of namespaces are nobody has told: they are `auto` here.
    ///
    /// # Errors
    /// Redis cannot be reached within `command_timeout`, or refuses the call.
    pub async fn loaded_rules(&self) -> Result<ChannelRules, HistoryError> {
        let asked = timeout(self.shared.config.command_timeout, ask(&self.shared));
        asked.await.unwrap_or(Err(HistoryError::Unavailable))
    }
}

async fn ask(shared: &Shared) -> Result<ChannelRules, HistoryError> {
    let unavailable = |_| HistoryError::Unavailable;
    let mut connection = Connection::open(shared).await.map_err(unavailable)?;
    let mut call = redis::cmd("FCALL");
    call.arg("ullim_history_revision").arg(1).arg(shared.names.write("revision"));
    let answer = calls::one::<Revision>(shared, &mut connection.commands, &call).await;
    match answer.map_err(|Broken(_)| HistoryError::Unavailable)? {
        Ok((_, text, ..)) => {
            let section = Options::read(&text).of(&shared.config.prefix).map(|section| section.rules());
            Ok(section.unwrap_or_default())
        }
        Err(Refusal::Unknown) => Ok(ChannelRules::default()),
        Err(Refusal::Said(reason)) => Err(HistoryError::Refused(reason)),
    }
}
