//! The shell of the product's virtual peer: the crate `avp` exactly as it is shipped, under virtual time.
//!
//! Bytes are not compressed here, so links are never zlib streams; the shell refuses to pretend otherwise.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use avp::host::{CloseReason, Level};
use avp::{Config, ConnId, Event, Host, Instant, SendBatch, VirtualPeer};

use super::transport::{CONGESTED_AFTER, UPLINK_WAIT_MAX};
use super::{Bytes, Clock, End, Shard};
use crate::engine::START;
use crate::internet::place::{NodeId, address, node_at};
use crate::peer::Timer;

/// 2023-11-14T22:13:20Z, when every simulation begins.
const WALL_START_S: u64 = 1_700_000_000;
/// Port from which a virtual peer dials.
const DIAL_PORT: u16 = 50_000;

/// A virtual peer and its shell.
#[derive(Debug)]
pub struct Avp {
    peer: VirtualPeer,
    node: NodeId,
    clock: Clock,
    wake: Option<Instant>,
    ends: BTreeSet<End>,
    limits: Config,
}

impl Avp {
    /// A new one at this place.
    #[must_use]
    pub fn new(config: Config, node: NodeId, now: Instant, seed: [u8; 32], clock: Clock) -> Self {
        let limits = config.clone();
        let peer = VirtualPeer::new(config, seed, clock.shows(now));
        Self { peer, node, clock, wake: None, ends: BTreeSet::new(), limits }
    }

    /// The peer itself.
    #[must_use]
    pub fn peer(&self) -> &VirtualPeer {
        &self.peer
    }

    /// Its configuration.
    #[must_use]
    pub fn limits(&self) -> &Config {
        &self.limits
    }

    /// From now on none of its leaves is one that it may have.
    pub(super) fn allow_no_leaves(&mut self) {
        self.limits.leaves = 0;
    }

    /// It takes its relation with a peer for ended, which does not learn it.
    pub(super) fn forget(&mut self, world: &mut Shard, other: NodeId) {
        let end = self.ends.iter().copied().find(|end| world.other_node(*end) == Some(other));
        if let Some(end) = end {
            self.closed(world, end, CloseReason::Reset, false);
        }
    }

    /// Its open ends.
    #[must_use]
    pub fn ends(&self) -> Vec<End> {
        self.ends.iter().copied().collect()
    }

    /// A figure of the product, all series with these labels together.
    #[must_use]
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        use avp::application::monitoring::{Sample, Value};
        let has = |s: &&Sample| s.name == name && labels.iter().all(|l| s.labels().contains(l));
        let number = |s: &Sample| match s.value {
            Value::Counter(n) | Value::Gauge(n) => n,
            Value::Histogram { ref counts, .. } => counts.iter().sum::<u64>() as f64,
        };
        self.peer.metrics().iter().filter(has).map(number).sum()
    }

    fn handle<'a>(&mut self, world: &mut Shard, event: Event<'a>) {
        let now = self.clock.shows(world.now());
        let mut shell = Shell { world, node: self.node, ends: &mut self.ends, now, wake: None };
        self.peer.handle(now, [event], &mut shell);
        if let Some(wake) = shell.wake {
            self.wake = Some(wake);
            let after = self.clock.reaches(wake).0.saturating_sub(world.now().0);
            world.timer(self.node, after, Timer::Wake);
        }
    }

    pub(super) fn timer(&mut self, world: &mut Shard, timer: Timer) {
        let now = self.clock.shows(world.now());
        if timer == Timer::Wake && self.wake.is_none_or(|at| at <= now) {
            self.handle(world, Event::Timer);
        }
    }

    pub(super) fn accepted(&mut self, world: &mut Shard, end: End, from: NodeId) {
        self.ends.insert(end);
        let remote = SocketAddr::new((*address(from).ip()).into(), DIAL_PORT);
        let local = address(self.node).into();
        self.handle(world, Event::Accepted { conn: end.id(), remote, local });
    }

    pub(super) fn established(&mut self, world: &mut Shard, end: End) {
        let Some(other) = world.other_node(end) else { return };
        let (remote, local) =
            (address(other).into(), SocketAddr::new((*address(self.node).ip()).into(), DIAL_PORT));
        self.handle(world, Event::Established { conn: end.id(), remote, local });
    }

    pub(super) fn received(&mut self, world: &mut Shard, end: End, bytes: &Bytes) {
        self.handle(world, Event::Received { conn: end.id(), bytes });
    }

    pub(super) fn closed(&mut self, world: &mut Shard, end: End, reason: CloseReason, failed: bool) {
        self.ends.remove(&end);
        let conn = end.id();
        let event = if failed { Event::Failed { conn, reason } } else { Event::Closed { conn, reason } };
        self.handle(world, event);
    }

    pub(super) fn writable(&mut self, world: &mut Shard, end: End) {
        self.handle(world, Event::Writable { conn: end.id() });
    }

    pub(super) fn datagram(&mut self, world: &mut Shard, from: NodeId, bytes: &Bytes) {
        self.handle(world, Event::Datagram { from: address(from).into(), bytes });
    }

    pub(super) fn leave(mut self, world: &mut Shard) {
        let now = self.clock.shows(world.now());
        let mut shell = Shell { world, node: self.node, ends: &mut self.ends, now, wake: None };
        self.peer.stop(now, &mut shell);
        for end in std::mem::take(&mut self.ends) {
            world.close(end);
        }
    }
}

/// What the virtual peer sees of the world.
struct Shell<'a> {
    world: &'a mut Shard,
    node: NodeId,
    ends: &'a mut BTreeSet<End>,
    now: Instant,
    wake: Option<Instant>,
}

impl Host for Shell<'_> {
    fn connect(&mut self, to: SocketAddr) -> Result<ConnId, CloseReason> {
        let node =
            node_at(to, self.world.len()).filter(|n| *n != self.node).ok_or(CloseReason::Unreachable)?;
        let end = self.world.connect(self.node, node);
        self.ends.insert(end);
        Ok(end.id())
    }

    fn send(&mut self, batch: &SendBatch, congested: &mut Vec<ConnId>) {
        for (targets, bytes) in batch.runs() {
            let bytes: Bytes = bytes.into();
            for target in targets {
                let conn = ConnId(*target);
                let Some(waits) = self.world.send(End::of(conn), &bytes) else { continue };
                if waits > CONGESTED_AFTER && !congested.contains(&conn) {
                    congested.push(conn);
                    self.world.tell_when_writable(End::of(conn), waits.min(UPLINK_WAIT_MAX));
                }
            }
        }
    }

    fn close(&mut self, conn: ConnId) {
        let end = End::of(conn);
        self.ends.remove(&end);
        self.world.close(end);
    }

    fn abort(&mut self, conn: ConnId) {
        self.close(conn);
    }

    fn inflate(&mut self, conn: ConnId, _rest: &[u8]) {
        // Compression is off in every configuration here; who offers it all the same is cut off.
        self.close(conn);
    }

    fn deflate(&mut self, conn: ConnId) {
        self.close(conn);
    }

    fn datagram(&mut self, to: SocketAddr, bytes: &[u8]) {
        if let Some(node) = node_at(to, self.world.len()) {
            self.world.datagram(self.node, node, bytes);
        }
    }

    fn wake_at(&mut self, at: Instant) {
        self.wake = Some(at.max(self.now));
    }

    fn wall_seconds(&mut self) -> u64 {
        WALL_START_S + (self.now.0 - START.0) / crate::engine::SECOND
    }

    fn log(&mut self, _: Level, _: &str) {}
}
