//! Which ordinary routers have seen which search, and over which link it came to each.
//!
//! Every peer remembers this for itself; it is kept by search instead of by peer. A search passes all its routers within
//! seconds, and what they remember of it then lies side by side in the processor's cache.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use avp::Instant;
use avp::gnutella::Guid;
use avp::gnutella::qrp::Hashes;
use avp::gnutella::query::Query;
use hashbrown::HashTable;

use crate::engine::SECOND;
use crate::workload::content::mix;

/// A generation of searches lasts so long: each search is remembered for one to two ages, as the product does.
const AGE: u64 = 300 * SECOND;
/// Searches of a generation, whatever their age.
pub const SEARCHES_MAX: usize = 200_000;
/// Bytes of a generation in all shards, whatever its age.
const BYTES_MAX: usize = 1 << 31;

/// Bits of the TTL in a packed route.
const TTL_BITS: u32 = 4;
/// The link of a peer's own searches; link numbers stay below it.
pub const OWN: u32 = u32::MAX >> TTL_BITS;

/// Over which link a search came first, and the highest TTL that it had there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Number of the link; [`OWN`] where the search is the router's own.
    pub link: u32,
    /// 1 to 15.
    pub ttl: u8,
}

impl Route {
    const fn packed(self) -> u32 {
        self.link << TTL_BITS | (self.ttl & 15) as u32
    }

    const fn unpacked(packed: u32) -> Self {
        Self { link: packed >> TTL_BITS, ttl: (packed & 15) as u8 }
    }
}

/// What is known of one search. Numbers are changed by one thread at a time: they are atomic so that a shard may go from
/// one to another.
#[derive(Clone, Debug)]
pub struct Flood {
    /// The first of the shard's own routers.
    first: u32,
    /// The packed route of each; 0 where the search has not come to it.
    seen: Arc<[AtomicU32]>,
    /// What it asks for, as it came first.
    asked: Arc<OnceLock<Asked>>,
}

#[derive(Debug)]
struct Asked {
    text: Box<[u8]>,
    hashes: Hashes,
}

impl Flood {
    fn place(&self, router: u32) -> Option<&AtomicU32> {
        self.seen.get(router.wrapping_sub(self.first) as usize)
    }

    /// What a router remembers of it. `born` is the number of links that there were when the router's life began:
    /// what came earlier came to who was in its place before.
    #[must_use]
    pub fn route(&self, router: u32, born: u32) -> Option<Route> {
        let packed = self.place(router)?.load(Relaxed);
        let route = Route::unpacked(packed);
        (packed != 0 && route.link > born).then_some(route)
    }

    /// Reads what a router remembers.
    pub(super) fn glance(&self, router: u32) -> u32 {
        self.place(router).map_or(0, |place| place.load(Relaxed))
    }

    /// The hashes of a search of this id. All who have it ask for the same, unless somebody cheats.
    #[must_use]
    pub fn hashes(&self, query: &Query<'_>) -> Hashes {
        if !query.extensions.is_empty() {
            return Hashes::of(query);
        }
        let asked = self.asked.get_or_init(|| Asked { text: query.text.into(), hashes: Hashes::of(query) });
        if *asked.text == *query.text { asked.hashes } else { Hashes::of(query) }
    }

    /// Those that were asked for first.
    pub(super) fn first_hashes(&self) -> Option<&Hashes> {
        Some(&self.asked.get()?.hashes)
    }

    /// A router remembers this.
    pub fn remember(&self, router: u32, route: Route) {
        if let Some(place) = self.place(router) {
            place.store(route.packed(), Relaxed);
        }
    }
}

#[derive(Debug)]
struct Entry {
    id: u128,
    flood: Flood,
}

/// All searches of the last minutes. Nothing is ever done in the order of its tables.
#[derive(Debug)]
pub struct Floods {
    young: HashTable<Entry>,
    old: HashTable<Entry>,
    turned: Instant,
    first: u32,
    own: usize,
    max: usize,
}

impl Floods {
    /// For the routers with these numbers, which are in one of so many shards.
    #[must_use]
    pub fn new(own: std::ops::Range<u32>, shards: usize) -> Self {
        let bytes = size_of::<AtomicU32>() * own.len().max(1);
        let max = (BYTES_MAX / shards / bytes).clamp(1, SEARCHES_MAX);
        let (young, old) = (HashTable::new(), HashTable::new());
        Self { young, old, turned: Instant(0), first: own.start, own: own.len(), max }
    }

    /// The search of this id, if a router has seen it.
    #[must_use]
    pub fn get(&self, guid: Guid) -> Option<&Flood> {
        let id = u128::from_le_bytes(guid.0);
        let hash = hash_of(id);
        let young = self.young.find(hash, |e| e.id == id);
        young.or_else(|| self.old.find(hash, |e| e.id == id)).map(|e| &e.flood)
    }

    /// The search of this id, which is entered if it is new.
    pub fn enter(&mut self, now: Instant, guid: Guid) -> Flood {
        if let Some(known) = self.get(guid) {
            return known.clone();
        }
        if now.0.saturating_sub(self.turned.0) >= AGE || self.young.len() >= self.max {
            self.old = std::mem::take(&mut self.young);
            self.turned = now;
        }
        let id = u128::from_le_bytes(guid.0);
        let seen = std::iter::repeat_with(AtomicU32::default).take(self.own).collect();
        let flood = Flood { first: self.first, seen, asked: Arc::default() };
        self.young.insert_unique(hash_of(id), Entry { id, flood: flood.clone() }, |e| hash_of(e.id));
        flood
    }

    /// Searches that are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The most that may be remembered.
    #[must_use]
    pub fn bound(&self) -> usize {
        2 * self.max
    }
}

fn hash_of(id: u128) -> u64 {
    mix(id as u64 ^ (id >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use avp::gnutella::huge::Sha1;
    use avp::gnutella::query;

    use super::*;

    fn guid(n: u8) -> Guid {
        Guid([n; 16])
    }

    #[test]
    fn each_router_remembers_for_itself_and_not_for_who_was_there_before() {
        let mut floods = Floods::new(0..3, 1);
        let flood = floods.enter(Instant(5), guid(1));
        flood.remember(1, Route { link: 7, ttl: 4 });
        let again = floods.enter(Instant(6), guid(1));
        assert_eq!(again.route(1, 6), Some(Route { link: 7, ttl: 4 }));
        assert_eq!((again.route(0, 0), again.route(2, 0)), (None, None));
        assert_eq!(again.route(1, 7), None, "its link is older than the router's life");
        assert_eq!(again.route(u32::MAX, 0), None);
        flood.remember(1, Route { link: OWN, ttl: 15 });
        assert_eq!(floods.get(guid(1)).and_then(|f| f.route(1, 1_000)), Some(Route { link: OWN, ttl: 15 }));
        assert!(floods.get(guid(2)).is_none());
    }

    #[test]
    fn a_search_is_hashed_once_and_who_asks_for_something_else_gets_that() {
        let flood = Floods::new(0..1, 1).enter(Instant(5), guid(1));
        assert!(flood.first_hashes().is_none());
        for text in ["kabcd kbcde", "other", "kabcd kbcde"] {
            let payload = query::Builder::new(text).finish();
            let query = Query::parse(&payload).unwrap();
            assert_eq!(flood.hashes(&query), Hashes::of_text(text.as_bytes()));
        }
        let payload = query::Builder::new("kabcd kbcde").sha1(Sha1([1; 20])).finish();
        assert_eq!(flood.hashes(&Query::parse(&payload).unwrap()).urns().len(), 1);
        assert_eq!(flood.first_hashes(), Some(&Hashes::of_text(b"kabcd kbcde")));
    }

    #[test]
    fn searches_are_forgotten_after_two_ages_and_bounded() {
        let mut floods = Floods::new(0..1, 1);
        floods.enter(Instant(AGE), guid(1));
        floods.enter(Instant(2 * AGE), guid(2));
        assert!(floods.get(guid(1)).is_some());
        floods.enter(Instant(3 * AGE), guid(3));
        assert!(floods.get(guid(1)).is_none() && floods.get(guid(2)).is_some());
        let mut few = Floods { max: 4, ..Floods::new(0..1, 1) };
        for n in 0..100 {
            few.enter(Instant(AGE), guid(n));
            assert!(few.len() <= few.bound());
        }
    }
}
