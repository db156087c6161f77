//! The query routing table that other ultrapeers have of us: what our leaves have, taken together.
//!
//! All neighbours have the same one, so that a change is written once and sent to all of them. Who joins gets it whole.

use super::matrix::{Matrix, SLOT_BITS, SLOTS};
use crate::gnutella::qrp::{Table, sender};
use crate::host::Instant;
use crate::state::{Damaged, Reader, Saved, Writer};
use std::time::Duration;

/// From one change of the table to the next, at least.
pub const PUBLISH_INTERVAL: Duration = Duration::from_secs(30);

/// What the neighbours know.
#[derive(Debug)]
pub struct Published {
    table: Table,
    /// The matrix's version that the table shows.
    version: u64,
    at: Option<Instant>,
    /// The payloads that tell a new neighbour all; made when the first one joins.
    whole: Option<Vec<Vec<u8>>>,
}

impl Default for Published {
    fn default() -> Self {
        Self { table: Table::new(SLOT_BITS), version: 0, at: None, whole: None }
    }
}

impl Published {
    /// The payloads that tell a new neighbour all.
    pub fn whole(&mut self) -> &[Vec<u8>] {
        self.whole.get_or_insert_with(|| sender::updates(None, &self.table))
    }

    /// Where something has changed and it is time: the payloads that tell the neighbours. Send them to all that have
    /// got [`Self::whole`].
    pub fn update(&mut self, now: Instant, leaves: &Matrix) -> Vec<Vec<u8>> {
        if leaves.version() == self.version || self.at.is_some_and(|at| now.since(at) < PUBLISH_INTERVAL) {
            return Vec::new();
        }
        let mut table = Table::new(SLOT_BITS);
        for slot in (0..SLOTS as u32).filter(|s| leaves.union(*s as u16)) {
            table.set(slot, true);
        }
        let payloads = sender::updates(Some(&self.table), &table);
        (self.table, self.version, self.at) = (table, leaves.version(), Some(now));
        self.whole = None;
        payloads
    }

    /// Slots that are set.
    #[must_use]
    pub fn present(&self) -> u32 {
        self.table.present()
    }
}

/// What tells a new neighbour all is made when the next one joins.
impl Saved for Published {
    fn save(&self, to: &mut Writer) {
        self.table.save(to);
        self.version.save(to);
        self.at.save(to);
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Damaged> {
        let table: Table = from.load()?;
        from.ensure(table.log2() == SLOT_BITS)?;
        Ok(Self { table, version: from.load()?, at: from.load()?, whole: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gnutella::qrp::{Change, Receiver, Slots};

    #[test]
    fn a_neighbour_that_follows_has_the_union_of_the_leaves() {
        let (mut leaves, mut published) = (Matrix::new(0), Published::default());
        let (mut receiver, mut theirs) = (Receiver::default(), Table::new(SLOT_BITS));
        let mut follow = |payloads: Vec<Vec<u8>>, theirs: &mut Table| {
            for p in &payloads {
                receiver.receive(p, theirs).unwrap();
            }
            payloads.len()
        };
        let at = |s| Instant(0) + Duration::from_secs(s);
        follow(published.whole().to_vec(), &mut theirs);
        assert_eq!(follow(published.update(at(0), &leaves), &mut theirs), 0);

        let (a, b) = (leaves.insert(1).unwrap(), leaves.insert(2).unwrap());
        for (c, log2, slot) in [(a, 16, 77), (b, 14, 1_000), (b, 14, 19)] {
            if slot != 19 {
                leaves.table(c).reset(log2);
            }
            leaves.table(c).change(slot, Change::Present);
        }
        assert!(follow(published.update(at(1), &leaves), &mut theirs) > 0);
        let set = |t: &Table| (0..SLOTS as u32).filter(|s| t.get(*s)).collect::<Vec<_>>();
        assert_eq!(set(&theirs), [76, 77, 78, 79, 4_000, 4_001, 4_002, 4_003]);

        leaves.remove(b);
        leaves.sweep();
        assert_eq!(follow(published.update(at(30), &leaves), &mut theirs), 0, "too early");
        assert!(follow(published.update(at(31), &leaves), &mut theirs) > 0);
        assert_eq!(set(&theirs), [77]);
        let mut late = Table::new(SLOT_BITS);
        let mut receiver = Receiver::default();
        for p in published.whole() {
            receiver.receive(p, &mut late).unwrap();
        }
        assert_eq!(late, theirs);
    }
}
