//! Runs of words of which most are zero: the rows of query routing tables.
//!
//! Groups of 64 words: a word that says which of them are not zero, and these. So memory is looked at once and written once,
//! a word at a time, and a table of which a hundredth is set takes little more than a hundredth.

use super::{Damaged, Reader, Writer};

/// Words in a group.
const GROUP: usize = 64;

impl Writer {
    /// Writes words; the reader knows how many.
    pub(crate) fn words(&mut self, words: &[u64]) {
        let mut group_bytes = [0; 8 * (GROUP + 1)];
        for group in words.chunks(GROUP) {
            let (mut set, mut len) = (0_u64, 8);
            for (n, word) in group.iter().enumerate() {
                group_bytes[len..len + 8].copy_from_slice(&word.to_le_bytes());
                set |= u64::from(*word != 0) << n;
                len += 8 * usize::from(*word != 0);
            }
            group_bytes[..8].copy_from_slice(&set.to_le_bytes());
            self.raw(&group_bytes[..len]);
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
