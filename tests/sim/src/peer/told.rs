//! What a peer has told of what it has: its routing table as others have received it.
//!
//! An ultrapeer tells all of its neighbours the same, and each works out the same table from the same messages. So tables
//! are shared, and what became of a table by a message is remembered for a while. These are results of a pure function:
//! nothing but time and memory depends on what is remembered, and all shards remember together.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use avp::gnutella::qrp::receiver::Error;
use avp::gnutella::qrp::{Change, Hashes, Receiver, Slots, slot};
use hashbrown::HashTable;

use super::tables::{LOG2, SLOTS};
use crate::workload::content::mix;
use crate::world::Bytes;

/// Results in one of two generations.
const RESULTS_MAX: usize = 4_096;

/// A table, folded to our size, and what has come of its next version.
#[derive(Clone, Debug)]
pub struct Told {
    receiver: Receiver,
    bits: [u64; SLOTS / 64],
    log2: u8,
}

/// What is known of a peer; `None` where it has not told anything.
pub(super) type Known = Option<Arc<Told>>;

impl Told {
    fn new() -> Self {
        Self { receiver: Receiver::default(), bits: [0; SLOTS / 64], log2: LOG2 }
    }

    /// The same after a message.
    fn after(&self, payload: &[u8]) -> Result<Self, Error> {
        let mut next = self.clone();
        // The receiver is beside the table that it changes.
        let mut receiver = std::mem::take(&mut next.receiver);
        receiver.receive(payload, &mut next)?;
        next.receiver = receiver;
        Ok(next)
    }

    fn put(&mut self, at: usize, present: bool) {
        if present {
            self.bits[at / 64] |= 1 << (at % 64);
        } else {
            self.bits[at / 64] &= !(1 << (at % 64));
        }
    }

    /// Whether the peer may have what is asked for.
    pub(super) fn matches(&self, hashes: &Hashes) -> bool {
        hashes.matches(|hash| self.has(hash))
    }

    /// Whether it may have something with this word.
    pub(super) fn has(&self, hash: u32) -> bool {
        let at = slot(hash, LOG2) as usize;
        self.bits[at / 64] >> (at % 64) & 1 != 0
    }

    /// The slots, 64 a word, the lowest slot in the lowest bit.
    pub(super) fn words(&self) -> &[u64] {
        &self.bits
    }
}

impl Slots for Told {
    fn reset(&mut self, log2: u8) {
        self.bits.fill(0);
        self.log2 = log2;
    }

    fn change(&mut self, slot: u32, change: Change) {
        let present = change != Change::Absent;
        let log2 = self.log2;
        if log2 <= LOG2 {
            let wide = 1 << (LOG2 - log2);
            for at in slot as usize * wide..(slot as usize + 1) * wide {
                self.put(at, present);
            }
        } else if present {
            // Several of theirs are one of ours: it stays set until they begin anew.
            self.put(slot as usize >> (log2 - LOG2), true);
        }
    }
}

/// A table, a message, and the table after it. The first two are kept, so that their places in memory name them.
#[derive(Debug)]
struct Step {
    before: Known,
    /// Where the message is, as long as it is kept.
    payload: usize,
    #[expect(dead_code, reason = "keeps the payload where it is")]
    bytes: Bytes,
    after: Arc<Told>,
}

impl Step {
    fn hash(&self) -> u64 {
        hash_of(&self.before, self.payload)
    }
}

fn hash_of(before: &Known, payload: usize) -> u64 {
    mix(place_of(before) as u64 ^ mix(payload as u64))
}

fn place_of(known: &Known) -> usize {
    known.as_ref().map_or(0, |told| Arc::as_ptr(told) as usize)
}

#[derive(Debug, Default)]
struct Results {
    young: HashTable<Step>,
    old: HashTable<Step>,
}

impl Results {
    fn find(&self, before: &Known, payload: usize) -> Option<Arc<Told>> {
        let hash = hash_of(before, payload);
        let same = |step: &Step| step.payload == payload && place_of(&step.before) == place_of(before);
        let step = self.young.find(hash, same).or_else(|| self.old.find(hash, same))?;
        Some(step.after.clone())
    }

    fn add(&mut self, step: Step) {
        if self.young.len() >= RESULTS_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert_unique(step.hash(), step, Step::hash);
    }
}

/// What became of tables by messages, of late: of all shards.
#[derive(Debug, Default)]
pub struct Memory(Mutex<Results>);

impl Memory {
    /// What is known of a peer after it has sent this payload, a part of `bytes`.
    pub(super) fn receive(&self, before: &Known, bytes: &Bytes, payload: &[u8]) -> Result<Arc<Told>, Error> {
        let place = payload.as_ptr() as usize;
        if let Some(known) = self.results().find(before, place) {
            return Ok(known);
        }
        // Meanwhile the others go on.
        let after = match before {
            Some(told) => told.after(payload),
            None => Told::new().after(payload),
        }?;
        let mut results = self.results();
        if let Some(known) = results.find(before, place) {
            return Ok(known);
        }
        let after = Arc::new(after);
        let step =
            Step { before: before.clone(), bytes: bytes.clone(), payload: place, after: after.clone() };
        results.add(step);
        Ok(after)
    }

    fn results(&self) -> MutexGuard<'_, Results> {
        // Each step is added whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use avp::gnutella::qrp::{Table, sender};

    fn named(log2: u8, name: &str) -> Table {
        let mut table = Table::new(log2);
        table.add_name(name.as_bytes());
        table
    }

    fn messages(old: Option<&Table>, new: &Table) -> Vec<Bytes> {
        sender::updates(old, new).into_iter().map(Bytes::from).collect()
    }

    fn receive(memory: &Memory, before: Known, messages: &[Bytes]) -> Known {
        let take = |known: Known, bytes: &Bytes| Some(memory.receive(&known, bytes, bytes).unwrap());
        messages.iter().fold(before, take)
    }

    fn matches(known: &Known, text: &str) -> bool {
        known.as_ref().is_some_and(|told| told.matches(&Hashes::of_text(text.as_bytes())))
    }

    #[test]
    fn a_table_of_any_size_is_never_understood_to_have_less() {
        for log2 in [12, LOG2, 16] {
            let known = receive(&Memory::default(), None, &messages(None, &named(log2, "kabcd kbcde.ogg")));
            assert!(matches(&known, "kabcd kbcde"), "{log2}");
            assert!(!matches(&known, "kabcd other"), "{log2}");
        }
    }

    #[test]
    fn those_who_are_told_the_same_share_a_table_and_others_do_not() {
        let memory = Memory::default();
        let (first, second) = (named(LOG2, "kabcd"), named(LOG2, "kbcde"));
        let (begin, change) = (messages(None, &first), messages(Some(&first), &second));
        let one = receive(&memory, None, &begin);
        let two = receive(&memory, None, &begin);
        assert_eq!(place_of(&one), place_of(&two));
        let changed = receive(&memory, two.clone(), &change);
        assert!(matches(&changed, "kbcde") && !matches(&changed, "kabcd") && matches(&one, "kabcd"));
        // The same message means something else to who knows something else.
        let late = receive(&memory, None, &messages(None, &named(LOG2, "other")));
        let late = receive(&memory, late, &change);
        assert!(matches(&late, "other") && matches(&late, "kbcde"));
    }

    #[test]
    fn what_breaks_the_rules_is_refused_each_time_and_memory_is_bounded() {
        let memory = Memory::default();
        let garbage: Bytes = vec![1, 2, 3].into();
        for _ in 0..2 {
            assert!(memory.receive(&None, &garbage, &garbage).is_err());
        }
        let begin = messages(None, &named(LOG2, "kabcd"));
        for _ in 0..3 * RESULTS_MAX {
            let copies: Vec<Bytes> = begin.iter().map(|b| b.to_vec().into()).collect();
            receive(&memory, None, &copies[..1]);
        }
        let results = memory.results();
        assert!(results.young.len() + results.old.len() <= 2 * RESULTS_MAX);
    }
}
