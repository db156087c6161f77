//! The rows of a block: open while its peers' tables change, packed afterwards.
//!
//! Of the rows of 64 leaves most are empty. Packed, a group of 64 rows is a word that says which of them are not, and these:
//! a fifth of the memory where each leaf shares a hundred files. A look takes two more loads, but what it goes over lies in
//! the processor's cache; and to save the rows is to copy them as they are.

use super::SLOTS;
use crate::state::{Damaged, GROUP, PackedWords, Reader, Writer};

/// Words of a packed block beyond which it stays open: half of what an open one has.
const PACKED_WORDS_MAX: usize = SLOTS / 2;
/// How many times smaller open rows are, as a rule, when they are saved.
const OPEN_SHRINK: usize = 3;

/// How rows are kept, in a state: the bits of a number that is not 0.
const KEPT: u8 = 1;
const OPEN: u8 = 2;
const CHANGED: u8 = 4;
const FULL: u8 = 8;

/// One word of 64 bits a slot.
#[derive(Debug)]
pub(super) struct Rows {
    form: Form,
    /// Whether a row has changed since [`Self::settle`] was last called.
    changed: bool,
    /// Whether it was found that these rows, open, are too full to be packed.
    full: bool,
}

#[derive(Debug)]
enum Form {
    Open(Box<[u64]>),
    Packed(Packed),
}

/// As [`Writer::words`] writes them.
#[derive(Debug)]
struct Packed {
    words: Box<[[u8; 8]]>,
    /// Where each group begins.
    starts: Box<[u32]>,
}

impl Packed {
    /// The rows; none where they are too many.
    fn of(rows: &[u64]) -> Option<Self> {
        let set = rows.iter().filter(|row| **row != 0).count();
        let len = set + rows.len().div_ceil(GROUP);
        if len > PACKED_WORDS_MAX {
            return None;
        }
        let mut to = Writer::with_capacity(len * 8);
        to.words(rows);
        Reader::new(&to.finish()).packed_words(rows.len(), |_, _| {}).ok().map(Self::new)
    }

    fn new(PackedWords { words, starts }: PackedWords<'_>) -> Self {
        Self { words: words.into(), starts }
    }

    fn word(&self, at: usize) -> u64 {
        self.words.get(at).map_or(0, |word| u64::from_le_bytes(*word))
    }

    #[inline]
    fn get(&self, row: usize) -> u64 {
        let Some(start) = self.starts.get(row / GROUP) else { return 0 };
        let (start, bit) = (*start as usize, 1_u64 << (row % GROUP));
        let set = self.word(start);
        if set & bit == 0 { 0 } else { self.word(start + 1 + (set & (bit - 1)).count_ones() as usize) }
    }

    /// Puts the rows into `rows`, which are zero.
    fn open(&self, rows: &mut [u64]) {
        for (group, start) in rows.chunks_mut(GROUP).zip(&self.starts) {
            let (mut set, mut at) = (self.word(*start as usize), *start as usize);
            while set != 0 {
                at += 1;
                if let Some(row) = group.get_mut(set.trailing_zeros() as usize) {
                    *row = self.word(at);
                }
                set &= set - 1;
            }
        }
    }
}

impl Rows {
    /// None is set.
    pub(super) fn empty() -> Self {
        let groups = SLOTS / GROUP;
        let starts = (0..groups as u32).collect();
        let packed = Packed { words: vec![[0; 8]; groups].into(), starts };
        Self { form: Form::Packed(packed), changed: false, full: false }
    }

    #[inline]
    pub(super) fn get(&self, row: usize) -> u64 {
        match &self.form {
            Form::Open(rows) => rows[row],
            Form::Packed(packed) => packed.get(row),
        }
    }

    /// All of them, to be changed. `spare` are rows that are zero, where there are some.
    pub(super) fn open(&mut self, spare: &mut Vec<Box<[u64]>>) -> &mut [u64] {
        (self.changed, self.full) = (true, false);
        if let Form::Packed(packed) = &self.form {
            let mut rows = spare.pop().unwrap_or_else(zero);
            packed.open(&mut rows);
            self.form = Form::Open(rows);
        }
        match &mut self.form {
            Form::Open(rows) => rows,
            // They were opened above.
            Form::Packed(_) => &mut [],
        }
    }

    /// Packs open rows that have not changed since this was last called. Whether it has; what they had is given back, to be
    /// used again.
    pub(super) fn settle(&mut self) -> Option<Box<[u64]>> {
        if std::mem::take(&mut self.changed) || self.full {
            return None;
        }
        let Form::Open(rows) = &self.form else { return None };
        let Some(packed) = Packed::of(rows) else {
            self.full = true;
            return None;
        };
        match std::mem::replace(&mut self.form, Form::Packed(packed)) {
            Form::Open(rows) => Some(rows),
            Form::Packed(_) => None,
        }
    }

    /// What open rows had.
    pub(super) fn into_open(self) -> Option<Box<[u64]>> {
        match self.form {
            Form::Open(rows) => Some(rows),
            Form::Packed(_) => None,
        }
    }

    /// Memory, in bytes.
    pub(super) fn bytes(&self) -> usize {
        match &self.form {
            Form::Open(rows) => rows.len() * 8,
            Form::Packed(packed) => packed.words.len() * 8 + packed.starts.len() * 4,
        }
    }

    /// How they are kept, as a state has it; never 0.
    pub(super) fn manner(&self) -> u8 {
        let open = matches!(self.form, Form::Open(_));
        let bit = |is, bit| if is { bit } else { 0 };
        KEPT | bit(open, OPEN) | bit(self.changed, CHANGED) | bit(self.full, FULL)
    }

    /// Bytes of them in a state, about.
    pub(super) fn saved_bytes(&self) -> usize {
        match &self.form {
            Form::Open(rows) => rows.len() * 8 / OPEN_SHRINK,
            Form::Packed(packed) => packed.words.len() * 8,
        }
    }

    pub(super) fn save(&self, to: &mut Writer) {
        match &self.form {
            Form::Open(rows) => {
                to.reserve(self.saved_bytes());
                to.words(rows);
            }
            Form::Packed(packed) => to.raw(packed.words.as_flattened()),
        }
    }

    /// Rows that are kept as [`Self::manner`] says. Calls `each` with the place and value of each that is not zero.
    pub(super) fn load(
        manner: u8,
        from: &mut Reader<'_>,
        each: impl FnMut(usize, u64),
    ) -> Result<Self, Damaged> {
        from.ensure(manner & KEPT != 0 && manner & !(KEPT | OPEN | CHANGED | FULL) == 0)?;
        let packed = Packed::new(from.packed_words(SLOTS, each)?);
        let form = if manner & OPEN != 0 || packed.words.len() > PACKED_WORDS_MAX {
            let mut rows = zero();
            packed.open(&mut rows);
            Form::Open(rows)
        } else {
            Form::Packed(packed)
        };
        Ok(Self { form, changed: manner & CHANGED != 0, full: manner & FULL != 0 })
    }
}

/// Rows of which none is set.
pub(super) fn zero() -> Box<[u64]> {
    vec![0; SLOTS].into_boxed_slice()
}
