//! What the node knows of the mesh, and what it does when something is heard. One task owns it; see [`super::driver`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use quinn::Connection;
use tokio::sync::{mpsc, oneshot, watch};
use topology::dht::{self, Dht, Key, LookupId, Outcome};
use topology::soar::{self, Soar};
use topology::{Contact, Instant, NodeId};

use crate::mesh::figures::Counts;
use crate::mesh::link::{self, Close, Failed, Greeted, Heard, Link};
use crate::mesh::trust::SharedDomains;
use crate::mesh::ways::Ways;
use crate::mesh::wire::{DHT, SOAR};

/// Connections at a time.
const CONNECTIONS_MAX: usize = 1024;
/// Dials at a time.
const DIALS_MAX: usize = 64;
/// Messages that wait for one dial.
const DIAL_MESSAGES_MAX: usize = 16;
/// Who waits for one dial.
const DIAL_WAITERS_MAX: usize = 64;
/// Two nodes that dial each other at the same time do so within this time.
const CROSSING: std::time::Duration = std::time::Duration::from_secs(5);

/// A connection to a node, for whoever wants to open a stream on it.
pub(super) type Reached = Result<Connection, String>;

/// A node that is being dialled.
#[derive(Debug, Default)]
struct Dial {
    messages: Vec<Vec<u8>>,
    waiters: Vec<oneshot::Sender<Reached>>,
}

/// See the module's text.
pub(super) struct Core {
    pub(super) dht: Dht,
    pub(super) soar: Soar,
    pub(super) links: BTreeMap<NodeId, Link>,
    pub(super) domains: SharedDomains,
    pub(super) counts: Counts,
    /// Neighbours that were lost and are dialled again.
    pub(super) lost: BTreeMap<NodeId, super::tend::Lost>,
    dials: BTreeMap<Contact, Dial>,
    /// Dials to begin.
    pub(super) to_dial: Vec<Contact>,
    /// Links whose streams are to be served.
    pub(super) fresh: Vec<(NodeId, Connection)>,
    lookups: BTreeMap<LookupId, oneshot::Sender<Outcome>>,
    pub(super) published: BTreeSet<Key>,
    pub(super) ways: Ways,
    heard: mpsc::Sender<(NodeId, u64, Heard)>,
    /// Counts up with each change of the map.
    pub(super) version: watch::Sender<u64>,
    /// Neighbours whose links answer.
    pub(super) alive: watch::Sender<BTreeSet<NodeId>>,
    last_serial: u64,
    boot: u64,
    /// The changes of who is trusted that links were judged after.
    pub(super) judged_after: u64,
}

impl Core {
    pub(super) fn new(
        dht: Dht,
        soar: Soar,
        domains: &SharedDomains,
        heard: mpsc::Sender<(NodeId, u64, Heard)>,
        version: watch::Sender<u64>,
        alive: watch::Sender<BTreeSet<NodeId>>,
        boot: u64,
    ) -> Self {
        Self {
            dht,
            soar,
            links: BTreeMap::new(),
            domains: Arc::clone(domains),
            counts: Counts::default(),
            lost: BTreeMap::new(),
            dials: BTreeMap::new(),
            to_dial: Vec::new(),
            fresh: Vec::new(),
            lookups: BTreeMap::new(),
            published: BTreeSet::new(),
            ways: Ways::default(),
            heard,
            version,
            alive,
            last_serial: 0,
            boot,
            judged_after: domains.changes(),
        }
    }

    /// Our id.
    pub(super) fn me(&self) -> NodeId {
        self.dht.me().id
    }

    /// When [`Self::timeout`] is next due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.dht.poll_timeout().into_iter().chain(self.soar.poll_timeout()).min()
    }

    pub(super) fn timeout(&mut self, now: Instant) {
        if self.dht.poll_timeout().is_some_and(|at| at <= now) {
            self.dht.handle_timeout(now);
        }
        if self.soar.poll_timeout().is_some_and(|at| at <= now) {
            self.soar.handle_timeout(now);
        }
    }

    /// Something came from a link, unless it is one that was replaced.
    pub(super) fn heard(&mut self, now: Instant, from: NodeId, serial: u64, heard: Heard) {
        let Some(link) = self.links.get(&from).filter(|link| link.serial == serial) else { return };
        let contact = link.contact;
        match heard {
            Heard::Frame(frame) if frame.kind == DHT => self.dht.handle_message(now, contact, &frame.body),
            Heard::Frame(frame) if frame.kind == SOAR => self.soar.handle_message(now, from, &frame.body),
            Heard::Frame(_) => self.counts.unknown_frames += 1,
            Heard::Broken(why) => {
                self.counts.broken_frames += 1;
                tracing::warn!(peer = %from, %why, "a frame that is none");
                self.drop_link(now, from, Close::Broken);
            }
            Heard::Down => self.down(now, from),
        }
    }

    /// A connection stands, dialled or accepted.
    pub(super) fn up(&mut self, now: Instant, claimed: Option<Contact>, greeted: Greeted) {
        let (id, contact) = (greeted.peer.id, greeted.contact);
        if id == self.me() {
            link::close(&greeted.connection, Close::Spare);
            return self.dialled(now, claimed, Err("it is this node itself".to_owned()));
        }
        if let Some(claimed) = claimed.filter(|claimed| claimed.id != id) {
            self.counts.wrong_identities += 1;
            self.dht.handle_wrong_identity(now, claimed);
        }
        if self.dht.is_banned(now, id) {
            self.counts.banned_refused += 1;
            link::close(&greeted.connection, Close::Banned);
            return self.dialled(now, claimed, Err("it is banned".to_owned()));
        }
        let old = self.links.get(&id);
        if let Some(old) = old
            && self.keeps(old, &greeted)
        {
            link::close(&greeted.connection, Close::Spare);
            let reached = Ok(old.connection.clone());
            return self.dialled(now, claimed, reached);
        }
        if old.is_none() && self.links.len() >= CONNECTIONS_MAX {
            self.counts.connections_refused += 1;
            link::close(&greeted.connection, Close::Full);
            return self.dialled(now, claimed, Err("there are too many connections".to_owned()));
        }
        if let Some(old) = self.links.remove(&id) {
            link::close(&old.connection, Close::Spare);
            // What was under way on it is lost; the two tell each other everything anew.
            self.soar.link_down(now, id);
        }
        self.last_serial += 1;
        let rtt = greeted.connection.rtt();
        let connection = greeted.connection.clone();
        let link = link::run(greeted, self.last_serial, self.heard.clone());
        self.links.insert(id, link);
        self.lost.remove(&id);
        self.fresh.push((id, connection.clone()));
        self.counts.connections_made += 1;
        self.dht.handle_connected(now, contact, Some(rtt));
        if self.soar.link_up(now, id).is_err() {
            self.counts.links_full += 1;
        }
        let reached = match claimed {
            Some(claimed) if claimed.id != id => Err("another node answers there".to_owned()),
            _ => Ok(connection),
        };
        self.dialled(now, claimed, reached);
    }

    /// Where two nodes have dialled each other at the same time, both keep what the one with the lower id dialled. In all
    /// other cases the new connection is there because the other side has lost the old one.
    fn keeps(&self, old: &Link, new: &Greeted) -> bool {
        let crossing =
            old.since.elapsed() < CROSSING && old.boot == new.hello.boot && old.dialled != new.dialled;
        crossing && old.dialled == (self.me() < old.peer.id) && old.connection.close_reason().is_none()
    }

    /// A dial has failed.
    pub(super) fn failed(&mut self, now: Instant, claimed: Contact, why: &Failed) {
        if why.is_distrust() {
            self.counts.untrusted += 1;
        }
        self.dht.handle_unreachable(now, claimed.id);
        self.dialled(now, Some(claimed), Err(why.to_string()));
    }

    fn dialled(&mut self, now: Instant, claimed: Option<Contact>, reached: Reached) {
        let Some(dial) = claimed.and_then(|claimed| self.dials.remove(&claimed)) else { return };
        if let (Some(claimed), Ok(_)) = (claimed, &reached) {
            for message in dial.messages {
                self.send(now, claimed.id, DHT, message);
            }
        }
        for waiter in dial.waiters {
            // Whoever asked may have gone.
            let _ = waiter.send(reached.clone());
        }
    }

    fn down(&mut self, now: Instant, id: NodeId) {
        let Some(link) = self.links.remove(&id) else { return };
        self.soar.link_down(now, id);
        self.dht.handle_unreachable(now, id);
        self.lost_neighbour(link.contact);
    }

    /// Ends a link.
    pub(super) fn drop_link(&mut self, now: Instant, id: NodeId, why: Close) {
        if let Some(link) = self.links.get(&id) {
            link::close(&link.connection, why);
            self.down(now, id);
        }
        if matches!(why, Close::Banned | Close::Distrusted) {
            self.lost.remove(&id);
        }
    }

    fn send(&mut self, now: Instant, to: NodeId, kind: u32, body: Vec<u8>) {
        self.offer(now, to, |link| link.send(kind, body));
    }

    /// Gives a link something to send; one that does not take it is dropped.
    fn offer(&mut self, now: Instant, to: NodeId, give: impl FnOnce(&Link) -> bool) {
        if self.links.get(&to).is_some_and(|link| !give(link)) {
            self.counts.overruns += 1;
            self.drop_link(now, to, Close::Broken);
        }
    }

    /// Reaches a node; the answer comes when it is connected or cannot be.
    pub(super) fn reach(&mut self, to: Contact) -> oneshot::Receiver<Reached> {
        let (tell, told) = oneshot::channel();
        if let Some(link) = self.links.get(&to.id) {
            let _ = tell.send(Ok(link.connection.clone()));
            return told;
        }
        match self.dial(to) {
            Some(dial) if dial.waiters.len() < DIAL_WAITERS_MAX => dial.waiters.push(tell),
            _ => _ = tell.send(Err("too many nodes are being dialled".to_owned())),
        }
        told
    }

    /// Begins to dial a node, where there is room.
    fn dial(&mut self, to: Contact) -> Option<&mut Dial> {
        let known = self.dials.contains_key(&to);
        if !known && self.dials.len() >= DIALS_MAX {
            return None;
        }
        if !known {
            self.to_dial.push(to);
        }
        Some(self.dials.entry(to).or_default())
    }

    /// Dials a node that is not connected, so that it becomes a neighbour.
    pub(super) fn connect(&mut self, to: Contact) {
        if to.id != self.me() && !self.links.contains_key(&to.id) {
            self.dial(to);
        }
    }

    /// Looks for a node by its id.
    pub(super) fn find_node(
        &mut self,
        now: Instant,
        id: NodeId,
    ) -> Result<oneshot::Receiver<Outcome>, dht::Busy> {
        self.dht.find_node(now, id).map(|lookup| self.await_lookup(lookup))
    }

    /// Looks for some node.
    pub(super) fn find_random(&mut self, now: Instant) -> Result<oneshot::Receiver<Outcome>, dht::Busy> {
        self.dht.find_random(now).map(|lookup| self.await_lookup(lookup))
    }

    /// Looks for who holds a record.
    pub(super) fn find_holders(
        &mut self,
        now: Instant,
        key: Key,
    ) -> Result<oneshot::Receiver<Outcome>, dht::Busy> {
        self.dht.find_holders(now, key).map(|lookup| self.await_lookup(lookup))
    }

    fn await_lookup(&mut self, lookup: LookupId) -> oneshot::Receiver<Outcome> {
        let (tell, told) = oneshot::channel();
        // Lookups have a bound of their own in `dht`, and each one ends.
        self.lookups.insert(lookup, tell);
        told
    }

    /// Carries out what the two planes want done.
    pub(super) fn drain(&mut self, now: Instant) {
        loop {
            if let Some(action) = self.dht.poll_action() {
                self.act_dht(now, action);
            } else if let Some(action) = self.soar.poll_action() {
                match action {
                    soar::Action::Send { to, bytes } => self.send(now, to, SOAR, bytes),
                    soar::Action::Probe { to, bytes } => {
                        self.offer(now, to, |link| link.send_once(SOAR, bytes));
                    }
                    soar::Action::Changed => {
                        self.ways.forget_routes();
                        self.version.send_modify(|version| *version += 1);
                    }
                }
            } else {
                break;
            }
        }
        let answer = |(id, link): (&NodeId, &soar::link::Link)| link.rtt_us.map(|_| *id);
        let alive: BTreeSet<NodeId> = self.soar.links().iter().filter_map(answer).collect();
        self.alive.send_if_modified(|old| {
            let changed = *old != alive;
            *old = alive;
            changed
        });
    }

    fn act_dht(&mut self, now: Instant, action: dht::Action) {
        match action {
            dht::Action::Send { to, bytes } if self.links.contains_key(&to.id) => {
                self.send(now, to.id, DHT, bytes);
            }
            dht::Action::Send { to, bytes } => match self.dial(to) {
                Some(dial) if dial.messages.len() < DIAL_MESSAGES_MAX => dial.messages.push(bytes),
                // The question counts as unanswered after its time.
                _ => self.counts.dials_refused += 1,
            },
            dht::Action::Done { lookup, outcome } => {
                if let Some(asker) = self.lookups.remove(&lookup) {
                    // Whoever asked may have gone.
                    let _ = asker.send(outcome);
                }
            }
            dht::Action::Banned { peer, offence, .. } => {
                tracing::warn!(peer = %peer, ?offence, "a node is not listened to any more");
                self.drop_link(now, peer, Close::Banned);
            }
        }
    }

    /// The address at which most neighbours see us.
    pub(super) fn seen_at(&self) -> Option<SocketAddr> {
        let mut votes: BTreeMap<SocketAddr, usize> = BTreeMap::new();
        for seen in self.links.values().filter_map(|link| link.seen_at) {
            *votes.entry(seen).or_default() += 1;
        }
        votes.into_iter().max_by_key(|(_, votes)| *votes).map(|(address, _)| address)
    }

    /// Where a node is reached, as far as that is known without asking.
    pub(super) fn contact(&self, id: NodeId) -> Option<Contact> {
        let linked = self.links.get(&id).map(|link| link.contact);
        linked.or_else(|| self.dht.closest(id, 1).into_iter().find(|contact| contact.id == id))
    }

    /// Our number of this start.
    pub(super) fn boot(&self) -> u64 {
        self.boot
    }
}
