//! The routes of one generation, in the order in which they were learnt.
//!
//! An index tells where each is. So their order follows from what has happened and from no hash, a state is what lies in a
//! row already, and what is learnt, the most frequent of all, is written where the one before it was.

use crate::gnutella::Guid;
use crate::tables::GuidHasher;
use hashbrown::HashTable;

#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<R> {
    pub(super) guid: Guid,
    pub(super) route: R,
}

#[derive(Debug)]
pub(super) struct Generation<R> {
    entries: Vec<Entry<R>>,
    /// Where in `entries` each GUID is.
    places: HashTable<u32>,
}

impl<R> Default for Generation<R> {
    fn default() -> Self {
        Self { entries: Vec::new(), places: HashTable::new() }
    }
}

impl<R: Copy> Generation<R> {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn entries(&self) -> &[Entry<R>] {
        &self.entries
    }

    /// The place of a GUID.
    #[inline]
    pub(super) fn find(&self, hash: u64, guid: Guid) -> Option<u32> {
        let entries = &self.entries[..];
        let is_it = |place: &u32| entries.get(*place as usize).is_some_and(|e| e.guid == guid);
        self.places.find(hash, is_it).copied()
    }

    #[inline]
    pub(super) fn at(&mut self, place: u32) -> Option<&mut R> {
        self.entries.get_mut(place as usize).map(|e| &mut e.route)
    }

    /// Adds a GUID that is not there.
    pub(super) fn insert(&mut self, hasher: GuidHasher, hash: u64, entry: Entry<R>) {
        if self.entries.len() == self.entries.capacity() {
            self.reserve(hasher, 1);
        }
        let entries = &self.entries[..];
        self.places.insert_unique(hash, entries.len() as u32, |place| rehash(hasher, entries, *place));
        self.entries.push(entry);
    }

    /// Takes a GUID out. The one that was learnt last gets its place.
    pub(super) fn remove(&mut self, hasher: GuidHasher, hash: u64, guid: Guid) -> Option<Entry<R>> {
        let place = self.find(hash, guid)?;
        self.places.find_entry(hash, |p| *p == place).ok()?.remove();
        let entry = self.entries.swap_remove(place as usize);
        if let Some(moved) = self.entries.get(place as usize) {
            let former = self.entries.len() as u32;
            if let Some(at) = self.places.find_mut(hasher.hash(moved.guid), |p| *p == former) {
                *at = place;
            }
        }
        Some(entry)
    }

    /// Makes room for so many more: as many as the index then has room for, so that both grow at the same time.
    pub(super) fn reserve(&mut self, hasher: GuidHasher, more: usize) {
        let entries = &self.entries[..];
        self.places.reserve(more, |place| rehash(hasher, entries, *place));
        self.entries.reserve_exact(self.places.capacity() - self.entries.len());
    }

    /// Forgets all of them, and keeps the memory for the next.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.places.clear();
    }
}

fn rehash<R>(hasher: GuidHasher, entries: &[Entry<R>], place: u32) -> u64 {
    entries.get(place as usize).map_or(0, |e| hasher.hash(e.guid))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::ChaCha12Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    proptest! {
        /// What is where is the same under all hashes, and each is found under what it was last.
        #[test]
        fn hashes_change_nothing(
            steps in prop::collection::vec((0_u8..4, 0_u8..40), 0..400), seeds in any::<[u64; 2]>(),
        ) {
            let hashers = seeds.map(|seed| GuidHasher::new(&mut ChaCha12Rng::seed_from_u64(seed)));
            let [mut one, mut other] = [Generation::default(), Generation::default()];
            let mut model: Vec<(Guid, usize)> = Vec::new();
            for (n, (step, id)) in steps.into_iter().enumerate() {
                let guid = Guid([id; 16]);
                let known = model.iter().position(|m| m.0 == guid);
                let mut both = [(&mut one, hashers[0]), (&mut other, hashers[1])];
                match (step, known) {
                    (0, Some(place)) => {
                        let was = model.swap_remove(place);
                        for (it, hasher) in &mut both {
                            let removed = it.remove(*hasher, hasher.hash(guid), guid).map(|e| (e.guid, e.route));
                            prop_assert_eq!(removed, Some(was));
                        }
                    }
                    (1, None) => {
                        for (it, hasher) in &mut both {
                            prop_assert!(it.remove(*hasher, hasher.hash(guid), guid).is_none());
                        }
                    }
                    (_, None) => {
                        model.push((guid, n));
                        for (it, hasher) in &mut both {
                            it.insert(*hasher, hasher.hash(guid), Entry { guid, route: n });
                        }
                    }
                    (_, Some(_)) if n % 97 == 0 => {
                        model.clear();
                        both.iter_mut().for_each(|(it, _)| it.clear());
                    }
                    (_, Some(place)) => {
                        for (it, hasher) in &mut both {
                            prop_assert_eq!(it.find(hasher.hash(guid), guid), Some(place as u32));
                            prop_assert_eq!(it.at(place as u32).copied(), Some(model[place].1));
                        }
                    }
                }
                for (it, _) in both {
                    let all: Vec<_> = it.entries().iter().map(|e| (e.guid, e.route)).collect();
                    prop_assert_eq!(&all, &model);
                }
            }
        }
    }
}
