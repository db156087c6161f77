//! Hits and pushes, back along their routes.

use super::VirtualPeer;
use super::queries::HOPS_HARD_MAX;
use crate::application::monitoring::DropReason;
use crate::application::routes::LinkId;
use crate::gnutella::hit::QueryHit;
use crate::gnutella::push::Push;
use crate::gnutella::{Guid, HEADER_LEN, Header, Kind};
use crate::link::Role;
use crate::link::dispatch::{Outgoing, Sent};

/// TTL that a leaf's answer leaves with: some leaves give too little for the way back.
const LEAF_ANSWER_TTL: u8 = 7;

/// A hit without files.
const HIT_BYTES_MIN: usize = 27;
/// A file without a name: index, size, two NULs.
const RECORD_BYTES_MIN: usize = 10;

impl VirtualPeer {
    /// A query hit came in: back to where the query came from.
    pub(super) fn hit(&mut self, index: u32, header: Header, payload: &[u8]) {
        let Some(relation) = self.table.get(index) else { return };
        let (id, role) = (relation.id, relation.link.terms.role);
        let Some(header) = self.answer_header(role, header) else { return };
        let Some(hit) = QueryHit::parse(payload) else {
            self.monitor.dropped(Kind::QUERY_HIT, DropReason::Malformed);
            return;
        };
        let Some(route) = self.query_routes.get(header.guid).filter(|route| route.link != id) else {
            self.monitor.dropped(Kind::QUERY_HIT, DropReason::NoRoute);
            return;
        };
        // A hit that says more than it has ends no search.
        let files = usize::from(hit.count).min((payload.len() - HIT_BYTES_MIN) / RECORD_BYTES_MIN) as u16;
        let first = route.hits == 0;
        route.hits = route.hits.saturating_add(files);
        let route = *route;
        if first && files > 0 {
            self.monitor.responded(self.query_routes.since(&route, self.now));
        }
        if route.dynamic
            && let Some(query) = self.dynamic.get_mut(header.guid)
        {
            query.found(files.into());
        }
        if let Some(routing) = self.routing.as_mut().filter(|_| role.is_neighbour()) {
            routing.answered(id, files);
        }
        if hit.servent != Guid::ZERO && self.table.by_servent(hit.servent) != Some(id) {
            let table = &self.table;
            self.push_routes.hit(self.now, hit.servent, id, |link| table.lives(link));
        }
        self.answer(route.link, header, payload);
    }

    /// A push came in: on to the servent that it names, by each way that is known.
    pub(super) fn push(&mut self, index: u32, header: Header, payload: &[u8]) {
        let Some(relation) = self.table.get(index) else { return };
        let (id, role) = (relation.id, relation.link.terms.role);
        let Some(header) = self.answer_header(role, header) else { return };
        let Some(push) = Push::parse(payload) else {
            self.monitor.dropped(Kind::PUSH, DropReason::Malformed);
            return;
        };
        let known = self.push_routes.get(push.servent).map(|route| route.links().map(Some));
        let [first, latest] = known.unwrap_or_default();
        let mut ways = [self.table.by_servent(push.servent), first, latest];
        let mut found = false;
        for i in 0..ways.len() {
            let Some(way) = ways[i].take() else { continue };
            if way != id && !ways[i..].contains(&Some(way)) && self.table.lives(way) {
                found = true;
                self.answer(way, header, payload);
            }
        }
        if !found {
            self.monitor.dropped(Kind::PUSH, DropReason::NoRoute);
        }
    }

    /// The header of an answer that may travel on; a leaf's TTL is raised. A TTL that is used up is enough for a leaf, and
    /// one beyond all bounds is cut: an answer goes one way only.
    fn answer_header(&mut self, role: Role, header: Header) -> Option<Header> {
        if header.hops >= HOPS_HARD_MAX {
            self.monitor.dropped(header.kind, DropReason::Hops);
            return None;
        }
        let least = if role == Role::Leaf { LEAF_ANSWER_TTL } else { 0 };
        Some(Header { ttl: header.ttl.max(least).min(HOPS_HARD_MAX - header.hops), ..header })
    }

    /// Sends an answer one hop on.
    pub(super) fn answer(&mut self, to: LinkId, header: Header, payload: &[u8]) {
        let Some(relation) = self.table.by_id(to) else {
            self.monitor.dropped(header.kind, DropReason::NoRoute);
            return;
        };
        let mut ttl = header.ttl.saturating_sub(1);
        if relation.link.terms.role == Role::Leaf {
            // It has arrived; no TTL is too low for that.
            ttl = ttl.max(1);
        } else if ttl == 0 {
            self.monitor.dropped(header.kind, DropReason::Hops);
            return;
        }
        let header = Header { ttl, hops: header.hops + 1, ..header };
        if !self.may_go(to.index, header, payload) {
            return;
        }
        let Some(relation) = self.table.by_id(to) else { return };
        match self.dispatch.send(&mut relation.link, &mut Outgoing::relayed(&header, payload)) {
            Sent::Now | Sent::Waits => self.monitor.relayed(header.kind, 1, HEADER_LEN + payload.len()),
            Sent::Dropped(_) | Sent::Overflow => self.monitor.dropped(header.kind, DropReason::Congested),
        }
    }
}
