//! Owns how the members of a channel are asked for again, after something may have been missed.

use ullim_protocol::codes;

use super::{Pending, Session};
use crate::event::Event;
use crate::owner::Stop;
use crate::owner::subscriptions::Listed;
use crate::presence::MembersPage;
use crate::wire::{Body, Refusal};

impl Session<'_> {
    /// Asks for all lists that are due.
    pub(super) async fn list_due(&mut self) -> Result<(), Stop> {
        for channel in self.owner.subscriptions.lists_due() {
            self.list(channel).await?;
        }
        Ok(())
    }

    pub(super) async fn list(&mut self, channel: String) -> Result<(), Stop> {
        let id = self.next_id();
        self.owner.subscriptions.list_asked(&channel, id);
        match self.encode(id, Body::Presence { channel: &channel, limit: None, cursor: None }, &codes::BAD_CHANNEL) {
            Ok(text) => self.send(id, text, Pending::Members(channel)).await,
            Err(refusal) => {
                self.list_refused(&channel, id, &refusal);
                Ok(())
            }
        }
    }

    /// The reply to command `id` came.
    pub(super) async fn listed(
        &mut self,
        channel: String,
        id: u64,
        outcome: Result<MembersPage, Refusal>,
    ) -> Result<(), Stop> {
        let page = match outcome {
            Ok(page) => page,
            Err(refusal) => {
                self.list_refused(&channel, id, &refusal);
                return Ok(());
            }
        };
        match self.owner.subscriptions.listed(&channel, id) {
            Listed::Tell => self.owner.outbox.put(Event::Members { channel, page }).await,
            Listed::AskAgain => self.list(channel).await?,
            Listed::Nothing => {}
        }
        Ok(())
    }

    fn list_refused(&mut self, channel: &str, id: u64, refusal: &Refusal) {
        if self.owner.subscriptions.list_refused(channel, id, refusal.retry) {
            self.retry_later(None);
        } else {
            tracing::warn!(channel, code = refusal.code, name = refusal.name, "the node does not tell the members");
        }
    }
}
