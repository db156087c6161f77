//! Queries to the leaves and neighbours that may answer.

use super::VirtualPeer;
use super::work::COPY_WORK;
use crate::application::monitoring::DropReason;
use crate::application::routes::LinkId;
use crate::gnutella::qrp::Hashes;
use crate::gnutella::query::{Flags, Query};
use crate::gnutella::{HEADER_LEN, Header, Kind};
use crate::link::dispatch::{Outgoing, Sent};
use crate::link::{Ending, Role};

/// No message has made, or may yet make, more hops.
pub(super) const HOPS_HARD_MAX: u8 = 15;

impl VirtualPeer {
    /// A query came in.
    pub(super) fn query(&mut self, index: u32, header: Header, payload: &[u8]) -> Result<(), Ending> {
        let Some(relation) = self.table.get(index) else { return Ok(()) };
        let (id, role) = (relation.id, relation.link.terms.role);
        if role == Role::Leaf && header.hops > 0 {
            return Err(Ending::Violation);
        }
        if relation.link.flow.is_controlled() {
            // Its hits could not be taken back.
            self.monitor.dropped(Kind::QUERY, DropReason::Congested);
            return Ok(());
        }
        if header.ttl == 0 || header.ttl > HOPS_HARD_MAX || header.hops > HOPS_HARD_MAX {
            self.monitor.dropped(Kind::QUERY, DropReason::Hops);
            return Ok(());
        }
        let Some(query) = Query::parse(payload) else {
            self.monitor.dropped(Kind::QUERY, DropReason::Malformed);
            return Ok(());
        };
        if query.is_index() {
            // It asks for all that we share ourselves, which is nothing.
            self.monitor.dropped(Kind::QUERY, DropReason::Unknown);
            return Ok(());
        }
        let repeated = match self.query_routes.learn(self.now, header.guid, id, header.ttl) {
            None => false,
            // The neighbour extends its search (X-Ext-Probes).
            Some(known) if role.is_neighbour() && known.link == id && header.ttl > known.ttl => {
                known.ttl = header.ttl;
                true
            }
            Some(_) => {
                self.monitor.dropped(Kind::QUERY, DropReason::Duplicate);
                return Ok(());
            }
        };
        let hashes = Hashes::of(&query);
        if role == Role::Leaf {
            self.leaf_query(id, header, payload, query.flags, &hashes);
        } else {
            if !repeated {
                self.offer_to_leaves(id, &header, payload, &hashes);
            }
            self.offer_to_neighbours(id, &header, payload, &hashes);
        }
        Ok(())
    }

    /// A leaf's own query: the flags are put right before it goes anywhere.
    fn leaf_query(&mut self, leaf: LinkId, header: Header, payload: &[u8], flags: Flags, hashes: &Hashes) {
        let right = leaf_flags(flags);
        if right == flags {
            self.offer_to_leaves(leaf, &header, payload, hashes);
            self.begin_dynamic(leaf, header.guid, payload, flags, hashes);
            return;
        }
        let mut changed = std::mem::take(&mut self.scratch);
        changed.clear();
        changed.extend_from_slice(&right.0.to_be_bytes());
        changed.extend_from_slice(payload.get(2..).unwrap_or_default());
        self.offer_to_leaves(leaf, &header, &changed, hashes);
        self.begin_dynamic(leaf, header.guid, &changed, right, hashes);
        self.scratch = changed;
    }

    /// To the leaves that may answer, whatever the TTL.
    fn offer_to_leaves(&mut self, from: LinkId, header: &Header, payload: &[u8], hashes: &Hashes) {
        let mut targets = std::mem::take(&mut self.targets);
        targets.clear();
        self.leaf_tables.matching(hashes, |leaf| targets.push(leaf));
        targets.extend_from_slice(self.table.blind_leaves());
        let header = Header { ttl: header.ttl.saturating_sub(1).max(1), hops: header.hops + 1, ..*header };
        self.relay(from, &targets, &header, payload);
        self.targets = targets;
    }

    /// To the neighbours, while there are hops left; as the last hop only to those that may answer.
    fn offer_to_neighbours(&mut self, from: LinkId, header: &Header, payload: &[u8], hashes: &Hashes) {
        // The hop from a leaf to its ultrapeer does not count.
        let left = (header.ttl - 1).min((self.config.max_ttl + 1).saturating_sub(header.hops + 1));
        if left == 0 {
            return;
        }
        let mut targets = std::mem::take(&mut self.targets);
        targets.clear();
        if left > 1 {
            targets.extend_from_slice(self.table.neighbours());
        } else {
            self.neighbour_tables.matching(hashes, |neighbour| targets.push(neighbour));
            let blind = |i: &u32| self.table.get(*i).is_some_and(|r| r.column.is_none());
            targets.extend(self.table.neighbours().iter().copied().filter(blind));
        }
        let header = Header { ttl: left, hops: header.hops + 1, ..*header };
        self.relay(from, &targets, &header, payload);
        self.targets = targets;
    }

    /// One message to many links, but not back to where it came from.
    fn relay(&mut self, from: LinkId, targets: &[u32], header: &Header, payload: &[u8]) {
        let mut message = Outgoing::relayed(header, payload);
        let mut copies = 0;
        for target in targets {
            if *target == from.index {
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

/// A leaf's flags, as they are passed on. Without the mark they were a minimum speed, which nobody heeds and strict peers
/// drop. Hits come back over this peer, so none are to be sent to an address that is in the GUID only by chance.
fn leaf_flags(flags: Flags) -> Flags {
    if flags.is_marked() { Flags(flags.0 & !Flags::OUT_OF_BAND) } else { Flags(Flags::MARK) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_old_leaves_are_marked_and_out_of_band_hits_declined() {
        assert_eq!(leaf_flags(Flags(0x0000)), Flags(0x8000));
        assert_eq!(leaf_flags(Flags(0x0040)), Flags(0x8000));
        assert_eq!(leaf_flags(Flags(0xbc00)), Flags(0xb800));
        assert_eq!(leaf_flags(Flags(0xb900)), Flags(0xb900));
    }
}
