//! The command `history`: what was published before, for whoever may subscribe.

use ullim_broker::{HistoryError, HistoryPart, HistoryRequest};
use ullim_protocol::codes;
use ullim_protocol::command::{HistoryOf, Refusal};
use ullim_protocol::outgoing::HistoryPage;

use crate::commands::unavailable;
use crate::hub::Hub;
use crate::outlet::{Encode, Outlet};
use crate::pipeline::{Answer, Stage, Ticket};
use crate::work::Ended;

impl<O: Outlet, E: Encode<O>> Hub<O, E> {
    /// The command `history`. The broker bounds the bytes of its answer.
    pub(crate) fn history(&mut self, ticket: Ticket, wanted: HistoryOf) -> Stage {
        let HistoryOf { channel, since, limit, reverse } = wanted;
        let channel = match self.may_read(ticket.connection, &channel) {
            Ok(channel) => channel,
            Err(refusal) => return Stage::Ready(Answer::Refused(refusal)),
        };
        let answer = self.history.history(HistoryRequest { channel, since, limit, reverse });
        self.wait_for(answer, move |result| Ended::History(ticket, result));
        Stage::Asking
    }
}

impl Stage {
    pub(crate) fn history(result: Result<HistoryPart, HistoryError>) -> Self {
        Self::Ready(match result {
            Ok(HistoryPart { position, publications, more }) => {
                let publications = publications.iter().map(|routed| routed.publication.clone()).collect();
                Answer::History(HistoryPage { position, publications, more })
            }
            Err(HistoryError::NotKept) => Answer::Refused(Refusal::new(&codes::NO_HISTORY, codes::NO_HISTORY.meaning)),
            Err(error) => Answer::Refused(unreadable(error)),
        })
    }
}

/// How it is told that a history could not be read.
pub(crate) fn unreadable(error: HistoryError) -> Refusal {
    if let HistoryError::Refused(reason) = &error {
        // The broker's own words are the operator's: they may name its users and keys.
        tracing::debug!(reason, "the broker refused to read a history");
    }
    unavailable("the history cannot be read at the moment")
}
