//! The way from a service's thread to the thread that writes: bounded, and never waited for.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::proxylet::digest::Digest;
use crate::record::kept::Kept;

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
    pub(crate) entries: Kept,
    /// Bytes of them.
    pub(crate) len: usize,
    /// Where in them a new file may begin.
    pub(crate) turn: Option<Turn>,
    /// Where the call of `save` begins that came last.
    saved_at: Option<usize>,
    /// The code whose calls the entries are.
    pub(crate) code: Option<Digest>,
    /// The recorder whose instance's calls are written now; 0 where there is none.
    owner: u64,
    ended: bool,
}

/// Where among entries one file may end and the next begin, with a checkpoint. Between both is the call of `save` that the
/// checkpoint has its state of: neither file needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) end: usize,
    pub(crate) begin: usize,
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
    pub(crate) const WAKE_BYTES: usize = 256 << 10;
    /// A writer that finds so many bytes is behind. A large checkpoint alone does not make it so.
    pub(crate) const BEHIND_BYTES: usize = Self::BYTES_MAX / 2;
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
        taken.entries.clear();
        let mut waiting = self.lock();
        if waiting.len < Self::WAKE_BYTES && !waiting.ended {
            waiting = self
                .changed
                .wait_timeout(waiting, Self::LOOK_EVERY)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        std::mem::swap(&mut taken.entries, &mut waiting.entries);
        taken.len = std::mem::take(&mut waiting.len);
        (taken.turn, waiting.saved_at) = (waiting.turn.take(), None);
        taken.code = waiting.code;
        !(waiting.ended && taken.entries.is_empty())
    }

    /// Says that a checkpoint is wanted, from which a new file could begin. None where one waits already: whoever writes
    /// finds that a file is large when the service may have seen to it long ago.
    pub(crate) fn want_base(&self) {
        let waiting = self.lock();
        self.wants_base.store(waiting.turn.is_none(), Relaxed);
    }

    /// Says that nothing is written any more.
    pub(crate) fn close(&self) {
        self.closed.store(true, Relaxed);
        let mut waiting = self.lock();
        (waiting.entries, waiting.len) = (Kept::default(), 0);
        (waiting.turn, waiting.saved_at) = (None, None);
    }
}

impl Inlet {
    /// Adds the entries of a recorder's call, which may be one of `save`.
    pub(crate) fn push(&self, owner: u64, entries: &Kept, is_save: bool) -> Pushed {
        let mut waiting = self.0.lock();
        if waiting.owner != owner {
            return Pushed::NotMine;
        }
        let at = waiting.len;
        let pushed = self.put(&mut waiting, entries);
        waiting.saved_at = (is_save && pushed == Pushed::Taken).then_some(at);
        pushed
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
    pub(crate) fn begin(&self, owner: u64, code: Digest, entries: &Kept, is_base: bool) -> Pushed {
        let mut waiting = self.0.lock();
        let begin = waiting.len;
        let end = waiting.saved_at.take().unwrap_or(begin);
        let pushed = self.put(&mut waiting, entries);
        if pushed == Pushed::Taken {
            (waiting.owner, waiting.code) = (owner, Some(code));
            if is_base {
                waiting.turn.get_or_insert(Turn { end, begin });
                self.0.wants_base.store(false, Relaxed);
            }
        }
        pushed
    }

    fn put(&self, waiting: &mut Waiting, entries: &Kept) -> Pushed {
        let before = waiting.len;
        if before + entries.len() > Queue::BYTES_MAX {
            return Pushed::Full;
        }
        waiting.entries.append(entries);
        waiting.len += entries.len();
        // Once for each crossing of the mark: the writer takes all that there is.
        if before < Queue::WAKE_BYTES && waiting.len >= Queue::WAKE_BYTES {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_ends_before_the_save_that_the_next_one_begins_with() {
        let (queue, inlet) = Queue::open();
        let code = Digest::of(b"code");
        let entries = |bytes: &[u8]| Kept::plain(bytes);
        let mut taken = Waiting::default();
        inlet.begin(1, code, &entries(b"head"), false);
        inlet.push(1, &entries(b"call"), false);
        inlet.push(1, &entries(b"save"), true);
        inlet.begin(1, code, &entries(b"base"), true);
        inlet.push(1, &entries(b"next"), false);
        assert!(queue.take(&mut taken));
        assert_eq!(taken.turn, Some(Turn { end: 8, begin: 12 }));
        assert_eq!(taken.entries.runs_of(12..taken.len).collect::<Vec<_>>().concat(), b"basenext");
        // Where other calls lie between both, or the save has been written, nothing is left out.
        inlet.push(1, &entries(b"save"), true);
        inlet.push(1, &entries(b"call"), false);
        inlet.begin(1, code, &entries(b"base"), true);
        assert!(queue.take(&mut taken));
        assert_eq!(taken.turn, Some(Turn { end: 8, begin: 8 }));
        inlet.push(1, &entries(b"save"), true);
        assert!(queue.take(&mut taken));
        inlet.begin(1, code, &entries(b"base"), true);
        assert!(queue.take(&mut taken));
        assert_eq!(taken.turn, Some(Turn { end: 0, begin: 0 }));
    }

    #[test]
    fn no_second_checkpoint_is_wanted_while_one_waits() {
        let (queue, inlet) = Queue::open();
        let (code, base) = (Digest::of(b"code"), Kept::plain(b"base"));
        inlet.begin(1, code, &base, false);
        queue.want_base();
        assert!(inlet.wants_base());
        inlet.begin(1, code, &base, true);
        queue.want_base();
        assert!(!inlet.wants_base());
        assert!(queue.take(&mut Waiting::default()));
        queue.want_base();
        assert!(inlet.wants_base());
    }
}
