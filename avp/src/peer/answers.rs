//! Hits and pushes, back along their routes.

use super::VirtualPeer;
use super::queries::HOPS_HARD_MAX;
use crate::application::monitoring::DropReason;
use crate::application::routes::LinkId;
use crate::gnutella::hit::QueryHit;
use crate::gnutella::push::Push;
use crate::gnutella::{Guid, HEADER_LEN, Header, Kind};
use crate::link::dispatch::{Outgoing, Sent};
use crate::link::{Ending, Role};

/// TTL that a leaf's hit leaves with: some leaves give too little for the way back.
const LEAF_HIT_TTL: u8 = 7;

/// A hit without files.
const HIT_BYTES_MIN: usize = 27;
/// A file without a name: index, size, two NULs.
const RECORD_BYTES_MIN: usize = 10;

impl VirtualPeer {
    /// A query hit came in: back to where the query came from.
    pub(super) fn hit(&mut self, index: u32, header: Header, payload: &[u8]) -> Result<(), Ending> {
        let Some(relation) = self.table.get(index) else { return Ok(()) };
        let (id, role) = (relation.id, relation.link.terms.role);
        let Some(header) = self.answer_header(role, header, LEAF_HIT_TTL)? else { return Ok(()) };
        let Some(hit) = QueryHit::parse(payload) else {
            self.monitor.dropped(Kind::QUERY_HIT, DropReason::Malformed);
            return Ok(());
        };
        let Some(route) = self.query_routes.get(header.guid) else {
            self.monitor.dropped(Kind::QUERY_HIT, DropReason::NoRoute);
            return Ok(());
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
        if hit.servent != Guid::ZERO && self.table.by_servent(hit.servent).is_none() {
            self.push_routes.refresh(self.now, hit.servent, id);
        }
        self.answer(route.link, header, payload);
        Ok(())
    }

    /// A push came in: on to the servent that it names.
    pub(super) fn push(&mut self, index: u32, header: Header, payload: &[u8]) -> Result<(), Ending> {
        let Some(relation) = self.table.get(index) else { return Ok(()) };
        let role = relation.link.terms.role;
        let Some(header) = self.answer_header(role, header, LEAF_HIT_TTL)? else { return Ok(()) };
        let Some(push) = Push::parse(payload) else {
            self.monitor.dropped(Kind::PUSH, DropReason::Malformed);
            return Ok(());
        };
        let route = self
            .table
            .by_servent(push.servent)
            .or_else(|| self.push_routes.get(push.servent).map(|r| r.link))
            .filter(|to| to.index != index);
        match route {
            Some(to) => self.answer(to, header, payload),
            None => self.monitor.dropped(Kind::PUSH, DropReason::NoRoute),
        }
        Ok(())
    }

    /// Checks hops and TTL, and raises a leaf's TTL.
    fn answer_header(&mut self, role: Role, header: Header, leaf_ttl: u8) -> Result<Option<Header>, Ending> {
        if role == Role::Leaf {
            if header.hops > 0 {
                return Err(Ending::Violation);
            }
            return Ok(Some(Header { ttl: header.ttl.max(leaf_ttl).min(HOPS_HARD_MAX), ..header }));
        }
        if header.ttl == 0 || header.ttl > HOPS_HARD_MAX || header.hops > HOPS_HARD_MAX {
            self.monitor.dropped(header.kind, DropReason::Hops);
            return Ok(None);
        }
        Ok(Some(header))
    }

    /// Sends an answer one hop on.
    pub(super) fn answer(&mut self, to: LinkId, header: Header, payload: &[u8]) {
        let Some(relation) = self.table.by_id(to) else {
            self.monitor.dropped(header.kind, DropReason::NoRoute);
            return;
        };
        let mut ttl = header.ttl - 1;
        if relation.link.terms.role == Role::Leaf {
            // It has arrived; no TTL is too low for that.
            ttl = ttl.max(1);
        } else if ttl == 0 {
            self.monitor.dropped(header.kind, DropReason::Hops);
            return;
        }
        let header = Header { ttl, hops: header.hops + 1, ..header };
        match self.dispatch.send(&mut relation.link, &mut Outgoing::relayed(&header, payload)) {
            Sent::Now | Sent::Waits => self.monitor.relayed(header.kind, 1, HEADER_LEN + payload.len()),
            Sent::Dropped(_) | Sent::Overflow => self.monitor.dropped(header.kind, DropReason::Congested),
        }
    }
}
