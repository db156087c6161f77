//! What waits for a congested relation, most important first.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::network::traffic::{Class, Rank};
use crate::state::{Damaged, Reader, Saved, Writer};

/// Bytes that may wait on one relation, headers included. gtk-gnutella's figure.
pub const QUEUE_BYTES_MAX: usize = 96 * 1024;
/// Memory that a waiting message takes beside its bytes: its place in the queue and in the heap.
const MESSAGE_OVERHEAD_BYTES: usize = 64;

/// Messages that wait. They leave by rank, and within a rank in the order in which they came. When there is no room,
/// the least important go, and among these the oldest, whose news is the stalest; signals are never dropped.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: BTreeMap<(Rank, u64), Arc<[u8]>>,
    bytes: usize,
    next: u64,
}

impl Saved for Box<Queue> {
    fn save(&self, to: &mut Writer) {
        self.next.save(to);
        to.len_of(self.waiting.len());
        for (key, message) in &self.waiting {
            key.save(to);
            to.shared(message);
        }
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Damaged> {
        let (next, mut waiting, mut bytes) = (from.count()?, BTreeMap::new(), 0);
        for _ in 0..from.len_of(1, QUEUE_BYTES_MAX)? {
            let (key, message): ((Rank, u64), _) = (from.load()?, from.shared(QUEUE_BYTES_MAX)?);
            bytes += message.len();
            from.ensure(key.1 < next && bytes <= QUEUE_BYTES_MAX && waiting.insert(key, message).is_none())?;
        }
        Ok(Box::new(Queue { waiting, bytes, next }))
    }
}

/// What became of a message that should wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It waits.
    Waits,
    /// It was less important than all that waits, and was dropped.
    Dropped,
    /// It is a signal, and only signals are left: this relation cannot be kept.
    Overflow,
}

impl Queue {
    /// Adds a message; `dropped` is told the class of each one that had to make room for it.
    pub fn push(&mut self, rank: Rank, message: Arc<[u8]>, mut dropped: impl FnMut(Class)) -> Pushed {
        while self.bytes + message.len() > QUEUE_BYTES_MAX {
            let Some((&(least, _), _)) = self.waiting.last_key_value() else { break };
            if least < rank || least.class() == Class::Signal {
                break;
            }
            let oldest = self.waiting.range((least, 0)..).next().map(|(key, _)| *key);
            if let Some(lost) = oldest.and_then(|key| self.waiting.remove(&key)) {
                self.bytes -= lost.len();
                dropped(least.class());
            }
        }
        if self.bytes + message.len() > QUEUE_BYTES_MAX {
            return if rank.class() == Class::Signal { Pushed::Overflow } else { Pushed::Dropped };
        }
        self.bytes += message.len();
        self.waiting.insert((rank, self.next), message);
        self.next += 1;
        Pushed::Waits
    }

    /// Takes the most important message.
    pub fn pop(&mut self) -> Option<Arc<[u8]>> {
        let (_, message) = self.waiting.pop_first()?;
        self.bytes -= message.len();
        Some(message)
    }

    /// Bytes that wait, at most [`QUEUE_BYTES_MAX`].
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Memory for what waits, in bytes. A message that waits on several relations is counted on each.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.bytes + self.waiting.len() * MESSAGE_OVERHEAD_BYTES
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(first: u8, len: usize) -> Arc<[u8]> {
        let mut bytes = vec![0; len];
        bytes[0] = first;
        bytes.into()
    }

    fn drain(queue: &mut Queue) -> Vec<u8> {
        std::iter::from_fn(|| queue.pop()).map(|m| m[0]).collect()
    }

    #[test]
    fn messages_leave_by_rank_and_then_in_their_order() {
        let mut queue = Queue::default();
        let ranks = [
            Rank::new(Class::Ping, 0),
            Rank::new(Class::Query, 3),
            Rank::new(Class::Query, 1),
            Rank::new(Class::Hit, 1),
            Rank::new(Class::Hit, 3),
            Rank::new(Class::Hit, 3),
            Rank::new(Class::Signal, 0),
        ];
        for (i, rank) in ranks.into_iter().enumerate() {
            assert_eq!(queue.push(rank, message(i as u8, 40), |_| {}), Pushed::Waits);
        }
        assert_eq!(drain(&mut queue), [6, 4, 5, 3, 2, 1, 0]);
        assert_eq!(queue.bytes(), 0);
    }

    #[test]
    fn room_is_made_at_the_cost_of_the_oldest_of_the_least_important() {
        let mut queue = Queue::default();
        let mut lost = Vec::new();
        for i in 0..3 {
            queue.push(Rank::new(Class::Ping, 0), message(i, QUEUE_BYTES_MAX / 3), |c| lost.push(c));
        }
        let pushed = queue.push(Rank::new(Class::Hit, 0), message(9, 1_000), |c| lost.push(c));
        assert_eq!((pushed, lost), (Pushed::Waits, vec![Class::Ping]));
        assert_eq!(drain(&mut queue), [9, 1, 2]);
    }

    #[test]
    fn the_less_important_does_not_displace_the_more_important() {
        let mut queue = Queue::default();
        queue.push(Rank::new(Class::Push, 0), message(1, QUEUE_BYTES_MAX), |_| {});
        let pushed = queue.push(Rank::new(Class::Query, 0), message(2, 30), |c| panic!("{c:?} lost"));
        assert_eq!(pushed, Pushed::Dropped);
        assert_eq!(queue.push(Rank::new(Class::Signal, 0), message(3, 30), |_| {}), Pushed::Waits);
        assert_eq!(drain(&mut queue), [3]);
    }

    #[test]
    fn signals_that_find_no_room_overflow() {
        let mut queue = Queue::default();
        queue.push(Rank::new(Class::Signal, 0), message(1, QUEUE_BYTES_MAX), |_| {});
        assert_eq!(queue.push(Rank::new(Class::Signal, 0), message(2, 23), |_| {}), Pushed::Overflow);
        assert_eq!(drain(&mut queue), [1]);
    }

    proptest! {
        #[test]
        fn the_bound_holds_and_nothing_is_lost_uncounted(
            pushes in prop::collection::vec((0usize..6, 0u8..20, 23usize..20_000, prop::bool::weighted(0.2)), 0..200)
        ) {
            let mut queue = Queue::default();
            let (mut waits, mut lost, mut popped) = (0, 0, 0);
            for (class, hops, len, pop) in pushes {
                let rank = Rank::new(Class::ALL[class], hops);
                match queue.push(rank, message(0, len), |c| { assert_ne!(c, Class::Signal); lost += 1; }) {
                    Pushed::Waits => waits += 1,
                    Pushed::Dropped => assert_ne!(rank.class(), Class::Signal),
                    Pushed::Overflow => assert_eq!(rank.class(), Class::Signal),
                }
                prop_assert!(queue.bytes() <= QUEUE_BYTES_MAX);
                if pop && queue.pop().is_some() {
                    popped += 1;
                }
            }
            prop_assert_eq!(drain(&mut queue).len() + popped + lost, waits);
            prop_assert_eq!(queue.bytes(), 0);
        }
    }
}
