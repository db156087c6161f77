//! Query routing tables in and out.

use super::VirtualPeer;
use crate::application::monitoring::DropReason;
use crate::gnutella::{Guid, Header, Kind};
use crate::link::dispatch::Outgoing;
use crate::link::{Ending, Role};

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
        match relation.receiver.receive(payload, &mut tables.table(column)) {
            Ok(_) => Ok(()),
            Err(_) => Err(Ending::BadRoutingTable),
        }
    }

    /// Tells a new neighbour what the leaves have.
    pub(super) fn send_whole_table(&mut self, index: u32) {
        let Some(relation) = self.table.get_mut(index) else { return };
        for payload in self.published.whole() {
            let header = update_header(Guid::random(&mut self.rng));
            self.dispatch.send(&mut relation.link, &mut Outgoing::signal(&header, &payload));
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
