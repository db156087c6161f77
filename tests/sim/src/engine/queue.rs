//! Events in the order of their times; those of one time in the order in which they were put in.
//!
//! Most events of a simulation lie within the next seconds, and there are millions of them. So time is cut into slots
//! of about a millisecond: what lies in the slot at hand is sorted, but for what is put into it meanwhile, which is in a
//! heap; what lies in the rest of the slot's block waits unsorted in its slot's list; what lies beyond waits unsorted by
//! block. So one knows well ahead what happens next ([`Queue::upcoming`]).

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BTreeMap, BinaryHeap};

use avp::Instant;

/// Length of a slot: 2^20 ns.
const SLOT_BITS: u32 = 20;
/// Slots of a block: 2^12, together about 4.3 s.
const BLOCK_BITS: u32 = 12;
const BLOCK_SLOTS: usize = 1 << BLOCK_BITS;

#[derive(Clone, Debug)]
struct Entry<T> {
    at: u64,
    /// Counts what was put in.
    number: u64,
    event: T,
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}
impl<T> Eq for Entry<T> {}
impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// The events to come.
#[derive(Debug)]
pub struct Queue<T> {
    now: u64,
    number: u64,
    len: usize,
    /// The slot at hand.
    slot: u64,
    /// What was in it when it came to hand, the next at the end.
    current: Vec<Entry<T>>,
    /// What was put into it since.
    added: BinaryHeap<Reverse<Entry<T>>>,
    /// The other slots of its block.
    block: Vec<Vec<Entry<T>>>,
    /// Later blocks.
    later: BTreeMap<u64, Vec<Entry<T>>>,
}

impl<T> Queue<T> {
    /// An empty queue; no event can be put in before `start`.
    #[must_use]
    pub fn new(start: Instant) -> Self {
        Self {
            now: start.0,
            number: 0,
            len: 0,
            slot: start.0 >> SLOT_BITS,
            current: Vec::new(),
            added: BinaryHeap::new(),
            block: (0..BLOCK_SLOTS).map(|_| Vec::new()).collect(),
            later: BTreeMap::new(),
        }
    }

    /// The time of the event that was taken out last.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant(self.now)
    }

    /// Events that are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts an event in. What should have happened already happens next.
    pub fn push(&mut self, at: Instant, event: T) {
        let at = at.0.max(self.now);
        self.number += 1;
        self.len += 1;
        let entry = Entry { at, number: self.number, event };
        let slot = at >> SLOT_BITS;
        if slot <= self.slot {
            self.added.push(Reverse(entry));
        } else if slot >> BLOCK_BITS == self.slot >> BLOCK_BITS {
            self.block[slot as usize % BLOCK_SLOTS].push(entry);
        } else {
            self.later.entry(slot >> BLOCK_BITS).or_default().push(entry);
        }
    }

    /// Takes the next event out, unless it is later than `until`.
    pub fn pop(&mut self, until: Instant) -> Option<T> {
        self.turn(until);
        let entry = match (self.current.last(), self.added.peek()) {
            (Some(next), Some(Reverse(added))) if added < next => self.take_added(until),
            (None, Some(_)) => self.take_added(until),
            (next, _) if next.is_some_and(|next| next.at <= until.0) => self.current.pop(),
            _ => None,
        }?;
        self.len -= 1;
        self.now = entry.at;
        Some(entry.event)
    }

    fn take_added(&mut self, until: Instant) -> Option<Entry<T>> {
        let next = self.added.peek_mut().filter(|next| next.0.at <= until.0)?;
        Some(PeekMut::pop(next).0)
    }

    /// Goes on to the next slot that has something, where the one at hand has nothing more and ends before `until`. Whether
    /// it did.
    pub fn turn(&mut self, until: Instant) -> bool {
        let mut turned = false;
        while self.current.is_empty() && self.added.is_empty() {
            if self.len == 0 || self.slot >= until.0 >> SLOT_BITS {
                break;
            }
            self.advance();
            turned = true;
        }
        turned
    }

    /// What happens next in the slot at hand, as far as it was known when that came to hand.
    pub fn upcoming(&self) -> impl Iterator<Item = &T> {
        self.current.iter().rev().map(|entry| &entry.event)
    }

    /// Lets time pass up to here, when there is nothing left before.
    pub fn rest_until(&mut self, until: Instant) {
        self.now = self.now.max(until.0);
    }

    /// Goes to the next slot that may have something.
    fn advance(&mut self) {
        let last = (self.slot | (BLOCK_SLOTS as u64 - 1)) as usize % BLOCK_SLOTS;
        let from = self.slot as usize % BLOCK_SLOTS + 1;
        if let Some(found) = (from..=last).find(|s| !self.block[*s].is_empty()) {
            self.slot = (self.slot >> BLOCK_BITS << BLOCK_BITS) + found as u64;
        } else if let Some((block, entries)) = self.later.pop_first() {
            self.slot = block << BLOCK_BITS;
            for entry in entries {
                self.block[(entry.at >> SLOT_BITS) as usize % BLOCK_SLOTS].push(entry);
            }
        }
        let slot = self.slot as usize % BLOCK_SLOTS;
        std::mem::swap(&mut self.current, &mut self.block[slot]);
        self.current.sort_unstable_by(|a, b| b.cmp(a));
    }

    /// All events that are in it, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        let waiting = self.block.iter().chain(self.later.values()).flatten();
        let added = self.added.iter().map(|Reverse(entry)| entry);
        self.current.iter().chain(added).chain(waiting).map(|entry| &entry.event)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::SECOND;

    const FOREVER: Instant = Instant(u64::MAX);

    #[test]
    fn events_of_one_time_keep_their_order() {
        let mut queue = Queue::new(Instant(5));
        for n in 0..100 {
            queue.push(Instant(if n % 2 == 0 { 7 } else { 20 * SECOND }), n);
        }
        let out: Vec<i32> = std::iter::from_fn(|| queue.pop(FOREVER)).collect();
        let expected: Vec<i32> = (0..100).step_by(2).chain((1..100).step_by(2)).collect();
        assert_eq!(out, expected);
    }

    #[test]
    fn nothing_happens_after_the_end_or_in_the_past() {
        let mut queue = Queue::new(Instant(0));
        queue.push(Instant(9 * SECOND), 'b');
        queue.push(Instant(9 * SECOND + 1), 'c');
        assert_eq!(queue.pop(Instant(9 * SECOND - 1)), None);
        assert_eq!(queue.pop(Instant(9 * SECOND)), Some('b'));
        assert_eq!(queue.pop(Instant(9 * SECOND)), None);
        queue.push(Instant(1), 'a');
        assert_eq!(queue.pop(FOREVER), Some('a'));
        assert_eq!(queue.now(), Instant(9 * SECOND));
        assert_eq!((queue.len(), queue.iter().count()), (1, 1));
        assert_eq!(queue.pop(FOREVER), Some('c'));
        assert!(queue.is_empty());
    }

    #[test]
    fn what_comes_next_is_known_from_the_turn_of_a_slot_on() {
        let mut queue = Queue::new(Instant(0));
        for at in [2 * SECOND + 5, 2 * SECOND, 9 * SECOND] {
            queue.push(Instant(at), at);
        }
        assert!(!queue.turn(Instant(5)) && queue.turn(Instant(SECOND)) && !queue.turn(FOREVER));
        assert_eq!(queue.upcoming().copied().collect::<Vec<_>>(), [2 * SECOND, 2 * SECOND + 5]);
        assert_eq!(queue.pop(FOREVER), Some(2 * SECOND));
        queue.push(Instant(2 * SECOND + 1), 0);
        assert_eq!(queue.upcoming().copied().collect::<Vec<_>>(), [2 * SECOND + 5]);
        assert_eq!(queue.pop(FOREVER), Some(0));
        assert_eq!(queue.pop(Instant(2 * SECOND + 4)), None);
        assert_eq!((queue.pop(FOREVER), queue.pop(FOREVER)), (Some(2 * SECOND + 5), Some(9 * SECOND)));
    }

    proptest! {
        /// Against the obvious: a sorted list. Each step puts events in, some of them relative to now, and takes some out.
        #[test]
        fn it_is_a_sorted_list(steps in prop::collection::vec((prop::collection::vec((0..3_u8, 0..6_000_u64), 0..8), 0..6_usize), 1..60)) {
            let mut queue = Queue::new(Instant(SECOND));
            let mut list: Vec<(u64, u64)> = Vec::new();
            let (mut number, mut now) = (0, SECOND);
            for (puts, takes) in steps {
                for (scale, delay) in puts {
                    let unit = [100, 1_000_000, 50_000_000][usize::from(scale)];
                    number += 1;
                    queue.push(Instant(now + delay * unit), number);
                    list.push((now + delay * unit, number));
                }
                list.sort_unstable();
                prop_assert_eq!(queue.len(), list.len());
                for _ in 0..takes.min(list.len()) {
                    let (at, expected) = list.remove(0);
                    prop_assert_eq!(queue.pop(FOREVER), Some(expected));
                    prop_assert_eq!(queue.now(), Instant(at));
                    now = at;
                }
            }
        }
    }
}
