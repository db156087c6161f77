//! Routing tables of all of an ultrapeer's relations, transposed: one bit a relation, one row a slot, so that a search looks
//! at one row a word, however many relations there are.

use avp::gnutella::qrp::{Hashes, Table, slot};

use super::told::Known;
use crate::world::End;

/// Slots of a light peer's table, as a power of two: what LimeWire's leaves send.
pub(super) const LOG2: u8 = 14;
/// Slots of a light peer's table.
pub(super) const SLOTS: usize = 1 << LOG2;
/// Bits of a word of a row.
const WORD: usize = u32::BITS as usize;
/// Words of a row, at most, for leaves and for neighbours: 512 of each.
const WORDS_MAX: usize = 16;

/// A relation's number in the tables.
pub(super) type Lane = u16;

/// Some of the relations.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Set([u32; 2 * WORDS_MAX]);

impl Set {
    fn has(&self, lane: Lane) -> bool {
        self.0[usize::from(lane) / WORD] >> (usize::from(lane) % WORD) & 1 != 0
    }

    fn put(&mut self, lane: Lane, there: bool) {
        let (word, bit) = (&mut self.0[usize::from(lane) / WORD], 1 << (usize::from(lane) % WORD));
        if there { *word |= bit } else { *word &= !bit }
    }

    /// The lowest that is not in it, of these words.
    fn vacant(&self, words: std::ops::Range<usize>) -> Option<Lane> {
        let word = words.into_iter().find(|w| self.0[*w] != u32::MAX)?;
        Some((word * WORD) as Lane + self.0[word].trailing_ones() as Lane)
    }
}

/// A neighbour.
#[derive(Debug)]
pub(super) struct Near {
    /// Our end.
    pub(super) end: End,
    /// Its lane; where there are too many, it has none, and its table is asked instead.
    lane: Option<Lane>,
    /// What it has told.
    told: Known,
}

impl Near {
    /// What it has told.
    pub(super) fn told(&self) -> &Known {
        &self.told
    }
}

/// All tables.
#[derive(Debug)]
pub(super) struct Tables {
    /// Words of a row that are for leaves; those for neighbours follow.
    leaf_words: usize,
    /// Words of a row.
    stride: usize,
    /// Empty until somebody tells something.
    rows: Vec<u32>,
    /// Lanes that are taken.
    taken: Set,
    /// Of leaves, by lane.
    ends: Vec<End>,
    near: Vec<Near>,
}

impl Tables {
    /// For so many leaves and neighbours at a time.
    pub(super) fn new(leaves: usize, neighbours: usize) -> Self {
        let words = |lanes: usize| lanes.div_ceil(WORD).clamp(1, WORDS_MAX);
        let leaf_words = words(leaves);
        Self {
            leaf_words,
            stride: leaf_words + words(neighbours),
            rows: Vec::new(),
            taken: Set::default(),
            ends: Vec::new(),
            near: Vec::new(),
        }
    }

    fn take_lane(&mut self, words: std::ops::Range<usize>) -> Option<Lane> {
        let lane = self.taken.vacant(words)?;
        self.taken.put(lane, true);
        Some(lane)
    }

    /// A leaf has come. `None` where there are too many.
    pub(super) fn insert(&mut self, end: End) -> Option<Lane> {
        let lane = self.take_lane(0..self.leaf_words)?;
        match self.ends.get_mut(usize::from(lane)) {
            Some(place) => *place = end,
            // The lowest free lane is taken, so the next one that there never was.
            None => self.ends.push(end),
        }
        Some(lane)
    }

    /// A relation is gone, which had told this.
    pub(super) fn remove(&mut self, lane: Lane, told: &Known) {
        self.update(lane, told, &None);
        self.taken.put(lane, false);
    }

    /// What a relation has told has changed.
    pub(super) fn update(&mut self, lane: Lane, before: &Known, after: &Known) {
        if self.rows.is_empty() && after.is_some() {
            self.rows = vec![0; SLOTS * self.stride];
        }
        let (word, bit) = (usize::from(lane) / WORD, 1 << (usize::from(lane) % WORD));
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

    fn row(&self, hash: u32) -> &[u32] {
        let row = slot(hash, LOG2) as usize * self.stride;
        self.rows.get(row..row + self.stride).unwrap_or_default()
    }

    /// The relations that may have what is asked for: one of the urns, or all of the words.
    pub(super) fn matching(&self, hashes: &Hashes) -> Set {
        let mut set = Set::default();
        if self.rows.is_empty() {
            return set;
        }
        if !hashes.words().is_empty() {
            set = self.taken;
        }
        // Rows lie far apart: none waits for what is in another.
        for hash in hashes.words() {
            set.0.iter_mut().zip(self.row(*hash)).for_each(|(set, word)| *set &= word);
        }
        for hash in hashes.urns() {
            set.0.iter_mut().zip(self.row(*hash)).for_each(|(set, word)| *set |= word);
        }
        set
    }

    /// The leaves of a set, with their ends.
    pub(super) fn leaves<'a>(&'a self, set: &'a Set) -> impl Iterator<Item = (Lane, End)> + 'a {
        lanes(&set.0[..self.leaf_words]).map(|lane| (lane, self.ends[usize::from(lane)]))
    }

    /// What all leaves have, as a table to publish, together with names of one's own.
    pub(super) fn of_leaves(&self, names: impl Iterator<Item = String>) -> Table {
        let mut table = Table::new(LOG2);
        for (at, row) in self.rows.chunks_exact(self.stride).enumerate() {
            if row[..self.leaf_words].iter().any(|word| *word != 0) {
                table.set(at as u32, true);
            }
        }
        names.for_each(|name| table.add_name(name.as_bytes()));
        table
    }

    /// A neighbour has come.
    pub(super) fn meet(&mut self, end: End) {
        let lane = self.take_lane(self.leaf_words..self.stride);
        self.near.push(Near { end, lane, told: None });
    }

    /// A neighbour is gone.
    pub(super) fn part(&mut self, end: End) {
        if let Some(n) = self.near.iter().position(|near| near.end == end) {
            let near = self.near.swap_remove(n);
            if let Some(lane) = near.lane {
                self.remove(lane, &near.told);
            }
        }
    }

    /// A neighbour.
    pub(super) fn near(&self, end: End) -> Option<&Near> {
        self.near.iter().find(|near| near.end == end)
    }

    /// A neighbour has told this by now.
    pub(super) fn tells(&mut self, end: End, told: Known) {
        let Some(n) = self.near.iter().position(|near| near.end == end) else { return };
        let before = std::mem::replace(&mut self.near[n].told, told.clone());
        if let Some(lane) = self.near[n].lane {
            self.update(lane, &before, &told);
        }
    }

    /// Whether a neighbour is in what [`Self::matching`] has found for this.
    pub(super) fn matches(&self, near: &Near, set: &Set, hashes: &Hashes) -> bool {
        match near.lane {
            Some(lane) => set.has(lane),
            None => near.told.as_ref().is_some_and(|told| told.matches(hashes)),
        }
    }

    /// The ends of the neighbours that may have what is asked for, or have not told yet what they have.
    pub(super) fn neighbours_matching<'a>(
        &'a self,
        set: &'a Set,
        hashes: &'a Hashes,
    ) -> impl Iterator<Item = End> + 'a {
        let may_have = |near: &&Near| near.told.is_none() || self.matches(near, set, hashes);
        self.near.iter().filter(may_have).map(|near| near.end)
    }

    /// Reads where things are.
    pub(super) fn glance(&self) -> u32 {
        (self.rows.len() ^ self.near.len() ^ self.stride) as u32 ^ self.taken.0[0]
    }

    /// Reads what [`Self::matching`] will.
    pub(super) fn glance_for(&self, hashes: &Hashes) -> u32 {
        hashes.words().iter().filter_map(|hash| self.row(*hash).first()).fold(0, |sum, word| sum ^ word)
    }

    /// All neighbours.
    pub(super) fn neighbours(&self) -> &[Near] {
        &self.near
    }
}

/// The numbers in a set.
fn lanes(set: &[u32]) -> impl Iterator<Item = Lane> {
    set.iter().enumerate().flat_map(|(n, word)| {
        let mut word = *word;
        std::iter::from_fn(move || {
            (word != 0).then(|| {
                let bit = word.trailing_zeros();
                word &= word - 1;
                (n * WORD) as Lane + bit as Lane
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
        let memory = Memory::default();
        sender::updates(None, &table)
            .into_iter()
            .map(Bytes::from)
            .fold(None, |known: Known, bytes| memory.receive(&known, &bytes, &bytes).ok())
    }

    fn found(tables: &Tables, text: &str) -> Vec<Lane> {
        let set = tables.matching(&Hashes::of_text(text.as_bytes()));
        tables.leaves(&set).map(|(lane, _)| lane).collect()
    }

    #[test]
    fn leaves_are_found_by_what_they_have_now() {
        let mut tables = Tables::new(100, 2);
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
        let mut tables = Tables::new(10, 2);
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
        let mut tables = Tables::new(100, 2);
        assert_eq!((0..200).filter_map(|_| tables.insert(end())).count(), 128);
    }

    /// More neighbours than there are lanes are asked one by one, with the same answers.
    #[test]
    fn neighbours_are_asked_who_may_have_it_or_have_not_told() {
        let hashes = Hashes::of_text(b"kabcd kbcde");
        let mut tables = Tables::new(1, 2 * WORDS_MAX * WORD);
        let mut conns = Conns::default();
        let ends: Vec<End> = (0..WORDS_MAX * WORD + 3).map(|_| conns.open([1, 2], None, 10, 0)).collect();
        ends.iter().for_each(|end| tables.meet(*end));
        let asked = |tables: &Tables| {
            let set = tables.matching(&hashes);
            tables.neighbours_matching(&set, &hashes).collect::<Vec<_>>()
        };
        assert_eq!(asked(&tables), ends);
        let (both, one) = (told("kabcd kbcde"), told("kabcd"));
        ends.iter().for_each(|end| tables.tells(*end, one.clone()));
        assert!(asked(&tables).is_empty());
        let [first, last] = [ends[0], ends[ends.len() - 1]];
        [first, last].into_iter().for_each(|end| tables.tells(end, both.clone()));
        assert_eq!(asked(&tables), [first, last]);
        tables.part(first);
        // The lane of who is gone is another's.
        tables.meet(ends[0]);
        tables.tells(ends[0], one);
        assert_eq!(asked(&tables), [last]);
    }
}
