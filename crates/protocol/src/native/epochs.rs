//! Which publications of a list are told with their epoch. The same in every encoding.

use crate::position::Epoch;
use crate::publication::Publication;

/// What the reader of a list knows.
pub(super) enum Epochs {
    /// Nothing: each publication is told with its epoch.
    Each,
    /// The epoch of the one before, if there is one: where it changes it is told.
    Changed(Option<Epoch>),
}

impl Epochs {
    /// Whether this one, which is the next of the list, is.
    pub(super) fn are_told_with(&mut self, publication: &Publication) -> bool {
        match self {
            Self::Each => true,
            Self::Changed(before) => {
                let epoch = publication.position.map(|position| position.epoch);
                before.is_some() && epoch != std::mem::replace(before, epoch)
            }
        }
    }
}
