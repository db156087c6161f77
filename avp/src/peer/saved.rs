//! What outlives the instance: everything.
//!
//! A format (1 byte), then parts, each with its number, its version and its length, so that a later version of the peer
//! can read what an earlier one wrote, and says in plain words what it cannot read.
//!
//! Another instance goes on with every link exactly where this one stood, as long as the shell keeps the connections. Of
//! those that it has not kept (the node was started again) nothing is left but what was learnt from them: hosts, routes,
//! figures.
//!
//! What is saved follows from what has happened alone, to the byte: a peer that goes on from it, with hash seeds of its own,
//! later saves what this one would. So a recording that begins with a state can be done again exactly.

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;

use super::VirtualPeer;
use crate::application::routing::Inherited;
use crate::config::Config;
use crate::host::{CloseReason, ConnId, Host, Instant};
use crate::link::dispatch::Dispatch;
use crate::link::{Ending, Role};
use crate::state::{Damaged, Reader, Saved, Writer};

/// First byte of a saved state.
const FORMAT: u8 = 2;
/// Bytes of a relation's state, about, and of a route's.
const RELATION_BYTES: usize = 512;
const ROUTE_BYTES: usize = 32;

/// State that [`VirtualPeer::restore`] cannot use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// Not of this format.
    #[error(
        "the saved state has format {0}, and this peer reads format {FORMAT}: another version wrote it; keep that one, or \
         start without state"
    )]
    Format(u8),
    /// A part was written by a later version.
    #[error(
        "the {part} in the saved state have version {version}, and this peer reads up to {known}: a later one wrote them; \
         keep that one, or start without state"
    )]
    Version {
        /// The part.
        part: &'static str,
        /// Its version.
        version: u8,
        /// The latest that is understood.
        known: u8,
    },
    /// Ends too early, or has what cannot be.
    #[error("the {part} in the saved state are damaged at byte {at}: start without state")]
    Damaged {
        /// The part.
        part: &'static str,
        /// The place, counted from the beginning of the state.
        at: usize,
    },
}

/// One part of a state.
struct Part {
    name: &'static str,
    version: u8,
    save: fn(&VirtualPeer, &mut Writer),
    load: fn(&mut VirtualPeer, &mut Reader<'_>) -> Result<(), Damaged>,
}

/// All of them, in their order.
const PARTS: [Part; 8] = [
    Part { name: "basics", version: 1, save: save_basics, load: load_basics },
    Part { name: "hosts", version: 1, save: save_hosts, load: load_hosts },
    Part { name: "routing tables", version: 2, save: save_tables, load: load_tables },
    Part { name: "relations", version: 1, save: save_relations, load: load_relations },
    Part { name: "handshakes", version: 1, save: save_openings, load: load_openings },
    Part { name: "routes", version: 1, save: save_routes, load: load_routes },
    Part { name: "searches", version: 1, save: save_searches, load: load_searches },
    Part { name: "figures", version: 1, save: save_figures, load: load_figures },
];

impl VirtualPeer {
    /// What [`Self::restore`] needs to carry on. Call it between two calls of [`Self::handle`].
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        // Room for all of it at once: to grow is to copy. What is asked for and not written is never touched.
        let routes = self.query_routes.len() + self.push_routes.len();
        let tables = self.leaf_tables.saved_bytes() + self.neighbour_tables.saved_bytes();
        let mut to = Writer::with_capacity(self.table.len() * RELATION_BYTES + routes * ROUTE_BYTES + tables);
        to.raw(&[FORMAT]);
        for (tag, part) in PARTS.iter().enumerate() {
            to.section(tag as u8, part.version, |to| (part.save)(self, to));
        }
        to.finish()
    }

    /// A peer that carries on with what [`Self::save`] gave: with every relation of which `live` has the connection, and
    /// with its randomness too where it has all of them. What it knows of other connections has ended, and connections
    /// that it does not know are aborted. `seed` is fresh randomness: no hash seed is used again, nor any randomness
    /// that a former instance may have used after it was saved.
    ///
    /// The host is asked to wake the peer, at once where something has become due meanwhile. That is all that is asked of it
    /// where all connections live, and no call of [`Self::handle`] needs to be made before.
    ///
    /// # Errors
    /// Where `state` is not what this version saves; start a [`Self::new`] one instead. Nothing was asked of `host`.
    pub fn restore(
        config: Config,
        seed: [u8; 32],
        now: Instant,
        state: &[u8],
        live: &[ConnId],
        host: &mut impl Host,
    ) -> Result<Self, RestoreError> {
        let mut peer = Self::new(config, seed, now);
        let fresh = peer.rng.clone();
        peer.load(state)?;
        peer.keep(now, live, fresh, host);
        Ok(peer)
    }

    fn load(&mut self, state: &[u8]) -> Result<(), RestoreError> {
        let mut from = Reader::new(state);
        let damaged = |part: &'static str| move |Damaged(at)| RestoreError::Damaged { part, at };
        match from.array().map_err(damaged("basics"))? {
            [FORMAT] => {}
            [format] => return Err(RestoreError::Format(format)),
        }
        for (tag, &Part { name: part, version: known, load, .. }) in PARTS.iter().enumerate() {
            let at = from.damaged();
            let (found, version, mut bytes) = from.section().map_err(damaged(part))?;
            if usize::from(found) != tag || version == 0 {
                return Err(damaged(part)(at));
            }
            if version > known {
                return Err(RestoreError::Version { part, version, known });
            }
            load(self, &mut bytes).and_then(|()| bytes.finish()).map_err(damaged(part))?;
        }
        from.finish().map_err(damaged(PARTS[PARTS.len() - 1].name))
    }

    /// Keeps the connections that live. Where all do, the peer is what it was, and no time has passed for it.
    fn keep(&mut self, now: Instant, live: &[ConnId], fresh: ChaCha12Rng, host: &mut impl Host) {
        let mut lives = live.to_vec();
        lives.sort_unstable();
        lives.dedup();
        let is_gone = |conn: &ConnId| lives.binary_search(conn).is_err();
        let relations: Vec<u32> =
            self.table.iter().filter(|r| is_gone(&r.link.conn)).map(|r| r.id.index).collect();
        let mut openings = self.openings.conns();
        openings.retain(is_gone);
        for &conn in &lives {
            if self.table.find(conn).is_none() && !self.openings.has(conn) {
                host.abort(conn);
            }
        }
        let has_lost = relations.len() + openings.len() > 0;
        if has_lost {
            self.now = self.now.max(now);
            self.rng = fresh;
            if live.is_empty() {
                (self.started, self.identity.live_since_s) = (self.now, 0);
            }
        }
        for index in relations {
            // That it is gone says nothing about the peer at its other end.
            if self.part(index).is_some() {
                self.counters.ended(Ending::Lost(CloseReason::Reset));
            }
        }
        for conn in openings {
            self.lose_opening(conn);
            self.counters.ended(Ending::Lost(CloseReason::Reset));
        }
        if has_lost {
            self.trim_schedule();
        }
        // The instance before has done what was due by the time that is saved. What has become due since then is done when
        // the host calls: in a recording the instance before goes on, and does it in that call as well.
        self.ask_to_be_woken(now, host);
    }
}

fn save_basics(peer: &VirtualPeer, to: &mut Writer) {
    peer.guid.save(to);
    peer.identity.live_since_s.save(to);
    to.raw(&peer.rng.get_seed());
    peer.rng.get_stream().save(to);
    peer.rng.get_word_pos().save(to);
    [peer.started, peer.now, peer.upkeep_at, peer.pong_refresh_at].save(to);
    peer.stopping.save(to);
    peer.own.save(to);
    peer.told_address.save(to);
    peer.door.save(to);
    peer.journal.save(to);
    peer.topology.save(to);
    peer.schedule.save(to);
    peer.work.save(to);
}

fn load_basics(peer: &mut VirtualPeer, from: &mut Reader<'_>) -> Result<(), Damaged> {
    peer.guid = from.load()?;
    peer.identity.guid = peer.guid;
    peer.identity.live_since_s = from.load()?;
    peer.rng = ChaCha12Rng::from_seed(from.array()?);
    peer.rng.set_stream(from.load()?);
    peer.rng.set_word_pos(from.load()?);
    (peer.started, peer.now) = (from.load()?, from.load()?);
    (peer.upkeep_at, peer.pong_refresh_at) = (from.load()?, from.load()?);
    peer.stopping = from.load()?;
    peer.own = from.load()?;
    peer.told_address = from.load()?;
    peer.door.load(from)?;
    peer.journal.load(from)?;
    peer.topology.load(from)?;
    peer.schedule = from.load()?;
    peer.work = from.load()?;
    Ok(())
}

fn save_hosts(peer: &VirtualPeer, to: &mut Writer) {
    peer.hosts.save(to);
    peer.pongs.save(to);
}

fn load_hosts(peer: &mut VirtualPeer, from: &mut Reader<'_>) -> Result<(), Damaged> {
    peer.hosts.load(from)?;
    peer.pongs = from.load()?;
    Ok(())
}

fn save_tables(peer: &VirtualPeer, to: &mut Writer) {
    peer.leaf_tables.save(to);
    peer.neighbour_tables.save(to);
    peer.published.save(to);
}

fn load_tables(peer: &mut VirtualPeer, from: &mut Reader<'_>) -> Result<(), Damaged> {
    peer.leaf_tables.load(from)?;
    peer.neighbour_tables.load(from)?;
    peer.published = from.load()?;
    Ok(())
}

fn save_relations(peer: &VirtualPeer, to: &mut Writer) {
    peer.table.save(to);
    peer.dispatch.save(to);
}

fn load_relations(peer: &mut VirtualPeer, from: &mut Reader<'_>) -> Result<(), Damaged> {
    peer.table.load(from)?;
    let mut waits = 0;
    for relation in peer.table.iter() {
        peer.held_bytes += relation.counted_bytes;
        waits += relation.link.flow.held_bytes();
        let tables = match relation.link.terms.role {
            Role::Leaf => Some(&peer.leaf_tables),
            Role::Ultrapeer => Some(&peer.neighbour_tables),
            Role::Old => None,
        };
        if let Some(column) = relation.column {
            from.ensure(tables.is_some_and(|tables| tables.is_of(column, relation.id.index)))?;
        }
    }
    peer.dispatch = Dispatch::load(from, waits)?;
    Ok(())
}

fn save_openings(peer: &VirtualPeer, to: &mut Writer) {
    peer.openings.save(to);
}

fn load_openings(peer: &mut VirtualPeer, from: &mut Reader<'_>) -> Result<(), Damaged> {
    peer.openings.load(from)?;
    let both = |conn: &ConnId| peer.table.find(*conn).is_some();
    from.ensure(!peer.openings.conns().iter().any(both))
}

fn save_routes(peer: &VirtualPeer, to: &mut Writer) {
    peer.query_routes.save(to);
    peer.push_routes.save(to);
}

fn load_routes(peer: &mut VirtualPeer, from: &mut Reader<'_>) -> Result<(), Damaged> {
    peer.query_routes.load(from)?;
    peer.push_routes.load(from)
}

fn save_searches(peer: &VirtualPeer, to: &mut Writer) {
    peer.dynamic.save(to);
    match &peer.routing {
        Some(routing) => Inherited::from(routing.as_ref()).save(to),
        None => Inherited::default().save(to),
    }
}

fn load_searches(peer: &mut VirtualPeer, from: &mut Reader<'_>) -> Result<(), Damaged> {
    peer.dynamic.load(from)?;
    peer.inherited = from.load()?;
    Ok(())
}

fn save_figures(peer: &VirtualPeer, to: &mut Writer) {
    peer.monitor.save(to);
    peer.counters.save(to);
}

fn load_figures(peer: &mut VirtualPeer, from: &mut Reader<'_>) -> Result<(), Damaged> {
    peer.monitor = from.load()?;
    peer.counters = from.load()?;
    Ok(())
}
