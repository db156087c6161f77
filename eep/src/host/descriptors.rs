//! The node's file descriptors, shared by all services.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors left to the node itself: its state, its API, its log.
const RESERVED: usize = 256;

/// How many descriptors the services hold, and may hold together.
#[derive(Debug)]
pub(crate) struct Descriptors {
    held: AtomicUsize,
    max: usize,
}

/// One descriptor; given back when dropped.
#[derive(Debug)]
pub(crate) struct Descriptor(Arc<Descriptors>);

impl Descriptors {
    /// What the process may open, less a reserve. Raises the process's soft limit to its hard one first.
    pub(crate) fn of_process() -> Arc<Self> {
        let limit = getrlimit(Resource::Nofile);
        if limit.current != limit.maximum {
            // Where the system refuses, the soft limit stays what it is.
            let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
        }
        let now = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let max = usize::try_from(now).unwrap_or(usize::MAX).saturating_sub(RESERVED);
        Arc::new(Self { held: AtomicUsize::new(0), max })
    }

    /// How many the services may hold together.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// How many the services hold.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Relaxed)
    }

    pub(crate) fn take(self: &Arc<Self>) -> Option<Descriptor> {
        self.held
            .fetch_update(Relaxed, Relaxed, |held| (held < self.max).then_some(held + 1))
            .ok()
            .map(|_| Descriptor(Arc::clone(self)))
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_last_descriptor_until_one_is_given_back() {
        let all = Arc::new(Descriptors { held: AtomicUsize::new(0), max: 2 });
        let (first, second) = (all.take().unwrap(), all.take().unwrap());
        assert!(all.take().is_none());
        assert_eq!(all.held(), 2);
        drop(first);
        let third = all.take().unwrap();
        assert!(all.take().is_none());
        drop((second, third));
        assert_eq!(all.held(), 0);
    }
}
