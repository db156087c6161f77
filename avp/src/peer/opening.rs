//! Connections that are no relation yet: dialled, accepted, shaking hands.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

mod saved;

use super::VirtualPeer;
use super::admission::Admissions;
use super::journal::Topic;
use crate::application::policy::Verdict;
use crate::application::topology::Failure as DialFailure;
use crate::host::{CloseReason, ConnId, Host, Instant};
use crate::link::handshake::{CRAWL_INTERVAL, Failure, Handshake, Progress, TIME_MAX};
use crate::link::{Ending, Refusal, Role};
use crate::network::rate::OncePer;
use crate::tables::{Hasher, Map};

/// Connections in this state at the same time, each about 500 bytes. One more takes the place of the one that came first:
/// a handshake takes a second, and who makes us wait longer is the first to go.
const OPENINGS_MAX: usize = 4_096;
/// Bytes of unfinished header blocks, of all together. Where there are more, those that came first go.
const OPENING_BYTES_MAX: usize = 8 << 20;
/// Connections back that peers have asked for, under way at the same time.
const CONNECT_BACKS_MAX: usize = 16;
/// Addresses of crawlers that are remembered.
const CRAWLERS_MAX: usize = 256;

#[derive(Debug)]
enum Opening {
    /// Being dialled to become a neighbour.
    Dialled { deadline: Instant },
    /// Being dialled because a peer wants to know whether it can be reached.
    ConnectBack { deadline: Instant },
    /// Somebody whom we can refuse or accept.
    Shaking(Box<Handshake>),
}

impl Opening {
    fn deadline(&self) -> Instant {
        match self {
            Self::Dialled { deadline } | Self::ConnectBack { deadline } => *deadline,
            Self::Shaking(handshake) => handshake.deadline(),
        }
    }

    fn held_bytes(&self) -> usize {
        match self {
            Self::Shaking(handshake) => handshake.held_bytes(),
            Self::Dialled { .. } | Self::ConnectBack { .. } => 0,
        }
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Openings {
    by_conn: Map<ConnId, Opening>,
    /// Those who connected to us, in the order in which they came; who is not in `by_conn` any more has gone.
    came: VecDeque<ConnId>,
    /// Bytes of unfinished header blocks.
    held_bytes: usize,
    /// Slots that they hold, by role.
    reserved: [u32; 3],
    connect_backs: usize,
    crawls: OncePer<IpAddr>,
    /// Connections that turn to zlib with this batch, and what has come of it.
    inflating: Vec<(ConnId, Vec<u8>)>,
    /// What is to be sent; kept for its memory.
    out: Vec<u8>,
}

impl Openings {
    pub(super) fn new(hasher: &Hasher) -> Self {
        Self {
            by_conn: Map::with_hasher(hasher.clone()),
            came: VecDeque::new(),
            held_bytes: 0,
            reserved: [0; 3],
            connect_backs: 0,
            crawls: OncePer::new(CRAWL_INTERVAL, CRAWLERS_MAX, hasher.clone()),
            inflating: Vec::new(),
            out: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_conn.len()
    }

    /// Bytes of unfinished header blocks.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    fn insert(&mut self, conn: ConnId, opening: Opening) {
        self.held_bytes += opening.held_bytes();
        self.by_conn.insert(conn, opening);
    }

    fn remove(&mut self, conn: ConnId) -> Option<Opening> {
        let opening = self.by_conn.remove(&conn)?;
        self.held_bytes -= opening.held_bytes();
        Some(opening)
    }

    /// Who is the first to go, where there are too many, or hold too much.
    fn superfluous(&mut self) -> Option<ConnId> {
        // Those who are up or gone leave the queue here, or when they have become the greater part of it.
        if self.came.len() > 2 * OPENINGS_MAX {
            self.came.retain(|conn| self.by_conn.contains_key(conn));
        }
        if self.by_conn.len() < OPENINGS_MAX && self.held_bytes <= OPENING_BYTES_MAX {
            return None;
        }
        std::iter::from_fn(|| self.came.pop_front()).find(|conn| self.by_conn.contains_key(conn))
    }

    /// All of them, by their numbers.
    pub(super) fn conns(&self) -> Vec<ConnId> {
        let mut conns: Vec<ConnId> = self.by_conn.keys().copied().collect();
        conns.sort_unstable();
        conns
    }

    pub(super) fn has(&self, conn: ConnId) -> bool {
        self.by_conn.contains_key(&conn)
    }

    fn reserve(&mut self, before: Option<Role>, after: Option<Role>) {
        if let Some(role) = before {
            self.reserved[role as usize] -= 1;
        }
        if let Some(role) = after {
            self.reserved[role as usize] += 1;
        }
    }
}

impl VirtualPeer {
    pub(super) fn accepted(
        &mut self,
        conn: ConnId,
        remote: SocketAddr,
        local: SocketAddr,
        host: &mut impl Host,
    ) {
        self.own.local(local);
        if self.stopping {
            self.counters.ended(Ending::Refused);
            host.abort(conn);
            return;
        }
        while let Some(first) = self.openings.superfluous() {
            host.abort(first);
            self.forget_opening(first, Ending::HandshakeTimeout.into());
        }
        self.openings.came.push_back(conn);
        let handshake = Handshake::accept(self.now, remote);
        self.open(conn, Opening::Shaking(handshake.into()));
    }

    fn open(&mut self, conn: ConnId, opening: Opening) {
        self.schedule.put(opening.deadline(), conn);
        self.openings.insert(conn, opening);
    }

    /// Dials a host to become its neighbour.
    pub(super) fn dial(&mut self, to: SocketAddr, host: &mut impl Host) {
        match host.connect(to) {
            Ok(conn) => {
                self.topology.dialled(conn, to);
                self.open(conn, Opening::Dialled { deadline: self.now + TIME_MAX });
            }
            Err(reason) => {
                match reason {
                    CloseReason::NotGranted => self.warn_not_granted(to),
                    CloseReason::Limit => self.journal.warn(
                        self.now,
                        Topic::Limit,
                        format_args!("no more connections: raise the limit of connections"),
                    ),
                    _ => {}
                }
                self.counters.ended(Ending::Lost(reason));
                self.topology.avoid(self.now, to, DialFailure::Unreached);
                self.hosts.failed(self.now, to);
            }
        }
    }

    /// Dials a peer that wants to know whether it can be reached.
    pub(super) fn connect_back(&mut self, to: SocketAddr, host: &mut impl Host) {
        if self.openings.connect_backs >= CONNECT_BACKS_MAX {
            return;
        }
        if let Ok(conn) = host.connect(to) {
            self.openings.connect_backs += 1;
            self.open(conn, Opening::ConnectBack { deadline: self.now + TIME_MAX });
        }
    }

    pub(super) fn established(
        &mut self,
        conn: ConnId,
        remote: SocketAddr,
        local: SocketAddr,
        host: &mut impl Host,
    ) {
        match self.openings.remove(conn) {
            Some(Opening::Dialled { .. }) => {
                self.own.local(local);
                self.renew_identity(host);
                let mut out = std::mem::take(&mut self.openings.out);
                let handshake = Handshake::dial(self.now, remote, &self.identity, &mut out);
                self.dispatch.text(conn, &out);
                out.clear();
                self.openings.out = out;
                // Its place in the schedule is that of the dial: at that time it gets its own.
                self.openings.insert(conn, Opening::Shaking(handshake.into()));
            }
            Some(Opening::ConnectBack { .. }) => {
                self.openings.connect_backs -= 1;
                self.dispatch.text(conn, b"\n\n");
                self.dispatch.close(conn);
            }
            Some(other) => {
                self.openings.insert(conn, other);
            }
            None => host.abort(conn),
        }
    }

    /// A connection has ended before it became a relation.
    pub(super) fn opening_closed(&mut self, conn: ConnId, reason: CloseReason) {
        self.forget_opening(conn, Ending::Lost(reason).into());
    }

    /// Its time is over, or not yet.
    pub(super) fn opening_due(&mut self, conn: ConnId) {
        let Some(opening) = self.openings.by_conn.get(&conn) else { return };
        let deadline = opening.deadline();
        if deadline > self.now {
            self.schedule.put(deadline, conn);
            return;
        }
        self.dispatch.close(conn);
        self.forget_opening(conn, Ending::HandshakeTimeout.into());
    }

    /// Forgets a connection of a former instance that has not come over to this one.
    pub(super) fn lose_opening(&mut self, conn: ConnId) {
        self.topology.forget(conn);
        match self.openings.remove(conn) {
            Some(Opening::Shaking(handshake)) => self.openings.reserve(handshake.reserved(), None),
            Some(Opening::ConnectBack { .. }) => self.openings.connect_backs -= 1,
            Some(Opening::Dialled { .. }) | None => {}
        }
    }

    /// Forgets a connection that came to nothing.
    fn forget_opening(&mut self, conn: ConnId, why: Failure) {
        let (before, reached) = match self.openings.remove(conn) {
            Some(Opening::Shaking(handshake)) => (handshake.reserved(), true),
            Some(Opening::ConnectBack { .. }) => {
                self.openings.connect_backs -= 1;
                return;
            }
            Some(Opening::Dialled { .. }) => (None, false),
            None => return,
        };
        self.openings.reserve(before, None);
        self.opening_failed(conn, reached, why);
        self.trim_schedule();
    }

    fn opening_failed(&mut self, conn: ConnId, reached: bool, why: Failure) {
        self.counters.ended(why.ending);
        if let Some(refusal) = why.refusal {
            self.counters.refused(refusal);
            self.warn_of_refusal(refusal);
        }
        let failure = if reached { DialFailure::Refused } else { DialFailure::Unreached };
        if let Some(address) = self.topology.failed(self.now, conn, failure) {
            match why.declined {
                Some(_) => self.hosts.refused(self.now, address),
                None => self.hosts.failed(self.now, address),
            }
        }
    }

    /// Peers that are refused because the configuration leaves no room for them.
    fn warn_of_refusal(&mut self, refusal: Refusal) {
        let (topic, what, limit) = match refusal {
            Refusal::LeavesFull => (Topic::Leaves, "leaves", self.config.leaves),
            Refusal::UltrapeersFull => (Topic::Ultrapeers, "ultrapeers", self.ultrapeers_max().into()),
            _ => return,
        };
        if limit > 0 {
            let full =
                format_args!("all {limit} slots for {what} are taken and more want to join: raise `{what}`");
            self.journal.warn(self.now, topic, full);
        }
    }

    pub(super) fn opening_received(&mut self, conn: ConnId, bytes: &[u8], host: &mut impl Host) {
        let mut handshake = match self.openings.remove(conn) {
            Some(Opening::Shaking(handshake)) => handshake,
            Some(other) => return self.openings.insert(conn, other),
            None => return,
        };
        self.renew_identity(host);
        let remote = handshake.remote();
        let before = handshake.reserved();
        let mut out = std::mem::take(&mut self.openings.out);
        let ultrapeers_max = self.ultrapeers_max();
        let mut gate = Admissions {
            ultrapeers_max,
            config: &self.config,
            access: &self.access,
            guid: self.guid,
            table: &self.table,
            reserved: self.openings.reserved,
            hosts: &self.hosts,
            crawls: &mut self.openings.crawls,
            rng: &mut self.rng,
            now: self.now,
            stopping: self.stopping,
            policy: if self.policing.is_on() { host.policy() } else { None },
            conn,
            decided: None,
        };
        let progress = handshake.receive(bytes, &self.identity, &mut gate, &mut out);
        if let Some(decision) = gate.decided {
            self.policing.count(decision);
            if decision.verdict == Verdict::Drop {
                // Without a word.
                out.clear();
            }
        }
        self.dispatch.text(conn, &out);
        out.clear();
        self.openings.out = out;
        for learnt in handshake.take_learnt() {
            self.hosts.heard(self.now, learnt, Default::default(), &mut self.rng);
        }
        match progress {
            Progress::Waiting => {
                self.openings.reserve(before, handshake.reserved());
                self.openings.insert(conn, Opening::Shaking(handshake));
            }
            Progress::Agreed { terms, rest } => {
                self.openings.reserve(before, None);
                if terms.deflate {
                    self.dispatch.deflate(conn, host);
                }
                let inflate = terms.inflate;
                let index = self.join(conn, remote, *terms);
                if inflate {
                    // What comes in the same batch belongs to the stream as well.
                    self.openings.inflating.push((conn, rest.to_vec()));
                    if let Some(relation) = self.table.get_mut(index) {
                        relation.inflating = true;
                    }
                } else if !rest.is_empty() {
                    self.received(index, rest, host);
                }
            }
            Progress::Http { head, .. } => {
                self.openings.reserve(before, None);
                self.http(conn, remote, &head, host);
                self.opening_failed(conn, true, Ending::Answered.into());
            }
            Progress::Ended(failure) => {
                self.openings.reserve(before, None);
                self.dispatch.close(conn);
                self.opening_failed(conn, true, failure);
            }
        }
    }

    /// Keeps bytes of a stream whose beginning came in the same batch.
    pub(super) fn keep_for_inflating(&mut self, conn: ConnId, bytes: &[u8]) {
        if let Some((_, rest)) = self.openings.inflating.iter_mut().find(|(c, _)| *c == conn) {
            rest.extend_from_slice(bytes);
        }
    }

    /// Tells the shell which connections are zlib streams from now on.
    pub(super) fn begin_inflating(&mut self, host: &mut impl Host) {
        for (conn, rest) in self.openings.inflating.drain(..) {
            host.inflate(conn, &rest);
            if let Some(relation) = self.table.by_conn(conn) {
                relation.inflating = false;
            }
        }
    }

    pub(super) fn close_openings(&mut self, host: &mut impl Host) {
        for conn in self.openings.conns() {
            host.close(conn);
        }
        self.openings.by_conn.clear();
        self.openings.reserved = [0; 3];
        self.openings.connect_backs = 0;
        self.openings.held_bytes = 0;
    }

    /// Puts what is known by now into what handshakes say.
    fn renew_identity(&mut self, host: &mut impl Host) {
        let own = self.own.get(self.config.advertise, self.config.listen);
        self.identity.listen = own.map(SocketAddr::V4);
        if self.identity.live_since_s == 0 {
            let up = self.now.since(self.started).as_secs();
            self.identity.live_since_s = host.wall_seconds().saturating_sub(up).max(1);
        }
    }
}
