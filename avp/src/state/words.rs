//! Runs of words of which most are zero: the rows of query routing tables.
//!
//! Groups of 64 words: a word that says which of them are not zero, and these. So memory is looked at once and written once,
//! a word at a time, and a table of which a hundredth is set takes little more than a hundredth.

use super::{Damaged, Reader, Writer};

/// Words in a group.
const GROUP: usize = 64;
/// Groups that are put together before they are written, so that the copying is done in large pieces.
const GROUPS: usize = 8;

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

impl Reader<'_> {
    /// Reads words into `words`, which are zero.
    pub(crate) fn words(&mut self, words: &mut [u64]) -> Result<(), Damaged> {
        self.each_word(words, |_, _| {})
    }

    /// The same, and calls `each` with the place and value of each word that is not zero.
    pub(crate) fn each_word(
        &mut self,
        words: &mut [u64],
        mut each: impl FnMut(usize, u64),
    ) -> Result<(), Damaged> {
        for (g, group) in words.chunks_mut(GROUP).enumerate() {
            let mut set = self.load::<u64>()?;
            let at = self.damaged();
            let mut values = self.raw(set.count_ones() as usize * 8)?.as_chunks::<8>().0.iter();
            while set != 0 {
                let n = set.trailing_zeros() as usize;
                set &= set - 1;
                let (Some(word), Some(value)) = (group.get_mut(n), values.next()) else { return Err(at) };
                *word = u64::from_le_bytes(*value);
                each(g * GROUP + n, *word);
            }
        }
        Ok(())
    }
}
