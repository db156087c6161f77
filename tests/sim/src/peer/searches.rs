//! Searches of its own and of others.

use avp::Instant;
use avp::application::dynamic_query::{Ask, Candidate, DynamicQuery};
use avp::application::routes::LinkId;
use avp::gnutella::hit::{self, QueryHit};
use avp::gnutella::qrp::Hashes;
use avp::gnutella::query::{self, Query};
use avp::gnutella::{Guid, Header, Kind};

use super::links::Other;
use super::messages::message;
use super::tables::Set;
use super::{Light, Role, SEARCHES_MAX, Timer, seconds};
use crate::engine::{SECOND, START};
use crate::internet::place::{NodeId, address};
use crate::workload::content::{FileId, Words};
use crate::workload::preset::Reach;
use crate::world::floods::{self, Route};
use crate::world::{End, SearchRecord, Shard};

/// A search is over after this time.
const SEARCH_LIFE: u64 = 120 * SECOND;
/// The highest TTL that is told apart.
const TTL_MAX: u8 = 15;
/// Files in one hit.
const HIT_FILES_MAX: usize = 10;
/// Answers that end a dynamic query.
const RESULTS_WANTED: u32 = 150;
/// Where the hits of an ultrapeer's own searches go.
const OURSELVES: LinkId = LinkId { index: floods::OWN, serial: 0 };
const VENDOR: [u8; 4] = *b"LITE";
const SPEED_KBIT_S: u32 = 1_000;
/// Size of every file, in bytes.
const FILE_BYTES: u64 = 4_000_000;

/// What a search asks for, and who may have it.
struct Asked {
    hashes: Hashes,
    relations: Set,
}

/// A search of its own.
#[derive(Clone, Debug)]
pub struct Search {
    guid: Guid,
    at: Instant,
    first: Option<Instant>,
    hits: u32,
}

impl Search {
    pub(super) fn record(&self, node: NodeId) -> SearchRecord {
        let seconds = |from: Instant, to: Instant| (to.0 - from.0) as f64 / SECOND as f64;
        SearchRecord {
            node,
            at_s: seconds(START, self.at),
            first_s: self.first.map(|first| seconds(self.at, first)),
            hits: self.hits,
        }
    }
}

impl Light {
    /// Looks for something.
    pub(super) fn search(&mut self, world: &mut Shard) {
        self.searches_left = self.searches_left.saturating_sub(1);
        if self.searches_left > 0 {
            let pause = self.pause_s(world);
            world.timer(self.node, seconds(pause).max(SECOND / 10), Timer::Search);
        }
        if self.searches.len() >= SEARCHES_MAX {
            return;
        }
        let file = world.catalogue.draw(&mut world.dice);
        let text = world.catalogue.search_for(file, &mut world.dice);
        let guid = Guid::random(world.dice.rng());
        self.searches.push(Search { guid, at: world.now(), first: None, hits: 0 });
        world.timer(self.node, SEARCH_LIFE, Timer::SearchOver);
        let payload = query::Builder::new(&text).finish();
        let header = Header { guid, kind: Kind::QUERY, ttl: world.setup.preset.ttl, hops: 0, len: 0 };
        if let Some(router) = &self.router {
            let flood = world.floods.enter(world.now(), guid);
            flood.remember(router.number, Route { link: floods::OWN, ttl: header.ttl });
        }
        match self.role {
            Role::Leaf | Role::Flat => {
                let bytes = message(header, &payload);
                let all = (0..self.links.len()).filter(|n| self.links[*n].is_up());
                self.send_to(world, all, &bytes);
            }
            Role::Ultrapeer => {
                let hashes = Query::parse(&payload).map(|q| Hashes::of(&q)).unwrap_or_default();
                let asked = self.look_up(hashes);
                self.to_leaves(world, None, &header, &payload, &asked);
                self.begin_search(world, OURSELVES, header, &payload, &asked);
            }
        }
    }

    /// The oldest searches are over.
    pub(super) fn search_over(&mut self, world: &mut Shard) {
        let (clock, now) = (world.clock(self.node), world.now());
        while let Some(oldest) = self.searches.first().filter(|s| clock.since(s.at, now) >= SEARCH_LIFE) {
            world.records.search(oldest.record(self.node));
            self.searches.remove(0);
        }
    }

    /// A search has come in.
    pub(super) fn query(&mut self, world: &mut Shard, n: usize, header: Header, payload: &[u8]) {
        let (serial, what) = (self.links[n].serial, self.links[n].what);
        let (mut repeated, mut known_as) = (false, None);
        // Whoever lets searches go farther than we do may repeat one with a TTL that changes nothing for us.
        let ttl = match self.role {
            Role::Ultrapeer => header.ttl.min((world.setup.preset.ttl + 1).saturating_sub(header.hops)),
            Role::Leaf | Role::Flat => header.ttl,
        };
        let ttl = ttl.min(TTL_MAX);
        match &self.router {
            None => {
                let id = u128::from_le_bytes(header.guid.0);
                // Who is flooded answers no more, rather than forget what it has answered.
                let (now, id) = (world.now(), (id as u64, (id >> 64) as u64));
                if self.answered.is_full(now) || self.answered.again(now, id) {
                    return;
                }
            }
            Some(router) => {
                let flood = world.floods.enter(world.now(), header.guid);
                if let Some(known) = router.route(&flood) {
                    repeated = what == Other::Neighbour && known.link == serial && ttl > known.ttl;
                    if !repeated {
                        return;
                    }
                }
                flood.remember(router.number, Route { link: serial, ttl });
                known_as = Some(flood);
            }
        }
        let Some(query) = Query::parse(payload) else { return };
        if !repeated {
            world.records.reached += 1;
            self.answer(world, n, &header, query.text);
        }
        if self.role == Role::Flat {
            if let Some(next) = header.forwarded() {
                let (bytes, flood) = (message(next, payload), world.floods.enter(world.now(), header.guid));
                let others = self.links.iter().enumerate().filter(|(m, l)| *m != n && l.is_up());
                let others: Vec<End> = others.map(|(_, link)| link.end).collect();
                world.send_search(&others, &bytes, &flood);
            }
        } else if self.role == Role::Ultrapeer {
            let hashes = known_as.map_or_else(Hashes::default, |flood| flood.hashes(&query));
            let (asked, from) = (self.look_up(hashes), Some(n));
            if !repeated {
                self.to_leaves(world, from, &header, payload, &asked);
            }
            match what {
                Other::Leaf => self.begin_search(world, self.link_id(n), header, payload, &asked),
                _ => self.to_neighbours(world, from, &header, payload, &asked, repeated),
            }
        }
    }

    fn answer(&mut self, world: &mut Shard, n: usize, header: &Header, text: &[u8]) {
        if self.files.is_empty() {
            return;
        }
        let Some(words) = Words::read(text).filter(|words| self.words.may_have(words)) else { return };
        let found: Vec<FileId> = self
            .files
            .iter()
            .copied()
            .filter(|f| world.catalogue.matches(*f, &words))
            .take(HIT_FILES_MAX)
            .collect();
        if found.is_empty() {
            return;
        }
        let mut builder = hit::Builder::new(VENDOR, address(self.node), SPEED_KBIT_S);
        for file in found {
            builder = builder.file(file, FILE_BYTES, &world.catalogue.name(file), None);
        }
        let header = Header { kind: Kind::QUERY_HIT, ttl: header.hops + 2, hops: 0, ..*header };
        world.send(self.links[n].end, &message(header, &builder.finish(self.guid)));
    }

    /// An answer has come in: it is ours, or goes back.
    pub(super) fn hit(&mut self, world: &mut Shard, n: usize, header: Header, payload: &[u8]) {
        let Some(hit) = QueryHit::parse(payload) else { return };
        if let Some(own) = self.searches.iter_mut().find(|s| s.guid == header.guid) {
            own.hits += u32::from(hit.count);
            own.first.get_or_insert(world.now());
        }
        let Some(router) = &mut self.router else { return };
        if let Some(query) = router.dynamic.iter_mut().find(|q| q.guid == header.guid) {
            query.found(hit.count.into());
        }
        let route = world.floods.get(header.guid).and_then(|f| router.route(f));
        let route = route.map(|r| LinkId { index: r.link, serial: 0 });
        let Some(to) = route.and_then(|r| self.by_id(r)).filter(|to| *to != n) else { return };
        // The last hop is made whatever the TTL says.
        let ttl = if self.links[to].what == Other::Leaf { header.ttl.max(2) } else { header.ttl };
        if let Some(next) = (Header { ttl, ..header }).forwarded() {
            world.send(self.links[to].end, &message(next, payload));
        }
    }

    /// Looks in all relations' tables at once.
    fn look_up(&self, hashes: Hashes) -> Asked {
        let nobody = Set::default;
        Asked { hashes, relations: self.router.as_ref().map_or_else(nobody, |r| r.tables.matching(&hashes)) }
    }

    fn to_leaves(
        &self,
        world: &mut Shard,
        from: Option<usize>,
        header: &Header,
        payload: &[u8],
        asked: &Asked,
    ) {
        let Some(router) = &self.router else { return };
        let mut matching = router.tables.leaves(&asked.relations).peekable();
        if matching.peek().is_none() {
            return;
        }
        let header = Header { ttl: header.ttl.saturating_sub(1).max(1), hops: header.hops + 1, ..*header };
        let bytes = message(header, payload);
        let from = from.and_then(|n| self.links[n].lane);
        for (_, end) in matching.filter(|(lane, _)| Some(*lane) != from) {
            world.send(end, &bytes);
        }
    }

    /// `repeated` where it was sent to them before, with fewer hops.
    fn to_neighbours(
        &self,
        world: &mut Shard,
        from: Option<usize>,
        header: &Header,
        payload: &[u8],
        asked: &Asked,
        repeated: bool,
    ) {
        // The hop from a leaf to its ultrapeer does not count.
        let left = header.ttl.saturating_sub(1).min(world.setup.preset.ttl.saturating_sub(header.hops));
        let Some(router) = self.router.as_ref().filter(|_| left > 0) else { return };
        let from = from.map(|n| self.links[n].end);
        let bytes = message(Header { ttl: left, hops: header.hops + 1, ..*header }, payload);
        // At the last hop only those are worth asking who may have it, or have not told yet what they have.
        let mut to: Vec<End> = match left {
            1 => router.tables.neighbours_matching(&asked.relations, &asked.hashes).collect(),
            _ => router.tables.neighbours().iter().map(|near| near.end).collect(),
        };
        to.retain(|end| Some(*end) != from);
        if repeated {
            to.into_iter().for_each(|end| {
                world.send(end, &bytes);
            });
        } else {
            let flood = world.floods.enter(world.now(), header.guid);
            world.send_search(&to, &bytes, &flood);
        }
    }

    /// A search of a leaf, or its own, goes to the neighbours.
    fn begin_search(
        &mut self,
        world: &mut Shard,
        from: LinkId,
        header: Header,
        payload: &[u8],
        asked: &Asked,
    ) {
        if world.setup.preset.reach == Reach::Flood {
            let header = Header { ttl: world.setup.preset.ttl + 1, hops: header.hops, ..header };
            self.to_neighbours(world, self.by_id(from), &header, payload, asked, false);
            return;
        }
        if !self.router.as_ref().is_some_and(|r| r.has_room_for_dynamic()) {
            return;
        }
        let now = self.time(world);
        let candidates = self.candidates(world, asked);
        let mut query = DynamicQuery::new(header.guid, from, payload, false, RESULTS_WANTED, now);
        let mut asks = Vec::new();
        query.probe(now, &candidates, &mut asks);
        for ask in asks {
            self.put(world, ask, header.guid, payload);
        }
        let due = query.due;
        if let Some(router) = &mut self.router {
            router.dynamic.push(query);
        }
        self.wake_for_dynamic(world, due);
    }

    fn candidates(&self, world: &mut Shard, asked: &Asked) -> Vec<Candidate> {
        let matches = |end| {
            let tables = &self.router.as_ref()?.tables;
            Some(tables.matches(tables.near(end)?, &asked.relations, &asked.hashes))
        };
        let neighbours =
            self.links.iter().enumerate().filter(|(_, l)| l.what == Other::Neighbour && l.is_up());
        let mut candidates: Vec<Candidate> = neighbours
            .map(|(n, link)| Candidate {
                link: self.link_id(n),
                remote: address(link.other).into(),
                round_trip: None,
                degree: link.degree,
                ttl_max: link.max_ttl.min(world.setup.preset.ttl),
                matches: matches(link.end).unwrap_or(false),
                again: true,
            })
            .collect();
        if !candidates.is_empty() {
            let first = world.dice.below(candidates.len());
            candidates.rotate_left(first);
        }
        candidates
    }

    fn put(&self, world: &mut Shard, ask: Ask, guid: Guid, payload: &[u8]) {
        let Some(n) = self.by_id(ask.link) else { return };
        let header = Header { guid, kind: Kind::QUERY, ttl: ask.ttl, hops: 1, len: 0 };
        world.send(self.links[n].end, &message(header, payload));
    }

    fn wake_for_dynamic(&mut self, world: &mut Shard, due: Instant) {
        let now = self.time(world);
        let Some(router) = &mut self.router else { return };
        if router.dynamic_timer.is_none_or(|at| at > due) {
            router.dynamic_timer = Some(due);
            world.timer(self.node, due.0.saturating_sub(now.0), Timer::Dynamic);
        }
    }

    /// Takes the steps that are due.
    pub(super) fn dynamic_due(&mut self, world: &mut Shard) {
        let now = self.time(world);
        let Some(router) = &mut self.router else { return };
        router.dynamic_timer = None;
        let mut queries = std::mem::take(&mut router.dynamic);
        queries.retain_mut(|query| {
            if query.due > now {
                return true;
            }
            if query.leaf != OURSELVES && self.by_id(query.leaf).is_none() {
                return false;
            }
            let hashes = Query::parse(&query.payload).map(|q| Hashes::of(&q)).unwrap_or_default();
            let candidates = self.candidates(world, &self.look_up(hashes));
            match query.step(now, &candidates) {
                Ok(ask) => {
                    self.put(world, ask, query.guid, &query.payload);
                    true
                }
                Err(_) => false,
            }
        });
        let next = queries.iter().map(|q| q.due).min();
        if let Some(router) = &mut self.router {
            router.dynamic = queries;
        }
        if let Some(due) = next {
            self.wake_for_dynamic(world, due);
        }
    }
}
