//! The latest calls in memory: all since the instance began while there is room, and those since its last checkpoint
//! where there is not.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::record::kept::{CALL_SHARED_FROM, Kept};

/// What the rings of a node hold together.
#[derive(Debug, Default)]
pub(crate) struct Held(AtomicUsize);

impl Held {
    /// Bytes of all rings together from which on each is held to [`Ring::BYTES_MIN`].
    pub(crate) const BYTES_MAX: usize = 256 << 20;
}

/// The latest calls of one instance.
#[derive(Debug)]
pub(crate) struct Ring {
    held: Arc<Held>,
    /// The entry of the last checkpoint; empty while all calls since the first are here.
    base: Kept,
    pieces: VecDeque<Piece>,
    bytes: usize,
    /// Calls since the base that are no longer here.
    lost: u64,
    /// Whether its checkpoints are larger than it may be.
    hopeless: bool,
}

/// Some small calls, or one that shares its bytes with others. Calls leave by the piece.
#[derive(Debug, Default)]
struct Piece {
    kept: Kept,
    calls: u64,
}

impl Ring {
    /// Bytes that one ring may hold.
    pub(crate) const BYTES_MAX: usize = 16 << 20;
    /// Bytes that it may hold where the node's rings are full.
    pub(crate) const BYTES_MIN: usize = 64 << 10;

    pub(crate) fn new(held: Arc<Held>) -> Self {
        Self { held, base: Kept::default(), pieces: VecDeque::new(), bytes: 0, lost: 0, hopeless: false }
    }

    fn max(&self) -> usize {
        if self.held.0.load(Relaxed) > Held::BYTES_MAX { Self::BYTES_MIN } else { Self::BYTES_MAX }
    }

    /// Adds the entries of a call; the oldest calls leave where there is no room.
    pub(crate) fn push(&mut self, call: &Kept) {
        match self.pieces.back_mut().filter(|p| p.kept.len() + call.len() <= CALL_SHARED_FROM) {
            Some(piece) if call.is_plain() && piece.kept.is_plain() => {
                piece.kept.entries.extend_from_slice(&call.entries);
                piece.calls += 1;
            }
            _ => self.pieces.push_back(Piece { kept: call.clone(), calls: 1 }),
        }
        self.grow(call.len());
        let max = self.max();
        while self.bytes > max
            && let Some(piece) = self.pieces.pop_front()
        {
            self.shrink(piece.kept.len());
            self.lost += piece.calls;
        }
    }

    /// Forgets all: a call could not be kept.
    pub(crate) fn lose(&mut self) {
        self.clear();
        self.lost = 1;
    }

    /// Whether nothing in it can be replayed, which a checkpoint would mend. One that has a checkpoint waits for the next.
    pub(crate) fn wants_base(&self) -> bool {
        self.lost > 0 && self.base.is_empty() && !self.hopeless
    }

    /// Whether it would rather begin at a checkpoint taken now than where it does.
    pub(crate) fn takes_base(&self) -> bool {
        self.lost > 0 || !self.base.is_empty() || self.bytes > self.max() / 2
    }

    /// Begins again at a checkpoint, whose entry this is. One that is too large is not taken.
    pub(crate) fn rebase(&mut self, base: &Kept) {
        self.hopeless = base.len() > self.max();
        if self.hopeless {
            return;
        }
        self.clear();
        self.base = base.clone();
        self.grow(base.len());
    }

    /// How many calls are missing after the base, the base (empty where it begins with the first call), and the calls;
    /// nothing where they cannot be replayed: the first ones have gone, and there was no checkpoint.
    pub(crate) fn contents(&self) -> Option<(u64, &Kept, impl Iterator<Item = &[u8]>)> {
        if self.pieces.is_empty() || (self.lost > 0 && self.base.is_empty()) {
            return None;
        }
        Some((self.lost, &self.base, self.pieces.iter().flat_map(|piece| piece.kept.runs())))
    }

    fn clear(&mut self) {
        self.shrink(self.bytes);
        self.pieces.clear();
        self.base = Kept::default();
        self.lost = 0;
    }

    fn grow(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.held.0.fetch_add(bytes, Relaxed);
    }

    fn shrink(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.held.0.fetch_sub(bytes, Relaxed);
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.shrink(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(bytes: &[u8]) -> Kept {
        Kept::plain(bytes)
    }

    fn all(ring: &Ring) -> Option<(u64, usize, Vec<u8>)> {
        ring.contents().map(|(lost, base, calls)| (lost, base.len(), calls.flatten().copied().collect()))
    }

    #[test]
    fn keeps_all_from_the_first_call_while_there_is_room() {
        let held = Arc::<Held>::default();
        let mut ring = Ring::new(Arc::clone(&held));
        assert_eq!(all(&ring), None);
        for i in 0..100 {
            ring.push(&call(&[i; 1_000]));
        }
        assert!(!ring.takes_base());
        let (lost, base, calls) = all(&ring).unwrap();
        assert_eq!((lost, base, calls.len(), calls[99_999]), (0, 0, 100_000, 99));
        drop(ring);
        assert_eq!(held.0.load(Relaxed), 0);
    }

    #[test]
    fn is_bounded_and_says_what_it_lost() {
        let mut ring = Ring::new(Arc::default());
        let large = call(&[1; 1 << 20]);
        (0..40).for_each(|_| ring.push(&large));
        assert!(ring.bytes <= Ring::BYTES_MAX && ring.wants_base());
        assert_eq!(all(&ring), None, "its first calls are gone and it has no checkpoint");
        ring.rebase(&call(b"base"));
        assert!(!ring.wants_base());
        (0..20).for_each(|_| ring.push(&large));
        let (lost, base, calls) = all(&ring).unwrap();
        assert_eq!((base, lost as usize + calls.len() / large.len()), (4, 20));
        ring.rebase(&call(&vec![0; Ring::BYTES_MAX + 1]));
        assert_eq!(all(&ring).unwrap().1, 4);
    }

    #[test]
    fn where_the_node_is_full_each_gets_little() {
        let held = Arc::new(Held(AtomicUsize::new(Held::BYTES_MAX)));
        let mut ring = Ring::new(held);
        (0..200).for_each(|_| ring.push(&call(&[0; 1_000])));
        assert!(ring.bytes <= Ring::BYTES_MIN);
    }
}
