//! Query routing tables in and out.

use super::VirtualPeer;
use super::work::{ROW_WORK, SLOTS_A_UNIT};
use crate::application::monitoring::DropReason;
use crate::application::query_routing::matrix::SLOT_BITS;
use crate::gnutella::qrp::Progress;
use crate::gnutella::{Guid, Header, Kind};
use crate::link::dispatch::Outgoing;
use crate::link::{Ending, Role};

/// RESETs and whole PATCHes that a peer may send at first...
const UPDATES_BURST: u64 = 16;
/// A PATCH of a table counts once more for each so many slots.
const UPDATE_SLOTS_LOG2: u8 = 18;
/// ...and one more for each so many seconds. Real peers send one in some minutes; each may cost a millisecond.
const UPDATE_SECONDS: u64 = 2;

impl VirtualPeer {
    /// A RESET or PATCH came in.
    pub(super) fn table_update(&mut self, index: u32, payload: &[u8]) -> Result<(), Ending> {
        let Some(relation) = self.table.get_mut(index) else { return Ok(()) };
        let tables = match relation.link.terms.role {
            Role::Leaf => &mut self.leaf_tables,
            Role::Ultrapeer => &mut self.neighbour_tables,
            Role::Old => {
                self.monitor.dropped(Kind::QRP, DropReason::Unknown);
                return Ok(());
            }
        };
        let column = match relation.column {
            Some(column) => column,
            None => {
                let Some(column) = tables.insert(index) else {
                    self.monitor.dropped(Kind::QRP, DropReason::Throttled);
                    return Ok(());
                };
                relation.column = Some(column);
                column
            }
        };
        let progress = relation.receiver.receive(payload, &mut tables.table(column));
        let log2 = relation.receiver.log2().unwrap_or(SLOT_BITS);
        let (updates, rows) = match progress {
            Ok(Progress::Partial) => return Ok(()),
            Ok(Progress::Reset(_)) => (1, 0),
            Ok(Progress::Applied { changed }) => {
                (1 + (1 << log2 >> UPDATE_SLOTS_LOG2), changed << SLOT_BITS.saturating_sub(log2))
            }
            Err(_) => return Err(Ending::BadRoutingTable),
        };
        relation.table_updates += updates;
        self.work.spend(rows * ROW_WORK + (1 << log2.max(SLOT_BITS)) / SLOTS_A_UNIT);
        let may = UPDATES_BURST + relation.link.age(self.now).as_secs() / UPDATE_SECONDS;
        if u64::from(relation.table_updates) > may { Err(Ending::BadRoutingTable) } else { Ok(()) }
    }

    /// Tells a new neighbour what the leaves have.
    pub(super) fn send_whole_table(&mut self, index: u32) {
        let Some(relation) = self.table.get_mut(index) else { return };
        for payload in self.published.whole() {
            let header = update_header(Guid::random(&mut self.rng));
            self.dispatch.send(&mut relation.link, &mut Outgoing::signal(&header, payload));
        }
    }

    /// Tells all neighbours what has changed.
    pub(super) fn publish_table(&mut self) {
        for payload in self.published.update(self.now, &self.leaf_tables) {
            let header = update_header(Guid::random(&mut self.rng));
            let mut message = Outgoing::signal(&header, &payload);
            for i in 0..self.table.neighbours().len() {
                let index = self.table.neighbours()[i];
                let Some(relation) = self.table.get_mut(index) else { continue };
                if relation.link.terms.routes_queries() {
                    self.dispatch.add(&mut relation.link, &mut message);
                }
            }
            self.dispatch.finish(&message);
        }
    }
}

fn update_header(guid: Guid) -> Header {
    Header { guid, kind: Kind::QRP, ttl: 1, hops: 0, len: 0 }
}
