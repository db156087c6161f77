//! Where answers go: from the id of a message, or of a servent, to the link from which it came.
//!
//! Two generations: new entries go to the young one; when it is full or old enough it becomes the old one, and what
//! was old is forgotten. So the table is bounded, and an entry lives for one to two ages.

mod generation;
mod saved;

use crate::gnutella::Guid;
use crate::host::Instant;
use crate::tables::GuidHasher;
use generation::{Entry, Generation};
use std::time::Duration;

/// A link, distinguished from later ones that use the same place in the table of links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId {
    /// Its place in the table of links.
    pub index: u32,
    /// Counts the links that have had this place.
    pub serial: u32,
}

/// What is known about a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryRoute {
    /// Where it came from, and its hits go.
    pub link: LinkId,
    /// Milliseconds from the table's beginning to its first arrival; wraps after 49 days.
    at_ms: u32,
    /// Answers that went back, at most 65,535.
    pub hits: u16,
    /// Highest TTL with which it was or might have been sent on, and one more.
    pub ttl: u8,
    /// Whether the answers end at this peer, which asks on behalf of the link.
    pub dynamic: bool,
}

/// What is known about a servent. Anybody can send hits in the name of anybody, so that nobody can take the place of the
/// first who did, nor keep a later one from being tried as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushRoute {
    first: LinkId,
    latest: LinkId,
}

impl PushRoute {
    /// A servent of which a hit has come.
    #[must_use]
    pub fn new(from: LinkId) -> Self {
        Self { first: from, latest: from }
    }

    /// Another hit of it has come. `lives` tells which links are still there.
    pub fn heard(&mut self, from: LinkId, lives: impl Fn(LinkId) -> bool) {
        if from == self.first || from == self.latest {
            return;
        }
        if !lives(self.first) {
            self.first = self.latest;
        }
        self.latest = from;
    }

    /// Where its pushes go; two links, or one twice.
    #[must_use]
    pub fn links(&self) -> [LinkId; 2] {
        [self.first, self.latest]
    }
}

/// A bounded table of routes.
#[derive(Debug)]
pub struct Routes<R> {
    young: Generation<R>,
    old: Generation<R>,
    hasher: GuidHasher,
    entries_max: usize,
    age: Duration,
    began: Instant,
    turned: Instant,
}

impl<R: Copy> Routes<R> {
    /// An empty table of twice `entries_max` entries that live for one to two `age`s.
    #[must_use]
    pub fn new(hasher: GuidHasher, entries_max: usize, age: Duration, now: Instant) -> Self {
        let (young, old) = (Generation::default(), Generation::default());
        Self { young, old, hasher, entries_max, age, began: now, turned: now }
    }

    /// Puts other bounds in force.
    pub fn resize(&mut self, entries_max: usize, age: Duration) {
        (self.entries_max, self.age) = (entries_max, age);
    }

    /// Finds an id, or enters it with this route. Returns what was known before: `None` where it is new.
    #[inline]
    pub fn learn(&mut self, now: Instant, guid: Guid, new: R) -> Option<&mut R> {
        let hash = self.hash(guid);
        // By their places: a returned entry would end the borrow.
        if let Some(place) = self.young.find(hash, guid) {
            return self.young.at(place);
        }
        if let Some(place) = self.old.find(hash, guid) {
            return self.old.at(place);
        }
        self.insert(now, hash, Entry { guid, route: new });
        None
    }

    /// What is known about an id is as fresh as if it were new.
    pub fn refresh(&mut self, now: Instant, guid: Guid) {
        let hash = self.hash(guid);
        if let Some(entry) = self.old.remove(self.hasher, hash, guid) {
            self.insert(now, hash, entry);
        }
    }

    fn insert(&mut self, now: Instant, hash: u64, entry: Entry<R>) {
        if self.young.len() >= self.entries_max {
            self.turn(now);
        }
        self.young.insert(self.hasher, hash, entry);
    }

    /// What is known about an id.
    #[inline]
    pub fn get(&mut self, guid: Guid) -> Option<&mut R> {
        let hash = self.hash(guid);
        match self.young.find(hash, guid) {
            Some(place) => self.young.at(place),
            None => self.old.at(self.old.find(hash, guid)?),
        }
    }

    /// Lets the old generation go where the young one has its age. Call about once a second.
    pub fn tick(&mut self, now: Instant) {
        if now.since(self.turned) >= self.age {
            self.turn(now);
        }
    }

    fn hash(&self, guid: Guid) -> u64 {
        self.hasher.hash(guid)
    }

    fn turn(&mut self, now: Instant) {
        std::mem::swap(&mut self.young, &mut self.old);
        self.young.clear();
        // As many again are to be expected, and to grow is to copy.
        self.young.reserve(self.hasher, self.old.len());
        self.turned = now;
    }

    fn millis(&self, now: Instant) -> u32 {
        now.since(self.began).as_millis() as u32
    }

    /// Entries in both generations.
    #[must_use]
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Routes<QueryRoute> {
    /// Finds a query, or enters it as coming from `link`. Returns what was known before: `None` where it is new.
    #[inline]
    pub fn learn_query(
        &mut self,
        now: Instant,
        guid: Guid,
        link: LinkId,
        ttl: u8,
    ) -> Option<&mut QueryRoute> {
        let at_ms = self.millis(now);
        self.learn(now, guid, QueryRoute { link, at_ms, hits: 0, ttl, dynamic: false })
    }

    /// The time since a query was entered.
    #[must_use]
    pub fn since(&self, route: &QueryRoute, now: Instant) -> Duration {
        Duration::from_millis(self.millis(now).wrapping_sub(route.at_ms).into())
    }
}

impl Routes<PushRoute> {
    /// A hit of this servent has come from `link`.
    pub fn hit(&mut self, now: Instant, servent: Guid, link: LinkId, lives: impl Fn(LinkId) -> bool) {
        self.refresh(now, servent);
        if let Some(known) = self.learn(now, servent, PushRoute::new(link)) {
            known.heard(link, lives);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha12Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    fn guid(n: u64) -> Guid {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&n.to_le_bytes());
        Guid(bytes)
    }

    fn link(index: u32) -> LinkId {
        LinkId { index, serial: 0 }
    }

    fn table(entries: usize) -> Routes<QueryRoute> {
        Routes::new(
            GuidHasher::new(&mut ChaCha12Rng::seed_from_u64(3)),
            entries,
            Duration::from_secs(300),
            Instant(0),
        )
    }

    #[test]
    fn the_first_link_is_kept_and_repeats_are_known() {
        let mut routes = table(8);
        assert_eq!(routes.learn_query(Instant(0), guid(1), link(3), 4), None);
        let known = routes.learn_query(Instant(0), guid(1), link(9), 7).unwrap();
        assert_eq!((known.link, known.ttl), (link(3), 4));
        assert_eq!(routes.get(guid(1)).unwrap().link, link(3));
        assert_eq!(routes.get(guid(2)), None);
    }

    #[test]
    fn the_table_never_holds_more_than_two_generations() {
        let mut routes = table(100);
        for n in 0..10_000 {
            routes.learn_query(Instant(n), guid(n), link(0), 1);
            assert!(routes.len() <= 200);
        }
        assert!(routes.get(guid(9_999)).is_some() && routes.get(guid(9_900)).is_some());
        assert!(routes.get(guid(9_000)).is_none());
    }

    #[test]
    fn entries_are_forgotten_after_two_ages() {
        let mut routes = table(100);
        let at = |s| Instant(0) + Duration::from_secs(s);
        routes.learn_query(at(299), guid(1), link(0), 1);
        routes.tick(at(300));
        assert!(routes.get(guid(1)).is_some());
        assert_eq!(routes.since(&routes.old.entries()[0].route, at(301)).as_secs(), 2);
        routes.tick(at(599));
        assert!(routes.get(guid(1)).is_some());
        routes.tick(at(600));
        assert!(routes.get(guid(1)).is_none());
    }

    #[test]
    fn pushes_follow_the_first_and_the_latest_hit_and_the_entry_stays_young() {
        let mut routes: Routes<PushRoute> = Routes::new(
            GuidHasher::new(&mut ChaCha12Rng::seed_from_u64(3)),
            100,
            Duration::from_secs(300),
            Instant(0),
        );
        let at = |s| Instant(0) + Duration::from_secs(s);
        let all = |_| true;
        routes.hit(at(0), guid(1), link(1), all);
        assert_eq!(routes.get(guid(1)).unwrap().links(), [link(1), link(1)]);
        routes.tick(at(300));
        routes.hit(at(301), guid(1), link(2), all);
        routes.tick(at(600));
        routes.hit(at(601), guid(1), link(3), all);
        assert_eq!(routes.get(guid(1)).unwrap().links(), [link(1), link(3)], "the first keeps its place");
        assert_eq!(routes.len(), 1);
        routes.hit(at(602), guid(1), link(4), |l| l != link(1));
        assert_eq!(routes.get(guid(1)).unwrap().links(), [link(3), link(4)], "while it lives");
    }
}
