//! The table of relations: by connection, and by place.

mod saved;

use super::policing::Policed;
use crate::application::query_routing::matrix::Column;
use crate::application::routes::LinkId;
use crate::gnutella::Guid;
use crate::gnutella::qrp::Receiver;
use crate::host::{ConnId, Instant};
use crate::link::dispatch::Relations;
use crate::link::{Link, Role};
use crate::tables::{Hasher, Map};
use std::net::{IpAddr, SocketAddr};

/// Leaves without query routing that are sent queries, and all of them. Further ones are sent none.
const BLIND_LEAVES_MAX: usize = 64;

/// A link, and what the application layer keeps about the peer at its other end.
#[derive(Debug)]
pub(super) struct Relation {
    pub(super) link: Link,
    pub(super) id: LinkId,
    /// The peer's query routing table, once it has sent one.
    pub(super) column: Option<Column>,
    /// Reads the peer's query routing messages.
    pub(super) receiver: Receiver,
    /// RESETs and whole PATCHes that it has sent.
    pub(super) table_updates: u32,
    /// How many of them there were when a table was last found unfinished.
    pub(super) unfinished_table: Option<u32>,
    /// What it has sent and has to wait.
    pub(super) backlog: Vec<u8>,
    /// What [`Self::held_bytes`] was when it was last added to those of all others.
    pub(super) counted_bytes: usize,
    /// Whether the peer's bytes are to be handed to the shell, which inflates them from the next batch on.
    pub(super) inflating: bool,
    /// The servent GUID for which this peer is the way, whatever hits say.
    pub(super) servent: Option<Guid>,
    /// Whether it asked us to pass pushes on over HTTP as well.
    pub(super) push_proxy: bool,
    /// Where others can reach the peer.
    pub(super) address: Option<SocketAddr>,
    /// When pings of the peer are answered again from the cache.
    pub(super) pongs_from: Instant,
    /// When the peer may ask again for a connection back.
    pub(super) connect_back_from: Instant,
    /// What the shell's policy has settled about the peer, once it was asked.
    pub(super) policed: Option<Box<Policed>>,
}

impl Relation {
    /// Memory for what has come in of unfinished messages and tables, and for what has to wait, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        self.link.held_bytes() + self.receiver.held_bytes() + self.backlog.capacity()
    }

    /// Whether the table that is unfinished was so at the last look already.
    pub(super) fn is_table_unfinished(&mut self) -> bool {
        let now = (self.receiver.held_bytes() > 0).then_some(self.table_updates);
        let before = std::mem::replace(&mut self.unfinished_table, now);
        now.is_some() && now == before
    }
}

#[derive(Debug, Default)]
struct Place {
    serial: u32,
    relation: Option<Box<Relation>>,
}

/// All relations.
#[derive(Debug)]
pub(super) struct Table {
    places: Vec<Place>,
    free: Vec<u32>,
    by_conn: Map<ConnId, u32>,
    by_servent: Map<Guid, LinkId>,
    by_address: Map<SocketAddr, LinkId>,
    /// Places of those to which queries are passed on with a TTL: ultrapeers and old peers.
    neighbours: Vec<u32>,
    /// Places of leaves that know nothing of query routing, at most [`BLIND_LEAVES_MAX`].
    blind_leaves: Vec<u32>,
    counts: [u32; 3],
    from_address: Map<IpAddr, u32>,
}

impl Table {
    pub(super) fn new(hasher: &Hasher) -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            by_conn: Map::with_hasher(hasher.clone()),
            by_servent: Map::with_hasher(hasher.clone()),
            by_address: Map::with_hasher(hasher.clone()),
            neighbours: Vec::new(),
            blind_leaves: Vec::new(),
            counts: [0; 3],
            from_address: Map::with_hasher(hasher.clone()),
        }
    }

    /// Adds a relation and returns its place.
    pub(super) fn insert(&mut self, now: Instant, link: Link) -> u32 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            (self.places.len() - 1) as u32
        });
        let place = &mut self.places[index as usize];
        place.serial = place.serial.wrapping_add(1);
        let id = LinkId { index, serial: place.serial };
        let role = link.terms.role;
        self.counts[role as usize] += 1;
        *self.from_address.entry(link.remote.ip()).or_insert(0) += 1;
        if role.is_neighbour() {
            self.neighbours.push(index);
        } else if !link.terms.routes_queries() && self.blind_leaves.len() < BLIND_LEAVES_MAX {
            self.blind_leaves.push(index);
        }
        self.by_conn.insert(link.conn, index);
        let address = link.terms.reachable_at(link.remote);
        if let Some(address) = address {
            self.by_address.insert(address, id);
        }
        let servent = link.terms.guid;
        place.relation = Some(Box::new(Relation {
            link,
            id,
            column: None,
            receiver: Receiver::default(),
            table_updates: 0,
            unfinished_table: None,
            backlog: Vec::new(),
            counted_bytes: 0,
            inflating: false,
            servent: None,
            push_proxy: false,
            address,
            pongs_from: now,
            connect_back_from: now,
            policed: None,
        }));
        if let Some(servent) = servent {
            self.set_servent(index, servent);
        }
        index
    }

    /// Takes a relation out.
    pub(super) fn remove(&mut self, index: u32) -> Option<Box<Relation>> {
        let relation = self.places.get_mut(index as usize)?.relation.take()?;
        self.free.push(index);
        self.by_conn.remove(&relation.link.conn);
        let terms = &relation.link.terms;
        self.counts[terms.role as usize] -= 1;
        if terms.role.is_neighbour() {
            self.neighbours.retain(|i| *i != index);
        } else if !terms.routes_queries() {
            self.blind_leaves.retain(|i| *i != index);
        }
        let ip = relation.link.remote.ip();
        if let Some(n) = self.from_address.get_mut(&ip) {
            *n -= 1;
            if *n == 0 {
                self.from_address.remove(&ip);
            }
        }
        if let Some(servent) = relation.servent
            && self.by_servent.get(&servent) == Some(&relation.id)
        {
            self.by_servent.remove(&servent);
        }
        if let Some(address) = relation.address
            && self.by_address.get(&address) == Some(&relation.id)
        {
            self.by_address.remove(&address);
        }
        Some(relation)
    }

    /// Makes a peer the way to a servent. `false` where somebody else is it already.
    pub(super) fn set_servent(&mut self, index: u32, servent: Guid) -> bool {
        let Some(relation) = self.places.get_mut(index as usize).and_then(|p| p.relation.as_deref_mut())
        else {
            return false;
        };
        if self.by_servent.get(&servent).is_some_and(|other| *other != relation.id) {
            return false;
        }
        if let Some(before) = relation.servent.replace(servent) {
            self.by_servent.remove(&before);
        }
        self.by_servent.insert(servent, relation.id);
        true
    }

    #[inline]
    pub(super) fn find(&self, conn: ConnId) -> Option<u32> {
        self.by_conn.get(&conn).copied()
    }

    #[inline]
    pub(super) fn get(&self, index: u32) -> Option<&Relation> {
        self.places.get(index as usize)?.relation.as_deref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut Relation> {
        self.places.get_mut(index as usize)?.relation.as_deref_mut()
    }

    #[inline]
    pub(super) fn by_conn(&mut self, conn: ConnId) -> Option<&mut Relation> {
        self.get_mut(self.find(conn)?)
    }

    /// The relation with this id, unless its place has gone to another one.
    #[inline]
    pub(super) fn by_id(&mut self, id: LinkId) -> Option<&mut Relation> {
        self.get_mut(id.index).filter(|r| r.id == id)
    }

    pub(super) fn by_id_ref(&self, id: LinkId) -> Option<&Relation> {
        self.get(id.index).filter(|r| r.id == id)
    }

    /// Whether the relation with this id is still there.
    pub(super) fn lives(&self, id: LinkId) -> bool {
        self.get(id.index).is_some_and(|r| r.id == id)
    }

    pub(super) fn by_servent(&self, servent: Guid) -> Option<LinkId> {
        self.by_servent.get(&servent).copied()
    }

    pub(super) fn has_address(&self, address: SocketAddr) -> bool {
        self.by_address.contains_key(&address)
    }

    pub(super) fn neighbours(&self) -> &[u32] {
        &self.neighbours
    }

    pub(super) fn blind_leaves(&self) -> &[u32] {
        &self.blind_leaves
    }

    pub(super) fn count(&self, role: Role) -> u32 {
        self.counts[role as usize]
    }

    /// Relations with peers at this address.
    pub(super) fn count_at(&self, ip: IpAddr) -> u32 {
        self.from_address.get(&ip).copied().unwrap_or(0)
    }

    pub(super) fn len(&self) -> usize {
        self.by_conn.len()
    }

    /// The places that are taken.
    pub(super) fn indices(&self) -> Vec<u32> {
        self.iter().map(|r| r.id.index).collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Relation> {
        self.places.iter().filter_map(|p| p.relation.as_deref())
    }
}

impl Relations for Table {
    fn link(&mut self, conn: ConnId) -> Option<&mut Link> {
        let index = self.find(conn)?;
        self.get_mut(index).map(|r| &mut r.link)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relation_is_small() {
        // There may be ten thousand; with its 8 KiB of routing table each must stay below 16 KiB, the shell's part
        // included.
        assert!(size_of::<Relation>() <= 768, "{}", size_of::<Relation>());
    }
}
