//! Queries of leaves, put to one neighbour after the other.

use super::VirtualPeer;
use super::forwarding::Course;
use super::queries::Asked;
use crate::application::dynamic_query::{Ask, Candidate, DynamicQuery, End};
use crate::application::forward::Forward;
use crate::application::monitoring::DropReason;
use crate::application::routes::LinkId;
use crate::application::routing::Routed;
use crate::gnutella::qrp::Hashes;
use crate::gnutella::query::{Flags, Query};
use crate::gnutella::{Guid, HEADER_LEN, Header, Kind};
use crate::host::Host;
use crate::link::dispatch::{Outgoing, Sent};
use crate::link::{Features, Support};

impl VirtualPeer {
    /// A leaf asks the overlay.
    pub(super) fn begin_dynamic(&mut self, asked: &Asked<'_>) {
        let Asked { from: leaf, flags, payload, hashes, forward, .. } = *asked;
        let guid = asked.header.guid;
        if self.table.neighbours().is_empty() || hashes.is_empty() {
            return;
        }
        if !self.dynamic.has_room(leaf, guid) {
            self.monitor.dropped(Kind::QUERY, DropReason::Throttled);
            return;
        }
        let guided = flags.has(Flags::LEAF_GUIDED)
            && self.table.by_id(leaf).is_some_and(|r| r.link.support.has(Support::QUERY_STATUS_REQUEST));
        let wanted = self.config.query_results.into();
        let mut query = DynamicQuery::new(guid, leaf, payload, guided, wanted, self.now);
        let mut candidates = self.candidates(hashes);
        self.choose(leaf, guid, payload, true, &mut candidates);
        if let Some(forward) = &forward {
            self.obey(forward, &mut candidates);
            query.limit(forward.fanout, &mut candidates);
        }
        query.course = Some((self.policing.generation(), forward));
        let mut asks = std::mem::take(&mut self.asks);
        query.probe(self.now, &candidates, &mut asks);
        for ask in asks.drain(..) {
            self.put(ask, guid, payload);
        }
        self.asks = asks;
        self.candidates = candidates;
        self.dynamic.begin(query);
        if let Some(route) = self.query_routes.get(guid) {
            route.dynamic = true;
        }
    }

    /// Takes the steps that are due.
    pub(super) fn dynamic_due(&mut self, host: &mut impl Host) {
        while let Some(guid) = self.dynamic.next_due(self.now) {
            self.dynamic_step(guid, host);
        }
    }

    /// What the policy in force says about a query that is under way; none where it may go no further.
    fn course(&mut self, guid: Guid, host: &mut impl Host) -> Option<Option<Forward>> {
        if !self.forwards_by_policy() {
            return Some(None);
        }
        let generation = self.policing.generation();
        let query = self.dynamic.get_mut(guid)?;
        if let Some((_, forward)) = query.course.filter(|(asked, _)| *asked == generation) {
            return Some(forward);
        }
        let (leaf, payload) = (query.leaf, query.payload.clone());
        let course = self.course_of_leaf(leaf, &payload, host);
        if course == Course::Refused {
            return None;
        }
        self.dynamic.get_mut(guid)?.course = Some((generation, course.forward()));
        Some(course.forward())
    }

    fn dynamic_step(&mut self, guid: Guid, host: &mut impl Host) {
        let Some(forward) = self.course(guid, host) else {
            return self.dynamic.end(guid, End::Exhausted);
        };
        let Some(query) = self.dynamic.get_mut(guid) else { return };
        let payload = std::mem::take(&mut query.payload);
        let (leaf, ask_leaf) = (query.leaf, query.should_ask_leaf());
        let hashes = Query::parse(&payload).map(|q| Hashes::of(&q)).unwrap_or_default();
        let mut candidates = self.candidates(&hashes);
        self.choose(leaf, guid, &payload, true, &mut candidates);
        if let Some(forward) = &forward {
            self.obey(forward, &mut candidates);
            if let Some(query) = self.dynamic.get_mut(guid) {
                query.limit(forward.fanout, &mut candidates);
            }
        }
        let now = self.now;
        if let Some(ask) = self.dynamic.step(guid, |q| q.step(now, &candidates)) {
            self.put(ask, guid, &payload);
            if ask_leaf {
                self.ask_for_query_status(leaf, guid);
            }
            if let Some(query) = self.dynamic.get_mut(guid) {
                query.payload = payload;
            }
        }
        self.candidates = candidates;
    }

    /// The neighbours that can be asked, from a random one on.
    fn candidates(&mut self, hashes: &Hashes) -> Vec<Candidate> {
        let mut candidates = self.neighbours_for(hashes);
        self.shuffle(&mut candidates);
        candidates
    }

    /// Lets the routing choose, where there is one.
    pub(super) fn choose(
        &mut self,
        from: LinkId,
        guid: Guid,
        payload: &[u8],
        from_leaf: bool,
        candidates: &mut Vec<Candidate>,
    ) {
        if let (Some(routing), Some(query)) = (&mut self.routing, Query::parse(payload)) {
            routing.choose(&Routed { guid, query, from, from_leaf }, candidates);
        }
    }

    /// The neighbours that are not held back by flow control.
    pub(super) fn neighbours_for(&mut self, hashes: &Hashes) -> Vec<Candidate> {
        let mut candidates = std::mem::take(&mut self.candidates);
        candidates.clear();
        let mut matching = std::mem::take(&mut self.targets);
        matching.clear();
        self.neighbour_tables.matching(hashes, |neighbour| matching.push(neighbour));
        matching.sort_unstable();
        let max_ttl = self.max_ttl();
        for index in self.table.neighbours() {
            let Some(relation) = self.table.get(*index) else { continue };
            let (link, terms) = (&relation.link, &relation.link.terms);
            if link.flow.is_controlled() {
                continue;
            }
            candidates.push(Candidate {
                link: relation.id,
                remote: link.remote,
                round_trip: link.monitor.round_trip.smoothed(),
                degree: terms.degree,
                ttl_max: terms.max_ttl.min(max_ttl),
                matches: matching.binary_search(index).is_ok(),
                again: terms.features.has(Features::EXTENDED_PROBES),
            });
        }
        self.targets = matching;
        candidates
    }

    fn put(&mut self, ask: Ask, guid: Guid, payload: &[u8]) {
        let header = Header { guid, kind: Kind::QUERY, ttl: ask.ttl, hops: 1, len: 0 };
        if !self.table.lives(ask.link) || !self.may_go(ask.link.index, header, payload) {
            return;
        }
        let Some(relation) = self.table.by_id(ask.link) else { return };
        match self.dispatch.send(&mut relation.link, &mut Outgoing::relayed(&header, payload)) {
            Sent::Now | Sent::Waits => self.monitor.relayed(Kind::QUERY, 1, HEADER_LEN + payload.len()),
            Sent::Dropped(_) | Sent::Overflow => self.monitor.dropped(Kind::QUERY, DropReason::Congested),
        }
    }

    /// A leaf says how many hits it has kept.
    pub(super) fn query_status(&mut self, leaf: LinkId, guid: Guid, hits: u16) {
        match self.dynamic.get_mut(guid) {
            Some(query) if query.leaf != leaf => {}
            Some(_) if hits == crate::gnutella::vendor::HITS_ENOUGH => self.dynamic.end(guid, End::Stopped),
            Some(query) => query.kept(hits),
            None => {}
        }
    }
}
