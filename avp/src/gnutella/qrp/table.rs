//! A table of slots, one bit each.

use super::hash::slot;
use super::receiver::{Change, Slots};
use super::words::{Hashes, name_hashes};
use super::{SLOTS_LOG2_MAX, SLOTS_LOG2_MIN};
use crate::state::{Damaged, Reader, Saved, Writer};

/// Which slots are present. Takes one bit a slot: 8 KiB for the usual 65,536.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    log2: u8,
    bits: Box<[u64]>,
}

impl Table {
    /// An empty table of 2^`log2` slots; `log2` is taken into the bounds of this module.
    #[must_use]
    pub fn new(log2: u8) -> Self {
        let log2 = log2.clamp(SLOTS_LOG2_MIN, SLOTS_LOG2_MAX);
        Self { log2, bits: vec![0; 1 << (log2 - 6)].into_boxed_slice() }
    }

    /// How many slots, as a power of two.
    #[must_use]
    pub const fn log2(&self) -> u8 {
        self.log2
    }

    /// How many slots.
    #[must_use]
    pub const fn slots(&self) -> u32 {
        1 << self.log2
    }

    /// How many slots are present.
    #[must_use]
    pub fn present(&self) -> u32 {
        self.bits.iter().map(|word| word.count_ones()).sum()
    }

    /// The slots, 64 a word, the lowest slot in the lowest bit.
    #[must_use]
    pub const fn words(&self) -> &[u64] {
        &self.bits
    }

    /// Whether a slot is present; slots past the end are not.
    #[must_use]
    #[inline]
    pub fn get(&self, slot: u32) -> bool {
        self.bits.get(slot as usize / 64).is_some_and(|word| word >> (slot % 64) & 1 != 0)
    }

    /// Makes a slot present or absent; slots past the end are ignored.
    #[inline]
    pub fn set(&mut self, slot: u32, present: bool) {
        if let Some(word) = self.bits.get_mut(slot as usize / 64) {
            let bit = 1 << (slot % 64);
            if present { *word |= bit } else { *word &= !bit }
        }
    }

    /// Adds a hash.
    pub fn add(&mut self, hash: u32) {
        self.set(slot(hash, self.log2), true);
    }

    /// Adds the words of a shared file's name.
    pub fn add_name(&mut self, name: &[u8]) {
        name_hashes(name, |hash| self.add(hash));
    }

    /// Whether the owner of this table may answer.
    #[must_use]
    #[inline]
    pub fn matches(&self, hashes: &Hashes) -> bool {
        hashes.matches(|hash| self.get(slot(hash, self.log2)))
    }

    /// Adds what another table has. Where the sizes differ, a slot stands for all that it is cut into, so that
    /// nothing that the other one matches is missed.
    pub fn merge(&mut self, other: &Self) {
        if self.log2 == other.log2 {
            self.bits.iter_mut().zip(&other.bits).for_each(|(mine, theirs)| *mine |= theirs);
            return;
        }
        for (n, word) in other.bits.iter().enumerate() {
            let mut word = *word;
            while word != 0 {
                let theirs = n as u32 * 64 + word.trailing_zeros();
                word &= word - 1;
                if self.log2 < other.log2 {
                    self.set(theirs >> (other.log2 - self.log2), true);
                } else {
                    let finer = self.log2 - other.log2;
                    (theirs << finer..(theirs + 1) << finer).for_each(|mine| self.set(mine, true));
                }
            }
        }
    }
}

impl Saved for Table {
    fn save(&self, to: &mut Writer) {
        self.log2.save(to);
        to.words(&self.bits);
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Damaged> {
        let mut table = Self::new(from.load()?);
        from.words(&mut table.bits)?;
        Ok(table)
    }
}

impl Slots for Table {
    fn reset(&mut self, log2: u8) {
        *self = Self::new(log2);
    }

    fn change(&mut self, slot: u32, change: Change) {
        match change {
            Change::Present => self.set(slot, true),
            Change::Absent => self.set(slot, false),
            Change::Flip => self.set(slot, !self.get(slot)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::gnutella::qrp::hash;

    #[test]
    fn a_table_matches_the_names_in_it() {
        let mut table = Table::new(16);
        table.add_name(b"zebra quartet symphony.mp3");
        table.add(hash(b"urn:sha1:DT56VS43LC4FLARA57CPYF4QP4DHGQKT"));
        assert!(table.matches(&Hashes::of_text(b"zebra quartet")));
        assert!(table.matches(&Hashes::of_text(b"SYMPHONY")));
        assert!(!table.matches(&Hashes::of_text(b"zebra walrus")));
        assert!(!table.matches(&Hashes::default()));
    }

    #[test]
    fn slots_outside_are_absent_and_stay_so() {
        let mut table = Table::new(0);
        assert_eq!(table.slots(), 1 << SLOTS_LOG2_MIN);
        table.set(1 << 20, true);
        assert_eq!((table.get(1 << 20), table.present()), (false, 0));
    }

    proptest! {
        #[test]
        fn a_merged_table_matches_all_that_its_parts_match(a in 10..=14_u8, b in 10..=14_u8, hashes in vec(any::<u32>(), 1..40)) {
            let (mut mine, mut theirs) = (Table::new(a), Table::new(b));
            hashes.iter().for_each(|h| theirs.add(*h));
            mine.merge(&theirs);
            for h in &hashes {
                prop_assert!(mine.get(slot(*h, a)));
            }
            if a <= b {
                prop_assert!(mine.present() <= theirs.present());
            } else {
                prop_assert_eq!(mine.present(), theirs.present() << (a - b));
            }
        }
    }
}
