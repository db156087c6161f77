//! What the policy asks of peers beside their messages: where neighbours are, how links do. Once a second, and with each
//! generation.

use super::VirtualPeer;
use super::table::Relation;
use crate::application::policy::{Measured, Plan};
use crate::host::{ConnId, Host, Instant};

/// Links that the policy hears of in one crossing.
const TOLD_MAX: usize = 1_024;

impl VirtualPeer {
    /// Learns where neighbours are, says how links do, and learns what they cost, as far as the policy asks for it.
    pub(super) fn survey(&mut self, host: &mut impl Host) {
        let Plan { regions, links, .. } = self.forwarding.plan;
        if !self.policing.is_on() || !(regions || links) {
            return;
        }
        let Some(policy) = host.policy() else { return };
        if regions {
            let some = self.table.neighbours().to_vec();
            let conns: Vec<ConnId> =
                some.iter().filter_map(|i| self.table.get(*i)).map(|r| r.link.conn).collect();
            for (index, region) in some.into_iter().zip(policy.regions(&conns)) {
                if let Some(relation) = self.table.get_mut(index) {
                    relation.policed.get_or_insert_default().region = region;
                }
            }
        }
        if links {
            for some in self.table.indices().chunks(TOLD_MAX) {
                let relations = some.iter().filter_map(|i| self.table.get(*i));
                let told: Vec<Measured> = relations.map(|relation| measured(relation, self.now)).collect();
                for (index, cost) in some.iter().zip(policy.measured(&told)) {
                    if let Some(relation) = self.table.get_mut(*index) {
                        relation.policed.get_or_insert_default().cost = cost;
                    }
                }
            }
        }
    }
}

fn measured(relation: &Relation, now: Instant) -> Measured {
    let (link, monitor) = (&relation.link, &relation.link.monitor);
    Measured {
        conn: link.conn,
        round_trip: monitor.round_trip.smoothed(),
        loss: monitor.loss(),
        load: link.flow.fill(),
        bytes_s: monitor.sent.bytes_per_second(now).max(monitor.received.bytes_per_second(now)),
    }
}
