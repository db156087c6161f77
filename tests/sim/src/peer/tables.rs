//! Routing tables: what one peer has, and what all leaves of an ultrapeer have together.

use avp::gnutella::qrp::{Change, Hashes, Slots, Table, slot};

/// Slots of a light peer's table, as a power of two: what LimeWire's leaves send.
pub(super) const LOG2: u8 = 14;
const SLOTS: usize = 1 << LOG2;

/// What a peer at a link has: its table, folded to our size.
#[derive(Debug)]
pub(super) struct LinkTable {
    bits: [u64; SLOTS / 64],
    log2: u8,
}

impl LinkTable {
    pub(super) fn new() -> Box<Self> {
        Box::new(Self { bits: [0; SLOTS / 64], log2: LOG2 })
    }

    fn has(&self, at: usize) -> bool {
        self.bits[at / 64] >> (at % 64) & 1 != 0
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
        hashes.matches(|hash| self.has(slot(hash, LOG2) as usize))
    }

    /// The set slots.
    pub(super) fn present(&self) -> impl Iterator<Item = usize> + '_ {
        self.bits
            .iter()
            .enumerate()
            .filter(|(_, w)| **w != 0)
            .flat_map(|(n, w)| (0..64).filter(move |bit| w >> bit & 1 != 0).map(move |bit| n * 64 + bit))
    }
}

impl Slots for LinkTable {
    fn reset(&mut self, log2: u8) {
        self.bits.fill(0);
        self.log2 = log2;
    }

    fn change(&mut self, slot: u32, change: Change) {
        let present = change != Change::Absent;
        if self.log2 <= LOG2 {
            let wide = 1 << (LOG2 - self.log2);
            for at in slot as usize * wide..(slot as usize + 1) * wide {
                self.put(at, present);
            }
        } else if present {
            // Several of theirs are one of ours: it stays set until they begin anew.
            self.put(slot as usize >> (self.log2 - LOG2), true);
        }
    }
}

/// What all leaves have together.
#[derive(Debug)]
pub(super) struct Together {
    counts: Vec<u16>,
}

impl Together {
    pub(super) fn new() -> Self {
        Self { counts: vec![0; SLOTS] }
    }

    pub(super) fn add(&mut self, table: &LinkTable) {
        table.present().for_each(|at| self.counts[at] += 1);
    }

    pub(super) fn remove(&mut self, table: &LinkTable) {
        table.present().for_each(|at| self.counts[at] -= 1);
    }

    pub(super) fn matches(&self, hashes: &Hashes) -> bool {
        hashes.matches(|hash| self.counts[slot(hash, LOG2) as usize] > 0)
    }

    /// As a table to publish, together with names of one's own.
    pub(super) fn table<'a>(&self, names: impl Iterator<Item = String> + 'a) -> Table {
        let mut table = Table::new(LOG2);
        for (at, _) in self.counts.iter().enumerate().filter(|(_, n)| **n > 0) {
            table.set(at as u32, true);
        }
        names.for_each(|name| table.add_name(name.as_bytes()));
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use avp::gnutella::qrp::{Receiver, sender};

    fn receive(table: &Table) -> Box<LinkTable> {
        let (mut receiver, mut link) = (Receiver::default(), LinkTable::new());
        for payload in sender::updates(None, table) {
            receiver.receive(&payload, &mut *link).unwrap();
        }
        link
    }

    #[test]
    fn a_table_of_any_size_is_never_understood_to_have_less() {
        for log2 in [12, LOG2, 16] {
            let mut table = Table::new(log2);
            table.add_name(b"kabcd kbcde.ogg");
            let link = receive(&table);
            assert!(link.matches(&Hashes::of_text(b"kabcd kbcde")), "{log2}");
            assert!(!link.matches(&Hashes::of_text(b"kabcd other")), "{log2}");
        }
    }

    #[test]
    fn what_leaves_have_together_goes_with_the_last_of_them() {
        let mut table = Table::new(LOG2);
        table.add_name(b"kabcd");
        let (one, two) = (receive(&table), receive(&table));
        let mut together = Together::new();
        together.add(&one);
        together.add(&two);
        together.remove(&one);
        assert!(together.matches(&Hashes::of_text(b"kabcd")));
        together.remove(&two);
        assert!(!together.matches(&Hashes::of_text(b"kabcd")));
        assert_eq!(together.table(std::iter::empty()).present(), 0);
    }
}
