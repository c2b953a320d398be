//! How many connections this node takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::{Resource, getrlimit};

/// What the file-descriptor limit allows: 95 % of it, less 100 for all that is not a client.
pub fn default_max_connections() -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(1 << 20);
    usize::try_from(limit / 20 * 19).unwrap_or(usize::MAX).saturating_sub(100).max(1)
}

/// Places for connections.
#[derive(Debug, Clone)]
pub(crate) struct Capacity {
    free: Arc<AtomicUsize>,
}

/// One connection's place, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit(Arc<AtomicUsize>);

impl Capacity {
    pub(crate) fn new(connections: usize) -> Self {
        Self { free: Arc::new(AtomicUsize::new(connections)) }
    }

    /// A place, if there is one.
    pub(crate) fn take(&self) -> Option<Permit> {
        let taken = self.free.fetch_update(Ordering::AcqRel, Ordering::Acquire, |free| free.checked_sub(1));
        taken.is_ok().then(|| Permit(Arc::clone(&self.free)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back() {
        let capacity = Capacity::new(1);
        let permit = capacity.take();
        assert!(permit.is_some() && capacity.take().is_none());
        drop(permit);
        assert!(capacity.take().is_some());
    }
}
