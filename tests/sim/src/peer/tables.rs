//! Routing tables of all of an ultrapeer's relations. Those of leaves are transposed: one bit a leaf, one row a slot, so
//! that a search looks at one row a word, however many leaves there are. Those of neighbours are shared among all who have
//! been told the same.

use avp::gnutella::qrp::{Hashes, Table, slot};

use super::told::Known;
use crate::world::End;

/// Slots of a light peer's table, as a power of two: what LimeWire's leaves send.
pub(super) const LOG2: u8 = 14;
/// Slots of a light peer's table.
pub(super) const SLOTS: usize = 1 << LOG2;
/// Words of a row, at most: 512 leaves.
const WORDS_MAX: usize = 8;

/// A leaf's number in the tables.
pub(super) type Lane = u16;

/// A neighbour.
#[derive(Debug)]
pub(super) struct Near {
    /// Our end.
    pub(super) end: End,
    /// What it has told.
    told: Known,
}

impl Near {
    /// What it has told.
    pub(super) fn told(&self) -> &Known {
        &self.told
    }

    /// It has told this by now.
    pub(super) fn tells(&mut self, told: Known) {
        self.told = told;
    }
}

/// All tables.
#[derive(Debug)]
pub(super) struct Tables {
    /// Words of a row.
    stride: usize,
    /// Empty until there is a leaf.
    rows: Vec<u64>,
    /// Lanes that are taken.
    taken: [u64; WORDS_MAX],
    ends: Vec<End>,
    near: Vec<Near>,
}

impl Tables {
    /// For so many leaves at a time.
    pub(super) fn new(leaves: usize) -> Self {
        let stride = leaves.div_ceil(64).clamp(1, WORDS_MAX);
        Self { stride, rows: Vec::new(), taken: [0; WORDS_MAX], ends: Vec::new(), near: Vec::new() }
    }

    /// A leaf has come. `None` where there are too many.
    pub(super) fn insert(&mut self, end: End) -> Option<Lane> {
        if self.rows.is_empty() {
            self.rows = vec![0; SLOTS * self.stride];
        }
        let word = (0..self.stride).find(|w| self.taken[*w] != u64::MAX)?;
        let bit = self.taken[word].trailing_ones();
        self.taken[word] |= 1 << bit;
        let lane = word * 64 + bit as usize;
        match self.ends.get_mut(lane) {
            Some(place) => *place = end,
            // The lowest free lane is taken, so the next one that there never was.
            None => self.ends.push(end),
        }
        Some(lane as Lane)
    }

    /// A leaf is gone, which had told this.
    pub(super) fn remove(&mut self, lane: Lane, told: &Known) {
        self.update(lane, told, &None);
        self.taken[usize::from(lane) / 64] &= !(1 << (lane % 64));
    }

    /// What a leaf has told has changed.
    pub(super) fn update(&mut self, lane: Lane, before: &Known, after: &Known) {
        let (word, bit) = (usize::from(lane) / 64, 1 << (lane % 64));
        let words = |known: &Known, n: usize| known.as_ref().map_or(0, |told| told.words()[n]);
        for n in 0..SLOTS / 64 {
            let now = words(after, n);
            let mut changed = words(before, n) ^ now;
            while changed != 0 {
                let at = changed.trailing_zeros() as usize;
                changed &= changed - 1;
                let place = &mut self.rows[(n * 64 + at) * self.stride + word];
                if now >> at & 1 != 0 { *place |= bit } else { *place &= !bit }
            }
        }
    }

    /// The ends of the leaves that may have what is asked for. A search here has words alone.
    pub(super) fn leaves_matching(&self, hashes: &Hashes) -> impl Iterator<Item = (Lane, End)> + '_ {
        let mut set = self.taken;
        // Rows lie far apart: none waits for what is in another.
        for hash in hashes.words() {
            let row = slot(*hash, LOG2) as usize * self.stride;
            let words = self.rows.get(row..row + self.stride).unwrap_or_default();
            set.iter_mut().zip(words).for_each(|(set, word)| *set &= word);
        }
        let found = !self.rows.is_empty() && !hashes.words().is_empty();
        let set = if found { set } else { [0; WORDS_MAX] };
        lanes(set).map(|lane| (lane, self.ends[usize::from(lane)]))
    }

    /// What all leaves have, as a table to publish, together with names of one's own.
    pub(super) fn of_leaves(&self, names: impl Iterator<Item = String>) -> Table {
        let mut table = Table::new(LOG2);
        for (at, row) in self.rows.chunks_exact(self.stride).enumerate() {
            if row.iter().any(|word| *word != 0) {
                table.set(at as u32, true);
            }
        }
        names.for_each(|name| table.add_name(name.as_bytes()));
        table
    }

    /// A neighbour has come.
    pub(super) fn meet(&mut self, end: End) {
        self.near.push(Near { end, told: None });
    }

    /// A neighbour is gone.
    pub(super) fn part(&mut self, end: End) {
        if let Some(n) = self.near.iter().position(|near| near.end == end) {
            self.near.swap_remove(n);
        }
    }

    /// A neighbour.
    pub(super) fn near(&mut self, end: End) -> Option<&mut Near> {
        self.near.iter_mut().find(|near| near.end == end)
    }

    /// The ends of the neighbours that may have what is asked for, or have not told yet what they have.
    ///
    /// Tables lie far apart: all are asked for the first word before anything hangs on an answer, so that the processor
    /// waits for them together. Most have no such word, and are not asked for the others.
    pub(super) fn neighbours_matching(&self, hashes: &Hashes) -> impl Iterator<Item = End> {
        let first = hashes.words().first();
        let may_have =
            |near: &Near| near.told.as_ref().is_none_or(|told| first.is_some_and(|h| told.has(*h)));
        let may_have: Vec<bool> = self.near.iter().map(may_have).collect();
        let left = self.near.iter().zip(may_have).filter(|(_, may_have)| *may_have).map(|(near, _)| near);
        left.filter(move |near| near.told.as_ref().is_none_or(|told| told.matches(hashes)))
            .map(|near| near.end)
    }

    /// All neighbours.
    pub(super) fn neighbours(&self) -> &[Near] {
        &self.near
    }
}

/// The numbers in a set.
fn lanes(set: [u64; WORDS_MAX]) -> impl Iterator<Item = Lane> {
    set.into_iter().enumerate().flat_map(|(n, mut word)| {
        std::iter::from_fn(move || {
            (word != 0).then(|| {
                let bit = word.trailing_zeros();
                word &= word - 1;
                (n as u32 * 64 + bit) as Lane
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use avp::gnutella::qrp::sender;

    use super::*;
    use crate::peer::told::Memory;
    use crate::world::{Bytes, Conns};

    fn end() -> End {
        Conns::default().open([1, 2], None, 10, 0)
    }

    fn told(name: &str) -> Known {
        let mut table = Table::new(LOG2);
        table.add_name(name.as_bytes());
        let mut memory = Memory::default();
        sender::updates(None, &table)
            .into_iter()
            .map(Bytes::from)
            .fold(None, |known: Known, bytes| memory.receive(&known, &bytes, &bytes).ok())
    }

    fn found(tables: &Tables, text: &str) -> Vec<Lane> {
        tables.leaves_matching(&Hashes::of_text(text.as_bytes())).map(|(lane, _)| lane).collect()
    }

    #[test]
    fn leaves_are_found_by_what_they_have_now() {
        let mut tables = Tables::new(100);
        let all: Vec<Lane> = (0..80).map(|_| tables.insert(end()).unwrap()).collect();
        let (one, two) = (told("kabcd kbcde"), told("kabcd"));
        tables.update(all[3], &None, &one);
        tables.update(all[70], &None, &two);
        assert_eq!(found(&tables, "kabcd"), [all[3], all[70]]);
        assert_eq!(found(&tables, "kabcd kbcde"), [all[3]]);
        tables.update(all[3], &one, &told("other"));
        assert_eq!((found(&tables, "kabcd"), found(&tables, "other")), (vec![all[70]], vec![all[3]]));
        assert!(found(&tables, "nothing").is_empty());
    }

    #[test]
    fn what_leaves_have_together_goes_with_the_last_of_them() {
        let mut tables = Tables::new(10);
        let (one, two) = (tables.insert(end()).unwrap(), tables.insert(end()).unwrap());
        let known = told("kabcd");
        tables.update(one, &None, &known);
        tables.update(two, &None, &known);
        tables.remove(one, &known);
        assert!(tables.of_leaves(std::iter::empty()).matches(&Hashes::of_text(b"kabcd")));
        tables.remove(two, &known);
        assert_eq!(tables.of_leaves(std::iter::empty()).present(), 0);
        assert_eq!(tables.insert(end()), Some(one));
        assert!(found(&tables, "kabcd").is_empty());
    }

    #[test]
    fn there_is_room_for_so_many_and_no_more() {
        let mut tables = Tables::new(100);
        assert_eq!((0..200).filter_map(|_| tables.insert(end())).count(), 128);
    }
}
