//! The dynamic queries under way.

use super::{DynamicQuery, End};
use crate::application::routes::LinkId;
use crate::config::DYNAMIC_QUERIES_MAX as QUERIES_MAX;
use crate::gnutella::Guid;
use crate::host::Instant;
use crate::state::{Damaged, Reader, Saved, Writer};
use crate::tables::{Hasher, Map};
use std::collections::BTreeSet;

/// Queries of one leaf under way at the same time. Further ones reach the other leaves here, and nobody else.
pub const PER_LEAF_MAX: usize = 16;

/// All dynamic queries, by id, by leaf and by the time of their next step.
#[derive(Debug)]
pub struct Active {
    queries: Map<Guid, DynamicQuery>,
    by_leaf: Map<LinkId, Vec<Guid>>,
    due: BTreeSet<(Instant, Guid)>,
    max: usize,
    begun: u64,
    ended: [u64; End::ALL.len()],
}

impl Active {
    /// None yet, and at most `max`.
    #[must_use]
    pub fn new(max: usize, hasher: &Hasher) -> Self {
        Self {
            queries: Map::with_hasher(hasher.clone()),
            by_leaf: Map::with_hasher(hasher.clone()),
            due: BTreeSet::new(),
            max,
            begun: 0,
            ended: [0; End::ALL.len()],
        }
    }

    /// Puts another bound in force; it holds from the next query on.
    pub fn resize(&mut self, max: usize) {
        self.max = max;
    }

    /// Whether one more query of a leaf may begin: not where one with its id is under way, whose route was forgotten
    /// before its end.
    #[must_use]
    pub fn has_room(&self, leaf: LinkId, guid: Guid) -> bool {
        self.max > 0
            && !self.queries.contains_key(&guid)
            && self.by_leaf.get(&leaf).is_none_or(|all| all.len() < PER_LEAF_MAX)
    }

    /// Adds a query that has just begun. Where there are too many, the one whose next step is nearest ends: it has
    /// had its turn. One with the same id ends as well.
    pub fn begin(&mut self, query: DynamicQuery) {
        self.end(query.guid, End::Replaced);
        while self.queries.len() >= self.max.max(1) {
            let Some((_, nearest)) = self.due.first().copied() else { break };
            self.end(nearest, End::Replaced);
        }
        self.begun += 1;
        self.by_leaf.entry(query.leaf).or_default().push(query.guid);
        self.due.insert((query.due, query.guid));
        self.queries.insert(query.guid, query);
    }

    /// A query whose next step is due. Give it a later [`DynamicQuery::due`] with [`Self::step`], or [`Self::end`] it.
    #[must_use]
    pub fn next_due(&self, now: Instant) -> Option<Guid> {
        self.due.first().filter(|(at, _)| *at <= now).map(|(_, guid)| *guid)
    }

    /// Lets a query take a step, and ends it where it says so.
    pub fn step<T>(
        &mut self,
        guid: Guid,
        step: impl FnOnce(&mut DynamicQuery) -> Result<T, End>,
    ) -> Option<T> {
        let query = self.queries.get_mut(&guid)?;
        let before = query.due;
        let result = step(query);
        let after = query.due;
        match result {
            Ok(value) => {
                self.due.remove(&(before, guid));
                self.due.insert((after, guid));
                Some(value)
            }
            Err(end) => {
                if before != after {
                    self.due.remove(&(before, guid));
                    self.due.insert((after, guid));
                }
                self.end(guid, end);
                None
            }
        }
    }

    /// The query with this id.
    pub fn get_mut(&mut self, guid: Guid) -> Option<&mut DynamicQuery> {
        self.queries.get_mut(&guid)
    }

    /// Ends a query.
    pub fn end(&mut self, guid: Guid, why: End) {
        let Some(query) = self.queries.remove(&guid) else { return };
        self.due.remove(&(query.due, guid));
        if let Some(all) = self.by_leaf.get_mut(&query.leaf) {
            all.retain(|g| *g != guid);
            if all.is_empty() {
                self.by_leaf.remove(&query.leaf);
            }
        }
        self.ended[why as usize] += 1;
    }

    /// Ends all queries of a leaf that is gone.
    pub fn leaf_left(&mut self, leaf: LinkId) {
        for guid in self.by_leaf.get(&leaf).cloned().unwrap_or_default() {
            self.end(guid, End::Left);
        }
    }

    /// When the next step is due.
    #[must_use]
    pub fn next_at(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// How many are under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queries.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queries.is_empty()
    }

    /// How many have begun so far.
    #[must_use]
    pub fn begun(&self) -> u64 {
        self.begun
    }

    /// How many have ended for this reason.
    #[must_use]
    pub fn ended(&self, why: End) -> u64 {
        self.ended[why as usize]
    }
}

/// The bound is the configuration's and is not saved.
impl Active {
    pub(crate) fn save(&self, to: &mut Writer) {
        // In the order in which they are due: that of a table is another one in each instance.
        to.len_of(self.due.len());
        self.due.iter().filter_map(|(_, guid)| self.queries.get(guid)).for_each(|query| query.save(to));
        self.begun.save(to);
        self.ended.save(to);
    }

    /// Takes over what is under way.
    pub(crate) fn load(&mut self, from: &mut Reader<'_>) -> Result<(), Damaged> {
        for query in from.list::<DynamicQuery, Vec<_>>(QUERIES_MAX)? {
            self.due.insert((query.due, query.guid));
            self.by_leaf.entry(query.leaf).or_default().push(query.guid);
            let twin = self.queries.insert(query.guid, query);
            from.ensure(twin.is_none())?;
        }
        self.begun = from.count()?;
        for n in &mut self.ended {
            *n = from.count()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn active(max: usize) -> Active {
        Active::new(max, &Hasher::with_seeds(1, 2, 3, 4))
    }

    fn query(n: u8, leaf: u32) -> DynamicQuery {
        let leaf = LinkId { index: leaf, serial: 0 };
        DynamicQuery::new(Guid([n; 16]), leaf, b"\x80\0a\0", false, 150, Instant(u64::from(n)))
    }

    #[test]
    fn queries_come_out_when_they_are_due() {
        let mut all = active(10);
        all.begin(query(5, 0));
        all.begin(query(3, 0));
        assert_eq!(all.next_due(Instant(2)), None);
        assert_eq!(all.next_due(Instant(4)), Some(Guid([3; 16])));
        all.step(Guid([3; 16]), |q| {
            q.due = q.due + Duration::from_nanos(10);
            Ok(())
        });
        assert_eq!(all.next_due(Instant(9)), Some(Guid([5; 16])));
        assert_eq!(all.step(Guid([5; 16]), |_| Err::<(), _>(End::Satisfied)), None);
        assert_eq!((all.next_at(), all.ended(End::Satisfied)), (Some(Instant(13)), 1));
    }

    #[test]
    fn the_number_of_queries_is_bounded_and_for_each_leaf_too() {
        let mut all = active(100);
        for n in 0..250 {
            let leaf = LinkId { index: u32::from(n) / 20, serial: 0 };
            if all.has_room(leaf, Guid([n; 16])) {
                all.begin(query(n, leaf.index));
            }
            assert!(all.len() <= 100 && all.due.len() == all.len());
        }
        assert_eq!(all.begun(), 16 * 12 + 10);
        assert_eq!(all.ended(End::Replaced), all.begun() - 100);
    }

    #[test]
    fn an_id_is_under_way_once() {
        let mut all = active(10);
        all.begin(query(3, 0));
        assert!(!all.has_room(LinkId { index: 1, serial: 0 }, Guid([3; 16])));
        let again = DynamicQuery { due: Instant(7), leaf: LinkId { index: 1, serial: 0 }, ..query(3, 1) };
        all.begin(again);
        assert_eq!((all.len(), all.due.len(), all.by_leaf.len()), (1, 1, 1));
        assert_eq!(all.step(Guid([3; 16]), |_| Err::<(), _>(End::Satisfied)), None);
        assert_eq!(all.next_due(Instant(u64::MAX)), None);
    }

    #[test]
    fn queries_are_saved_in_the_order_in_which_they_are_due() {
        let saved = |seeds: u64, order: &[u8]| {
            let mut all = Active::new(100, &Hasher::with_seeds(seeds, 2, 3, 4));
            order.iter().for_each(|n| all.begin(query(*n, u32::from(n % 3))));
            let mut to = Writer::default();
            all.save(&mut to);
            to.finish()
        };
        let first = saved(1, &[9, 4, 7, 1, 30, 12, 5]);
        for seeds in 2..8 {
            assert_eq!(saved(seeds, &[30, 1, 5, 9, 7, 4, 12]), first);
        }
        let mut all = active(100);
        all.load(&mut Reader::new(&first)).unwrap();
        let mut to = Writer::default();
        all.save(&mut to);
        assert_eq!((to.finish(), all.len()), (first, 7));
    }

    #[test]
    fn nothing_is_left_of_a_leaf_that_is_gone() {
        let mut all = active(100);
        for n in 0..10 {
            all.begin(query(n, u32::from(n % 2)));
        }
        all.leaf_left(LinkId { index: 0, serial: 0 });
        assert_eq!((all.len(), all.ended(End::Left)), (5, 5));
        all.leaf_left(LinkId { index: 1, serial: 0 });
        assert!(all.is_empty() && all.by_leaf.is_empty() && all.due.is_empty());
    }
}
