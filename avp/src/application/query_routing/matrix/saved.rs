//! The matrix at rest: the rows of each block, and what each peer's table is.
//!
//! How many peers have a slot set is counted again. The rows are by far the most of a state: packed ones are copied as they
//! are, and no bit of them is looked at by itself.

use super::rows::{Rows, zero};
use super::{Block, Column, LANES, Lane, Matrix, SLOT_BITS, SLOTS, SPARE_BLOCKS_MAX};
use crate::gnutella::qrp::SLOTS_LOG2_MAX;
use crate::state::{Damaged, Reader, Saved, Writer};

/// Bytes of a lane that has no table of its own.
const LANE_BYTES: usize = 10;

impl Matrix {
    pub(crate) fn save(&self, to: &mut Writer) {
        self.version.save(to);
        to.raw(&[self.spare.len() as u8]);
        to.len_of(self.blocks.len());
        for (block, lanes) in self.blocks.iter().zip(self.lanes.chunks(LANES)) {
            let Some(block) = block else {
                to.raw(&[0]);
                continue;
            };
            to.raw(&[block.rows.manner()]);
            [block.taken, block.left].save(to);
            block.rows.save(to);
            for (n, lane) in lanes.iter().enumerate() {
                if block.taken >> n & 1 != 0 {
                    lane.save(to);
                }
            }
        }
    }

    /// Bytes of it in a state, about.
    pub(crate) fn saved_bytes(&self) -> usize {
        let rows: usize = self.blocks.iter().flatten().map(|block| block.rows.saved_bytes()).sum();
        rows + self.lanes.len() * LANE_BYTES + self.large_bytes / 2
    }

    /// Takes over all tables. Large ones beyond the bound are kept in their folded form alone.
    pub(crate) fn load(&mut self, from: &mut Reader<'_>) -> Result<(), Damaged> {
        self.version = from.count()?;
        let [spares] = from.array()?;
        from.ensure(usize::from(spares) <= SPARE_BLOCKS_MAX)?;
        self.spare = (0..spares).map(|_| zero()).collect();
        for _ in 0..from.len_of(1, usize::from(u16::MAX) / LANES)? {
            let mut lanes = vec![Lane::default(); LANES];
            let block = match from.array()? {
                [0] => None,
                // Version 1 of the part has 1 here.
                [manner] => Some(self.load_block(manner, from, &mut lanes)?),
            };
            self.blocks.push(block);
            self.lanes.append(&mut lanes);
        }
        Ok(())
    }

    fn load_block(
        &mut self,
        manner: u8,
        from: &mut Reader<'_>,
        lanes: &mut [Lane],
    ) -> Result<Block, Damaged> {
        let [taken, left]: [u64; 2] = from.load()?;
        let counts = &mut self.counts;
        let (mut used, mut ones) = (0, 0);
        let rows = Rows::load(manner, from, |row, word| {
            counts[row] += word.count_ones() as u16;
            used |= word;
            ones += word.count_ones();
        })?;
        let mut counted = 0;
        for (n, lane) in lanes.iter_mut().enumerate() {
            if taken >> n & 1 != 0 {
                *lane = from.load()?;
                counted += lane.ones;
                self.keep_large(lane);
            }
        }
        from.ensure(used & !taken == 0 && left & !taken == 0 && counted == ones)?;
        Ok(Block { rows, taken, left })
    }

    fn keep_large(&mut self, lane: &mut Lane) {
        let bytes = lane.large.as_ref().map_or(0, |large| large.len() * 8);
        if self.large_bytes + bytes > self.large_bytes_max {
            lane.large = None;
        } else {
            self.large_bytes += bytes;
        }
    }

    /// Whether `column` is the table of `owner`.
    pub(crate) fn is_of(&self, column: Column, owner: u32) -> bool {
        let (block, lane) = super::place(column);
        let block = self.blocks.get(block).and_then(Option::as_ref);
        block.is_some_and(|b| (b.taken & !b.left) >> lane & 1 != 0)
            && self.lanes.get(column.0 as usize).is_some_and(|lane| lane.owner == owner)
    }
}

impl Saved for Lane {
    fn save(&self, to: &mut Writer) {
        self.owner.save(to);
        self.bits.save(to);
        self.ones.save(to);
        self.large.is_some().save(to);
        if let Some(large) = &self.large {
            to.words(large);
        }
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Damaged> {
        let (owner, bits, ones) = (from.load()?, from.load()?, from.load()?);
        from.ensure((bits == 0 || (6..=SLOTS_LOG2_MAX).contains(&bits)) && ones <= SLOTS as u32)?;
        let mut large = None;
        if from.load()? {
            from.ensure(bits > SLOT_BITS)?;
            let mut words = vec![0; (1_usize << bits) / 64].into_boxed_slice();
            from.words(&mut words)?;
            large = Some(words);
        }
        Ok(Self { owner, bits, ones, large })
    }
}
