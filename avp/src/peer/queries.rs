//! Queries to the leaves and neighbours that may answer.

use super::VirtualPeer;
use super::work::COPY_WORK;
use crate::application::dynamic_query::Candidate;
use crate::application::forward::Forward;
use crate::application::monitoring::DropReason;
use crate::application::routes::LinkId;
use crate::gnutella::qrp::Hashes;
use crate::gnutella::query::{Flags, Query};
use crate::gnutella::{HEADER_LEN, Header, Kind};
use crate::link::Role;
use crate::link::dispatch::{Outgoing, Sent};

/// No message has made, or may yet make, more hops.
pub(super) const HOPS_HARD_MAX: u8 = 15;

impl VirtualPeer {
    /// A query came in; `forward` is what the shell's policy says about its way, where it has a word.
    pub(super) fn query(&mut self, index: u32, header: Header, payload: &[u8], forward: Option<Forward>) {
        let Some(relation) = self.table.get(index) else { return };
        let (id, role) = (relation.id, relation.link.terms.role);
        if relation.link.flow.is_controlled() {
            // Its hits could not be taken back.
            self.monitor.dropped(Kind::QUERY, DropReason::Congested);
            return;
        }
        if header.ttl == 0 || header.ttl > HOPS_HARD_MAX || header.hops > HOPS_HARD_MAX {
            self.monitor.dropped(Kind::QUERY, DropReason::Hops);
            return;
        }
        let Some(query) = Query::parse(payload) else {
            self.monitor.dropped(Kind::QUERY, DropReason::Malformed);
            return;
        };
        if query.is_index() {
            // It asks for all that we share ourselves, which is nothing.
            self.monitor.dropped(Kind::QUERY, DropReason::Unknown);
            return;
        }
        // How far a leaf's query goes is not for its TTL to say, nor for those to whom it is put.
        let reach = if role == Role::Leaf { u8::MAX } else { self.hops_left(&header) + 1 };
        let extended = match self.query_routes.learn_query(self.now, header.guid, id, reach) {
            None => None,
            // It goes farther than before (X-Ext-Probes).
            Some(known) if role.is_neighbour() && reach > known.ttl => {
                known.ttl = reach;
                Some(known.link)
            }
            Some(_) => {
                self.monitor.dropped(Kind::QUERY, DropReason::Duplicate);
                return;
            }
        };
        let (hashes, flags) = (Hashes::of(&query), flags_to_pass_on(query.flags, role));
        if flags == query.flags {
            let asked = Asked { from: id, extended, header, flags, payload, hashes: &hashes, forward };
            return self.pass_on(&asked, role);
        }
        let mut changed = std::mem::take(&mut self.scratch);
        changed.clear();
        changed.extend_from_slice(&flags.0.to_be_bytes());
        changed.extend_from_slice(payload.get(2..).unwrap_or_default());
        let asked = Asked { from: id, extended, header, flags, payload: &changed, hashes: &hashes, forward };
        self.pass_on(&asked, role);
        self.scratch = changed;
    }

    fn pass_on(&mut self, asked: &Asked<'_>, role: Role) {
        if asked.extended.is_none() {
            self.offer_to_leaves(asked);
        }
        if role == Role::Leaf {
            self.begin_dynamic(asked);
        } else {
            self.offer_to_neighbours(asked);
        }
    }

    /// With which TTL a query of a neighbour goes on; 0 where it has arrived. The hop from a leaf to its ultrapeer does not
    /// count.
    fn hops_left(&self, header: &Header) -> u8 {
        (header.ttl - 1).min(self.max_ttl().saturating_sub(header.hops))
    }

    /// To the leaves that may answer, whatever the TTL.
    fn offer_to_leaves(&mut self, asked: &Asked<'_>) {
        let mut targets = std::mem::take(&mut self.targets);
        targets.clear();
        self.leaf_tables.matching(asked.hashes, |leaf| targets.push(leaf));
        targets.extend_from_slice(self.table.blind_leaves());
        self.relay(asked, (asked.header.ttl - 1).max(1), &targets);
        self.targets = targets;
    }

    /// To the neighbours, while there are hops left; as the last hop only to those that may answer.
    fn offer_to_neighbours(&mut self, asked: &Asked<'_>) {
        let left = self.hops_left(&asked.header);
        let left = asked.forward.map_or(left, |forward| left.min(forward.ttl));
        if left == 0 {
            return;
        }
        if self.routing.is_some() || asked.forward.is_some() {
            return self.offer_to_chosen(asked, left);
        }
        let mut targets = std::mem::take(&mut self.targets);
        targets.clear();
        if left > 1 {
            targets.extend_from_slice(self.table.neighbours());
        } else {
            self.neighbour_tables.matching(asked.hashes, |neighbour| targets.push(neighbour));
            let blind = |i: &u32| self.table.get(*i).is_some_and(|r| r.column.is_none());
            targets.extend(self.table.neighbours().iter().copied().filter(blind));
        }
        self.relay(asked, left, &targets);
        self.targets = targets;
    }

    /// To the neighbours that the routing and the policy choose, of those that could get the query without them.
    fn offer_to_chosen(&mut self, asked: &Asked<'_>, left: u8) {
        let mut candidates = self.neighbours_for(asked.hashes);
        let blind = |c: &Candidate| self.table.get(c.link.index).is_some_and(|r| r.column.is_none());
        candidates.retain(|c| c.link != asked.from && (left > 1 || c.matches || blind(c)));
        self.choose(asked.from, asked.header.guid, asked.payload, false, &mut candidates);
        if let Some(forward) = &asked.forward {
            self.shuffle(&mut candidates);
            self.obey(forward, &mut candidates);
            candidates.truncate(forward.fanout.into());
        }
        let mut targets = std::mem::take(&mut self.targets);
        targets.clear();
        for candidate in candidates.drain(..) {
            if self.table.lives(candidate.link) && !targets.contains(&candidate.link.index) {
                targets.push(candidate.link.index);
            }
        }
        self.relay(asked, left, &targets);
        (self.targets, self.candidates) = (targets, candidates);
    }

    /// One message to many links, but not back to where it came from.
    fn relay(&mut self, asked: &Asked<'_>, ttl: u8, targets: &[u32]) {
        let Asked { from, extended, ref header, payload, .. } = *asked;
        let header = Header { ttl, hops: header.hops + 1, ..*header };
        let before = extended.filter(|link| self.table.lives(*link)).unwrap_or(from);
        let mut message = Outgoing::relayed(&header, payload);
        let mut copies = 0;
        for target in targets {
            if *target == from.index || *target == before.index {
                continue;
            }
            if !self.may_go(*target, header, payload) {
                continue;
            }
            let Some(relation) = self.table.get_mut(*target) else { continue };
            self.work.spend(COPY_WORK);
            match self.dispatch.add(&mut relation.link, &mut message) {
                Sent::Now | Sent::Waits => copies += 1,
                Sent::Dropped(_) | Sent::Overflow => self.monitor.dropped(header.kind, DropReason::Congested),
            }
        }
        if copies > 0 {
            self.dispatch.finish(&message);
            self.monitor.relayed(header.kind, copies, HEADER_LEN + payload.len());
        }
    }
}

/// A query on its way through.
pub(super) struct Asked<'a> {
    /// Where it comes from.
    pub(super) from: LinkId,
    /// Where it came from at first, if it has come before and now goes farther.
    extended: Option<LinkId>,
    /// As it arrived.
    pub(super) header: Header,
    pub(super) flags: Flags,
    /// As it goes on.
    pub(super) payload: &'a [u8],
    pub(super) hashes: &'a Hashes,
    /// What the shell's policy says about its way.
    pub(super) forward: Option<Forward>,
}

/// The flags with which a query goes on. Without the mark they were a minimum speed, which nobody heeds and strict peers
/// drop. Hits for a leaf come back over this peer, so none are to be sent to an address that is in the GUID only by
/// chance.
fn flags_to_pass_on(flags: Flags, from: Role) -> Flags {
    match from {
        _ if !flags.is_marked() => Flags(Flags::MARK),
        Role::Leaf => Flags(flags.0 & !Flags::OUT_OF_BAND),
        Role::Ultrapeer | Role::Old => flags,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_old_peers_are_marked_and_out_of_band_hits_declined_for_leaves() {
        let leaf = |flags| flags_to_pass_on(Flags(flags), Role::Leaf).0;
        assert_eq!((leaf(0x0000), leaf(0x0040)), (0x8000, 0x8000));
        assert_eq!((leaf(0xbc00), leaf(0xb900)), (0xb800, 0xb900));
        let ultrapeer = |flags| flags_to_pass_on(Flags(flags), Role::Ultrapeer).0;
        assert_eq!((ultrapeer(0x0000), ultrapeer(0xbc00)), (0x8000, 0xbc00));
    }
}
