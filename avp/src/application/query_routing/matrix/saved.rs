//! The matrix at rest: the rows of each block, and what each peer's table is.
//!
//! How many peers have a slot set is counted again. The rows are by far the most of a state; they are written as runs of
//! words, and no bit of them is looked at by itself.

use super::{Block, Column, LANES, Lane, Matrix, SLOT_BITS, SLOTS, SPARE_BLOCKS_MAX};
use crate::gnutella::qrp::SLOTS_LOG2_MAX;
use crate::state::{Damaged, Reader, Saved, Writer};

/// Bytes of a row, and of the mask of its group, on average.
const ROWS_BYTES_MAX: usize = SLOTS * 8 + SLOTS / 8;

impl Matrix {
    pub(crate) fn save(&self, to: &mut Writer) {
        self.version.save(to);
        to.raw(&[self.spare.len() as u8]);
        to.len_of(self.blocks.len());
        for (block, lanes) in self.blocks.iter().zip(self.lanes.chunks(LANES)) {
            block.is_some().save(to);
            let Some(block) = block else { continue };
            [block.taken, block.left].save(to);
            to.reserve(ROWS_BYTES_MAX / 8);
            to.words(&block.rows);
            for (n, lane) in lanes.iter().enumerate() {
                if block.taken >> n & 1 != 0 {
                    lane.save(to);
                }
            }
        }
    }

    /// Takes over all tables. Large ones beyond the bound are kept in their folded form alone.
    pub(crate) fn load(&mut self, from: &mut Reader<'_>) -> Result<(), Damaged> {
        self.version = from.count()?;
        let [spares] = from.array()?;
        from.ensure(usize::from(spares) <= SPARE_BLOCKS_MAX)?;
        self.spare = (0..spares).map(|_| empty_rows()).collect();
        for _ in 0..from.len_of(1, usize::from(u16::MAX) / LANES)? {
            let mut lanes = vec![Lane::default(); LANES];
            let block = if from.load()? { Some(self.load_block(from, &mut lanes)?) } else { None };
            self.blocks.push(block);
            self.lanes.append(&mut lanes);
        }
        Ok(())
    }

    fn load_block(&mut self, from: &mut Reader<'_>, lanes: &mut [Lane]) -> Result<Block, Damaged> {
        let [taken, left]: [u64; 2] = from.load()?;
        let (mut rows, counts) = (empty_rows(), &mut self.counts);
        let (mut used, mut ones) = (0, 0);
        from.each_word(&mut rows, |row, word| {
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

fn empty_rows() -> Box<[u64]> {
    vec![0; SLOTS].into_boxed_slice()
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
