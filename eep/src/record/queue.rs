//! The way from a service's thread to the thread that writes: bounded, and never waited for.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::proxylet::digest::Digest;

/// What waits for the writer. Shared by a service's recorders, one after the other, and one writer.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    wants_base: AtomicBool,
    closed: AtomicBool,
}

/// Whole entries, in order.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    pub(crate) entries: Vec<u8>,
    /// Where in them the checkpoint is from which a new file may begin.
    pub(crate) base_at: Option<usize>,
    /// The code whose calls the entries are.
    pub(crate) code: Option<Digest>,
    /// The recorder whose instance's calls are written now; 0 where there is none.
    owner: u64,
    ended: bool,
}

/// What became of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// They will be written.
    Taken,
    /// There was no room.
    Full,
    /// The calls of another instance are written meanwhile.
    NotMine,
}

/// The end of a queue at which a service's thread is. When the last one of a queue is dropped, its writer writes what
/// waits and ends.
#[derive(Debug)]
pub(crate) struct Inlet(Arc<Queue>);

impl Drop for Inlet {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.changed.notify_one();
    }
}

impl Queue {
    /// Bytes that may wait; what comes beyond is left out of the recording.
    pub(crate) const BYTES_MAX: usize = 32 << 20;
    /// From so many bytes on the writer is woken.
    const WAKE_BYTES: usize = 256 << 10;
    /// It looks by itself as often.
    const LOOK_EVERY: Duration = Duration::from_millis(200);

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A queue, and the end for the service.
    pub(crate) fn open() -> (Arc<Self>, Arc<Inlet>) {
        let queue = Arc::<Self>::default();
        (Arc::clone(&queue), Arc::new(Inlet(queue)))
    }

    /// Waits for entries; false where there are none and none will come.
    pub(crate) fn take(&self, taken: &mut Waiting) -> bool {
        let mut waiting = self.lock();
        if waiting.entries.len() < Self::WAKE_BYTES && !waiting.ended {
            waiting = self
                .changed
                .wait_timeout(waiting, Self::LOOK_EVERY)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        taken.entries.clear();
        std::mem::swap(&mut taken.entries, &mut waiting.entries);
        taken.base_at = waiting.base_at.take();
        taken.code = waiting.code;
        !(waiting.ended && taken.entries.is_empty())
    }

    /// Says that a checkpoint is wanted, from which a new file could begin.
    pub(crate) fn want_base(&self) {
        self.wants_base.store(true, Relaxed);
    }

    /// Says that nothing is written any more.
    pub(crate) fn close(&self) {
        self.closed.store(true, Relaxed);
        self.lock().entries = Vec::new();
    }
}

impl Inlet {
    /// Adds the entries of a recorder's call, one run of bytes after the other.
    pub(crate) fn push(&self, owner: u64, entries: &[&[u8]]) -> Pushed {
        let mut waiting = self.0.lock();
        if waiting.owner != owner {
            return Pushed::NotMine;
        }
        self.put(&mut waiting, entries)
    }

    /// Whether no instance's calls are written now.
    pub(crate) fn is_free(&self) -> bool {
        self.0.lock().owner == 0
    }

    /// Says that no more calls of this recorder will come.
    pub(crate) fn release(&self, owner: u64) {
        let mut waiting = self.0.lock();
        if waiting.owner == owner {
            waiting.owner = 0;
        }
    }

    /// Adds entries after which a recorder's calls follow, of this code. Those of a checkpoint may begin a new file.
    pub(crate) fn begin(&self, owner: u64, code: Digest, entries: &[&[u8]], is_base: bool) -> Pushed {
        let mut waiting = self.0.lock();
        let at = waiting.entries.len();
        let pushed = self.put(&mut waiting, entries);
        if pushed == Pushed::Taken {
            (waiting.owner, waiting.code) = (owner, Some(code));
            if is_base {
                waiting.base_at.get_or_insert(at);
                self.0.wants_base.store(false, Relaxed);
            }
        }
        pushed
    }

    fn put(&self, waiting: &mut Waiting, entries: &[&[u8]]) -> Pushed {
        let before = waiting.entries.len();
        if before + entries.iter().map(|run| run.len()).sum::<usize>() > Queue::BYTES_MAX {
            return Pushed::Full;
        }
        entries.iter().for_each(|run| waiting.entries.extend_from_slice(run));
        // Once for each crossing of the mark: the writer takes all that there is.
        if before < Queue::WAKE_BYTES && waiting.entries.len() >= Queue::WAKE_BYTES {
            self.0.changed.notify_one();
        }
        Pushed::Taken
    }

    /// Whether the writer wants a checkpoint.
    pub(crate) fn wants_base(&self) -> bool {
        self.0.wants_base.load(Relaxed)
    }

    /// Whether nobody writes any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.closed.load(Relaxed)
    }
}
