//! Runs of words of which most are zero: the rows of query routing tables.
//!
//! Groups of 64 words: a word that says which of them are not zero, and these. So memory is looked at once and written once,
//! a word at a time, and a table of which a hundredth is set takes little more than a hundredth.

use super::{Damaged, Reader, Writer};

/// Words in a group.
pub(crate) const GROUP: usize = 64;
/// Groups that are put together before they are written, so that the copying is done in large pieces.
const GROUPS: usize = 8;

/// Words as they are written.
pub(crate) struct PackedWords<'a> {
    /// Little-endian.
    pub(crate) words: &'a [[u8; 8]],
    /// Where in them each group begins.
    pub(crate) starts: Box<[u32]>,
}

impl Writer {
    /// Writes words; the reader knows how many.
    pub(crate) fn words(&mut self, words: &[u64]) {
        /// More than all groups with their masks take, and a power of two: places in it need no check.
        const ROOM: usize = (GROUPS * (GROUP + 1)).next_power_of_two();
        let mut packed = [[0; 8]; ROOM];
        for groups in words.chunks(GROUPS * GROUP) {
            let mut end = 0;
            for group in groups.chunks(GROUP) {
                let (mask, mut set) = (end, 0_u64);
                end += 1;
                for (n, word) in group.iter().enumerate() {
                    // Each lies where the next one would, and only one that is not zero stays there: no branch to guess.
                    packed[end % ROOM] = word.to_le_bytes();
                    set |= u64::from(*word != 0) << n;
                    end += usize::from(*word != 0);
                }
                packed[mask % ROOM] = set.to_le_bytes();
            }
            self.raw(packed[..end].as_flattened());
        }
    }
}

impl<'a> Reader<'a> {
    /// Reads words into `words`, which are zero.
    pub(crate) fn words(&mut self, words: &mut [u64]) -> Result<(), Damaged> {
        let len = words.len();
        let set = |n: usize, word| {
            if let Some(place) = words.get_mut(n) {
                *place = word;
            }
        };
        self.each_group(len, |_| {}, set)
    }

    /// So many words as they were written. Calls `each` with the place and value of
    /// each word that is not zero.
    pub(crate) fn packed_words(
        &mut self,
        len: usize,
        each: impl FnMut(usize, u64),
    ) -> Result<PackedWords<'a>, Damaged> {
        let (all, from) = (self.rest(), self.damaged());
        let mut starts = Vec::with_capacity(len.div_ceil(GROUP));
        self.each_group(len, |at| starts.push(((at.0 - from.0) / 8) as u32), each)?;
        let taken = all.len() - self.rest().len();
        Ok(PackedWords { words: all[..taken].as_chunks().0, starts: starts.into() })
    }

    /// Calls `begins` with the place of each group, `each` with the place and value of each word that is not zero.
    fn each_group(
        &mut self,
        len: usize,
        mut begins: impl FnMut(Damaged),
        mut each: impl FnMut(usize, u64),
    ) -> Result<(), Damaged> {
        for first in (0..len).step_by(GROUP) {
            let at = self.damaged();
            begins(at);
            let mut set = self.load::<u64>()?;
            // In the last group there may be fewer.
            if len - first < GROUP && set >> (len - first) != 0 {
                return Err(at);
            }
            for value in self.raw(set.count_ones() as usize * 8)?.as_chunks::<8>().0 {
                each(first + set.trailing_zeros() as usize, u64::from_le_bytes(*value));
                set &= set - 1;
            }
        }
        Ok(())
    }
}
