//! Many query routing tables, transposed: one bit a peer, one row a slot.
//!
//! A query of *w* words is answered for 64 peers with *w* looks and ANDs. Peers lie in blocks of 64; a block has a row
//! of 64 bits for each of the 65,536 slots: 512 KiB, so 8 KiB a peer, while one of its tables changes, and packed to as
//! much as is set afterwards.
//!
//! Tables of other sizes fit exactly, since the query routing hash takes the topmost bits of a product: slot *s* of a
//! table with 2^b slots is the run of 2^(16-b) slots from `s << (16 - b)` on, and for b > 16 a part of slot
//! `s >> (b - 16)`, which is set while one of its parts is.

mod rows;
mod saved;

use rows::Rows;

use crate::gnutella::qrp::{self, Change, Hashes, SLOTS_LOG2_MAX, Slots};
use crate::state::saved;

/// Slots in the matrix: what most peers use, and the most that tells their files apart.
pub const SLOTS: usize = 1 << SLOT_BITS;
/// Length of a slot number in bits.
pub const SLOT_BITS: u8 = 16;
/// Peers in a block.
const LANES: usize = 64;
/// Rows of no block, all zero, kept for the next one that is opened.
const SPARE_BLOCKS_MAX: usize = 1;
/// Blocks that one sweep packs at most: some 0.1 ms each.
const PACKED_AT_ONCE_MAX: usize = 16;

/// A peer's place in the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column(u32);

saved!(Column { 0 });

#[derive(Debug)]
struct Block {
    rows: Rows,
    /// Lanes that belong to a peer, or did until the block is swept.
    taken: u64,
    /// Lanes whose peer is gone and whose slots are still set.
    left: u64,
}

#[derive(Clone, Debug, Default)]
struct Lane {
    /// Whose table this is.
    owner: u32,
    /// Slots of the peer's table, as a power of two; 0 before its first RESET.
    bits: u8,
    /// Rows that are set.
    ones: u32,
    /// The table itself, where it has more slots than the matrix and there was room for it.
    large: Option<Box<[u64]>>,
}

/// Many query routing tables.
#[derive(Debug)]
pub struct Matrix {
    blocks: Vec<Option<Block>>,
    lanes: Vec<Lane>,
    spare: Vec<Box<[u64]>>,
    /// How many peers have a slot set.
    counts: Box<[u16]>,
    large_bytes: usize,
    large_bytes_max: usize,
    /// Counts the changes of the union of all tables.
    version: u64,
}

impl Matrix {
    /// An empty one. `large_bytes_max` is what tables with more than [`SLOTS`] slots may take beside the matrix.
    #[must_use]
    pub fn new(large_bytes_max: usize) -> Self {
        Self {
            blocks: Vec::new(),
            lanes: Vec::new(),
            spare: Vec::new(),
            counts: vec![0; SLOTS].into_boxed_slice(),
            large_bytes: 0,
            large_bytes_max,
            version: 0,
        }
    }

    /// Makes room for a peer. `owner` is what [`Self::matching`] reports for it. `None` where the counters
    /// could overflow, with 65,535 peers.
    pub fn insert(&mut self, owner: u32) -> Option<Column> {
        let mut free = self.blocks.iter().position(|b| b.as_ref().is_none_or(|b| b.taken != u64::MAX));
        if free.is_none() {
            free = self.blocks.iter().position(|b| b.as_ref().is_some_and(|b| b.left != 0));
            free.inspect(|block| self.sweep_block(*block));
        }
        let block = free.unwrap_or(self.blocks.len());
        if block >= usize::from(u16::MAX) / LANES {
            return None;
        }
        if free.is_none() {
            self.blocks.push(None);
            self.lanes.resize(self.blocks.len() * LANES, Lane::default());
        }
        let block_now =
            self.blocks[block].get_or_insert_with(|| Block { rows: Rows::empty(), taken: 0, left: 0 });
        let lane = block_now.taken.trailing_ones() as usize;
        block_now.taken |= 1 << lane;
        let column = block * LANES + lane;
        self.lanes[column] = Lane { owner, ..Lane::default() };
        Some(Column(column as u32))
    }

    /// Forgets a peer. It matches nothing from now on; its slots leave [`Self::union`] and its memory is free with the next
    /// [`Self::sweep`], which costs no more for many peers than for one.
    pub fn remove(&mut self, column: Column) {
        let (block, lane) = place(column);
        self.forget_large(column);
        if let Some(b) = &mut self.blocks[block] {
            b.left |= 1 << lane;
        }
    }

    /// Cleans up after those that were removed, and packs what has not changed since the last time. Call about once a second.
    pub fn sweep(&mut self) {
        let mut packs = PACKED_AT_ONCE_MAX;
        for block in 0..self.blocks.len() {
            self.sweep_block(block);
            let rows = match &mut self.blocks[block] {
                Some(b) if b.taken == 0 => self.blocks[block].take().and_then(|b| b.rows.into_open()),
                Some(b) if packs > 0 => b.rows.settle().inspect(|_| packs -= 1),
                _ => None,
            };
            if let Some(mut rows) = rows
                && self.spare.len() < SPARE_BLOCKS_MAX
            {
                rows.fill(0);
                self.spare.push(rows);
            }
        }
        while let Some(None) = self.blocks.last() {
            self.blocks.pop();
        }
        self.lanes.truncate(self.blocks.len() * LANES);
    }

    /// Clears the lanes of a block whose peers are gone.
    fn sweep_block(&mut self, block: usize) {
        let Some(b) = &mut self.blocks[block] else { return };
        let left = std::mem::take(&mut b.left);
        b.taken &= !left;
        let mut lanes = self.lanes[block * LANES..][..LANES].iter().enumerate();
        if lanes.any(|(n, lane)| left >> n & 1 != 0 && lane.ones > 0) {
            self.clear_lanes(block, left);
        }
    }

    /// The table of one peer, for its RESETs and PATCHes.
    pub fn table(&mut self, column: Column) -> OneTable<'_> {
        OneTable { matrix: self, column }
    }

    fn reset(&mut self, column: Column, bits: u8) {
        self.clear(column);
        let bits = bits.clamp(6, SLOTS_LOG2_MAX);
        let words = (1_usize << bits) / 64;
        let lane = &mut self.lanes[column.0 as usize];
        lane.bits = bits;
        if bits > SLOT_BITS && self.large_bytes + words * 8 <= self.large_bytes_max {
            self.large_bytes += words * 8;
            lane.large = Some(vec![0; words].into_boxed_slice());
        }
    }

    /// Whether a slot of the peer's own table is set. Where a large table is not kept: whether nothing forbids it.
    fn get(&self, column: Column, slot: u32) -> bool {
        let lane = &self.lanes[column.0 as usize];
        if let Some(large) = &lane.large {
            return large[slot as usize / 64] >> (slot % 64) & 1 != 0;
        }
        if lane.bits > SLOT_BITS {
            return false;
        }
        let (block, bit) = place(column);
        let row = (slot << (SLOT_BITS - lane.bits)) as usize;
        self.blocks[block].as_ref().is_some_and(|b| b.rows.get(row) >> bit & 1 != 0)
    }

    fn set(&mut self, column: Column, slot: u32, present: bool) {
        let lane = &mut self.lanes[column.0 as usize];
        if lane.bits <= SLOT_BITS {
            let shift = SLOT_BITS - lane.bits;
            let first = slot << shift;
            for row in first..first + (1 << shift) {
                self.set_row(column, row as usize, present);
            }
            return;
        }
        let shift = lane.bits - SLOT_BITS;
        let row = (slot >> shift) as usize;
        let present = match &mut lane.large {
            Some(large) => {
                let (word, bit) = (slot as usize / 64, 1_u64 << (slot % 64));
                if present {
                    large[word] |= bit;
                } else {
                    large[word] &= !bit;
                }
                // At most 2^5 slots are folded into one, so they lie in one word.
                let part = (1_u64 << (1 << shift)) - 1;
                large[word] & part << ((slot % 64) & !((1 << shift) - 1)) != 0
            }
            None if present => true,
            None => return,
        };
        self.set_row(column, row, present);
    }

    fn set_row(&mut self, column: Column, row: usize, present: bool) {
        let (block, lane) = place(column);
        let Some(b) = &mut self.blocks[block] else { return };
        let bit = 1 << lane;
        if (b.rows.get(row) & bit != 0) == present {
            return;
        }
        b.rows.open(&mut self.spare)[row] ^= bit;
        let ones = &mut self.lanes[column.0 as usize].ones;
        let count = &mut self.counts[row];
        if present {
            *ones += 1;
            *count += 1;
            self.version += u64::from(*count == 1);
        } else {
            *ones = ones.saturating_sub(1);
            *count -= 1;
            self.version += u64::from(*count == 0);
        }
    }

    /// Empties a peer's table.
    fn clear(&mut self, column: Column) {
        let (block, lane) = place(column);
        self.forget_large(column);
        let data = &mut self.lanes[column.0 as usize];
        data.bits = 0;
        if std::mem::take(&mut data.ones) > 0 {
            self.clear_lanes(block, 1 << lane);
        }
    }

    fn forget_large(&mut self, column: Column) {
        if let Some(large) = self.lanes[column.0 as usize].large.take() {
            self.large_bytes -= large.len() * 8;
        }
    }

    /// Clears all slots of some lanes of a block.
    fn clear_lanes(&mut self, block: usize, lanes: u64) {
        let Some(b) = &mut self.blocks[block] else { return };
        for (row, count) in b.rows.open(&mut self.spare).iter_mut().zip(&mut self.counts) {
            let were = (*row & lanes).count_ones() as u16;
            *row &= !lanes;
            *count -= were;
            self.version += u64::from(were > 0 && *count == 0);
        }
    }

    /// Reports the owner of each table that may answer a query: with one of its urns, or with all of its words.
    #[inline]
    pub fn matching(&self, query: &Hashes, mut found: impl FnMut(u32)) {
        // With the word that fewest peers have, most blocks are done.
        let words = query.words().iter().map(|word| slot_of(*word));
        let rarest = words.clone().min_by_key(|slot| self.counts[usize::from(*slot)]);
        let rarest = rarest.filter(|slot| self.union(*slot));
        let urns_known = query.urns().iter().any(|u| self.union(slot_of(*u)));
        if rarest.is_none() && !urns_known {
            return;
        }
        for (i, block) in self.blocks.iter().enumerate() {
            let Some(block) = block else { continue };
            let mut hits = rarest.map_or(0, |slot| block.rows.get(usize::from(slot)));
            if hits != 0 {
                hits = words.clone().fold(hits, |hits, slot| hits & block.rows.get(usize::from(slot)));
            }
            for urn in query.urns() {
                hits |= block.rows.get(usize::from(slot_of(*urn)));
            }
            self.report(i, hits & !block.left, &mut found);
        }
    }

    #[inline]
    fn report(&self, block: usize, mut hits: u64, found: &mut impl FnMut(u32)) {
        while hits != 0 {
            let lane = hits.trailing_zeros() as usize;
            hits &= hits - 1;
            found(self.lanes[block * LANES + lane].owner);
        }
    }

    /// Whether some peer has a slot set: the union of all tables.
    #[must_use]
    pub fn union(&self, slot: u16) -> bool {
        self.counts[usize::from(slot)] != 0
    }

    /// Changes whenever [`Self::union`] does.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Memory of the rows and of large tables, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let rows: usize = self.blocks.iter().flatten().map(|block| block.rows.bytes()).sum();
        rows + self.spare.len() * SLOTS * 8 + SLOTS * 2 + self.large_bytes
    }
}

/// The table of one peer in the matrix.
#[derive(Debug)]
pub struct OneTable<'a> {
    matrix: &'a mut Matrix,
    column: Column,
}

impl Slots for OneTable<'_> {
    fn reset(&mut self, log2: u8) {
        self.matrix.reset(self.column, log2);
    }

    fn change(&mut self, slot: u32, change: Change) {
        let bits = self.matrix.lanes[self.column.0 as usize].bits;
        if bits == 0 || slot >> bits != 0 {
            return;
        }
        let present = match change {
            Change::Present => true,
            Change::Absent => false,
            Change::Flip => !self.matrix.get(self.column, slot),
        };
        self.matrix.set(self.column, slot, present);
    }
}

#[inline]
fn slot_of(hash: u32) -> u16 {
    qrp::slot(hash, SLOT_BITS) as u16
}

fn place(column: Column) -> (usize, usize) {
    (column.0 as usize / LANES, column.0 as usize % LANES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gnutella::qrp::words;
    use crate::state::{Reader, Writer};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn matching(m: &Matrix, text: &str) -> Vec<u32> {
        let mut found = Vec::new();
        m.matching(&Hashes::of_text(text.as_bytes()), |o| found.push(o));
        found
    }

    /// Whose row `slot` is set.
    fn owners(m: &Matrix, slot: u16) -> Vec<u32> {
        let mut found = Vec::new();
        for (i, block) in m.blocks.iter().enumerate() {
            m.report(i, block.as_ref().map_or(0, |b| b.rows.get(usize::from(slot))), &mut |o| found.push(o));
        }
        found
    }

    fn share(m: &mut Matrix, c: Column, name: &str) {
        words::name_hashes(name.as_bytes(), |hash| {
            let bits = m.lanes[c.0 as usize].bits;
            m.table(c).change(qrp::slot(hash, bits), Change::Present);
        });
    }

    #[test]
    fn only_tables_with_every_word_match_whatever_their_size() {
        let mut m = Matrix::new(1 << 20);
        let columns: Vec<Column> = (0..130).map(|owner| m.insert(owner + 1_000).unwrap()).collect();
        for (n, c) in columns.iter().enumerate() {
            m.table(*c).reset([16, 14, 20][n % 3]);
            share(&mut m, *c, "walrus");
        }
        share(&mut m, columns[3], "concerto grosso");
        share(&mut m, columns[129], "concerto");
        assert_eq!(matching(&m, "walrus concerto"), [1_003, 1_129]);
        assert_eq!(matching(&m, "concerto grosso in walrus").len(), 1);
        assert_eq!(matching(&m, "walrus").len(), 130);
        assert!(matching(&m, "walrus platypus").is_empty());
        assert!(matching(&m, "").is_empty());
        m.remove(columns[129]);
        assert_eq!(matching(&m, "concerto"), [1_003]);
        let version = m.version();
        m.remove(columns[3]);
        assert!(matching(&m, "grosso").is_empty());
        m.sweep();
        assert!(m.version() > version, "nobody has it any more");
        assert_eq!(matching(&m, "walrus").len(), 128);
    }

    #[test]
    fn one_urn_is_enough() {
        let mut m = Matrix::new(0);
        let (a, b) = (m.insert(1).unwrap(), m.insert(2).unwrap());
        let sha1 = crate::gnutella::huge::Sha1([7; 20]);
        for c in [a, b] {
            m.table(c).reset(16);
        }
        m.table(b).change(qrp::slot(qrp::hash(sha1.urn().as_bytes()), 16), Change::Present);
        share(&mut m, a, "walrus");
        let payload = crate::gnutella::query::Builder::new("walrus").sha1(sha1).finish();
        let query = crate::gnutella::query::Query::parse(&payload).unwrap();
        let mut found = Vec::new();
        m.matching(&Hashes::of(&query), |o| found.push(o));
        assert_eq!(found, [1, 2]);
    }

    #[test]
    fn memory_of_emptied_blocks_is_given_back() {
        let mut m = Matrix::new(1 << 20);
        let empty = m.bytes();
        let columns: Vec<Column> = (0..640).map(|owner| m.insert(owner).unwrap()).collect();
        for c in &columns {
            m.reset(*c, 17);
            m.set(*c, 1, true);
        }
        assert!(m.bytes() > empty + 10 * (SLOTS * 8));
        for c in columns {
            m.remove(c);
        }
        m.sweep();
        assert!(m.bytes() <= empty + SPARE_BLOCKS_MAX * SLOTS * 8);
        assert!(!m.union(0));
    }

    /// Two sweeps without a change between them.
    fn settle(m: &mut Matrix) {
        (0..2).for_each(|_| m.sweep());
    }

    #[test]
    fn tables_that_do_not_change_take_a_part_of_the_memory_and_match_as_before() {
        let mut m = Matrix::new(0);
        let columns: Vec<Column> = (0..LANES as u32).map(|owner| m.insert(owner).unwrap()).collect();
        for (n, c) in columns.iter().enumerate() {
            m.table(*c).reset(16);
            (0..100).for_each(|file| share(&mut m, *c, &format!("file{file}of{n} walrus")));
        }
        let open = m.bytes();
        settle(&mut m);
        // The rows that were open are kept for the next block.
        assert!(m.bytes() - SLOTS * 8 < open / 3, "{} of {open}", m.bytes());
        assert_eq!(matching(&m, "walrus").len(), LANES);
        assert_eq!(matching(&m, "file7of9"), [9]);
        let mut to = Writer::default();
        m.save(&mut to);
        assert_eq!(to.finish()[13], 1, "a packed block is as version 1 of the part has every block");
        share(&mut m, columns[3], "platypus");
        assert_eq!(m.bytes(), open, "one that changes is open again, in the same memory");
        assert_eq!((matching(&m, "platypus"), matching(&m, "file7of9")), (vec![3], vec![9]));
    }

    #[test]
    fn full_tables_stay_as_they_are() {
        let mut m = Matrix::new(0);
        let c = m.insert(1).unwrap();
        m.table(c).reset(6);
        (0..64).for_each(|slot| m.table(c).change(slot, Change::Present));
        let open = m.bytes();
        settle(&mut m);
        assert_eq!((m.bytes(), matching(&m, "walrus")), (open, vec![1]));
        let mut to = Writer::default();
        m.save(&mut to);
        let (state, mut loaded) = (to.finish(), Matrix::new(0));
        loaded.load(&mut Reader::new(&state)).unwrap();
        assert_eq!((loaded.bytes(), matching(&loaded, "walrus")), (open, vec![1]));
    }

    #[test]
    fn places_of_those_who_left_are_taken_before_there_are_more() {
        let mut m = Matrix::new(0);
        let columns: Vec<Column> = (0..LANES as u32).map(|owner| m.insert(owner).unwrap()).collect();
        for c in &columns {
            m.reset(*c, 16);
            m.set(*c, 7, true);
        }
        columns[..2].iter().for_each(|c| m.remove(*c));
        let bytes = m.bytes();
        let again = m.insert(100).unwrap();
        assert_eq!((again, m.bytes()), (columns[0], bytes));
        assert_eq!(owners(&m, 7), (2..LANES as u32).collect::<Vec<_>>());
    }

    #[test]
    fn a_large_table_without_room_keeps_cleared_slots_until_the_next_reset() {
        let mut m = Matrix::new(0);
        let c = m.insert(5).unwrap();
        m.reset(c, 18);
        m.set(c, 40, true);
        m.set(c, 40, false);
        assert_eq!(owners(&m, 10), [5]);
        m.reset(c, 18);
        assert!(owners(&m, 10).is_empty());
    }

    #[test]
    fn before_a_reset_and_beyond_its_end_a_table_has_no_slots() {
        let mut m = Matrix::new(0);
        let c = m.insert(0).unwrap();
        m.table(c).change(1, Change::Present);
        assert_eq!(m.lanes[c.0 as usize].ones, 0);
        m.table(c).reset(10);
        m.table(c).change(1 << 10, Change::Present);
        assert_eq!(m.lanes[c.0 as usize].ones, 0);
        m.table(c).change(1, Change::Flip);
        assert_eq!(m.lanes[c.0 as usize].ones, 64);
        m.table(c).change(1, Change::Flip);
        assert_eq!(m.lanes[c.0 as usize].ones, 0);
    }

    proptest! {
        /// Against plain sets of slots, packed now and then: each table matches exactly where folding or widening its own
        /// slots says so, and the union is the union, also of the same matrix saved and loaded.
        #[test]
        fn agrees_with_plain_sets(
            bits in proptest::collection::vec(10_u8..=20, 1..70),
            patches in proptest::collection::vec(
                (0_usize..70, 0_u32..(1 << 20), any::<bool>(), prop::option::weighted(0.05, 1..3)), 0..400,
            ),
        ) {
            let mut m = Matrix::new(64 << 20);
            let mut model: Vec<(Column, u8, BTreeSet<u32>)> = Vec::new();
            for (owner, bits) in bits.iter().enumerate() {
                let c = m.insert(owner as u32).unwrap();
                m.reset(c, *bits);
                model.push((c, *bits, BTreeSet::new()));
            }
            let mut touched = BTreeSet::from([0_u16, 77]);
            for (who, slot, present, sweeps) in patches {
                (0..sweeps.unwrap_or(0)).for_each(|_| m.sweep());
                let n = model.len();
                let (c, bits, set) = &mut model[who % n];
                let slot = slot % 64 * ((1 << *bits) / 64) + slot % 3;
                let flipped = slot % 5 == 0;
                let present = if flipped { !set.contains(&slot) } else { present };
                if present { set.insert(slot); } else { set.remove(&slot); }
                let change = match present {
                    _ if flipped => Change::Flip,
                    true => Change::Present,
                    false => Change::Absent,
                };
                m.table(*c).change(slot, change);
                touched.insert(if *bits > 16 { slot >> (*bits - 16) } else { slot << (16 - *bits) } as u16);
            }
            let mut to = Writer::default();
            m.save(&mut to);
            let mut loaded = Matrix::new(64 << 20);
            loaded.load(&mut Reader::new(&to.finish())).unwrap();
            for row in touched {
                let expect: Vec<u32> = model.iter().enumerate().filter(|(_, (_, bits, set))| {
                    set.iter().any(|s| if *bits > 16 {
                        s >> (bits - 16) == u32::from(row)
                    } else {
                        *s == u32::from(row) >> (16 - bits)
                    })
                }).map(|(owner, _)| owner as u32).collect();
                for m in [&m, &loaded] {
                    prop_assert_eq!(m.union(row), !expect.is_empty());
                    prop_assert_eq!(&owners(m, row), &expect);
                }
            }
        }
    }
}
