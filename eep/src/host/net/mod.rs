//! The capability `net`: TCP streams.
//!
//! ```text
//!  peer ─▶ socket ─▶ ConnTask ─▶ Inbox ─▶ driver ─▶ handle(events, bytes)      one call a batch
//!                                                        │ net.send
//!  peer ◀─ socket ◀─ driver, or ConnTask where full ◀─ Outbound
//! ```
//!
//! Sockets are read straight into the pending batch, and what the proxylet sends is written by the driver right after
//! the call: an idle connection holds no buffer, and a busy one no more than what waits on it.

pub(crate) mod connect;
pub(crate) mod connection;
mod deflate;
mod enforce;
mod inflate;
pub(crate) mod link;
pub(crate) mod listener;
pub(crate) mod outbound;
pub(crate) mod relay;
pub(crate) mod shape;

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, HashMap};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use slab::Slab;
use tokio::net::TcpStream;

pub(crate) use self::link::link;

use self::connection::{Conn, Far, Phase};
use self::deflate::{Compressor, Deflate};
use self::inflate::Inflate;
use self::listener::Listeners;
use self::outbound::Outbound;
use self::shape::{Shaper, UNCLASSED};
use crate::host::bindings::eep::proxylet::types::CloseReason;
use crate::host::descriptors::{Descriptor, Descriptors};
use crate::host::inbox::Inbox;
use crate::observe::figures::Figures;

/// All connections and listeners of one service.
#[derive(Debug)]
pub(crate) struct Net {
    conns: Slab<Conn>,
    pub(crate) listeners: Listeners,
    descriptors: Arc<Descriptors>,
    connections_max: usize,
    figures: Arc<Figures>,
    /// Connections with bytes that no one has tried to write yet.
    dirty: Vec<u64>,
    deadlines: BinaryHeap<Reverse<(u64, u64, Due)>>,
    compressor: Option<Box<Compressor>>,
    spare: Spare,
    scratch: Vec<u8>,
    /// The batch that the proxylet is handling or has handled last.
    batch: u64,
    /// Whether what is put aside may be taken over.
    pub(crate) takes_over: bool,
    /// Held by each peer that is passed on to elsewhere.
    passed_on: Rc<()>,
    /// Connections by the address of the peer.
    from_address: HashMap<IpAddr, u32>,
    /// Bytes that are not yet counted against budgets, by the budgets' places.
    metered: Vec<u64>,
    shaper: Shaper,
}

/// What happens to a connection when its time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// What waits for compression is sent.
    Flush,
    /// It is closed, whatever still waits.
    Close,
}

/// Empty outbound queues, kept so that a busy service does not allocate one for each connection in each batch.
#[derive(Debug, Default)]
#[expect(clippy::vec_box, reason = "a connection holds its queue boxed, and the box is reused too")]
struct Spare(Vec<Box<Outbound>>);

impl Spare {
    const MAX: usize = 256;

    fn take(&mut self) -> Box<Outbound> {
        self.0.pop().unwrap_or_default()
    }

    fn put(&mut self, out: Box<Outbound>) {
        if self.0.len() < Self::MAX {
            self.0.push(out);
        }
    }
}

/// A connection's id: its place in the table below, a number that is never used twice above.
const PLACE_BITS: u32 = 24;

fn place_of(id: u64) -> usize {
    (id & ((1 << PLACE_BITS) - 1)) as usize
}

fn find(conns: &mut Slab<Conn>, id: u64) -> Option<&mut Conn> {
    conns.get_mut(place_of(id)).filter(|conn| conn.id == id)
}

fn next_id(place: usize) -> u64 {
    static SERIAL: AtomicU64 = AtomicU64::new(1);
    (SERIAL.fetch_add(1, Relaxed) << PLACE_BITS) | place as u64
}

impl Net {
    /// Above so many waiting bytes a connection is reported as congested.
    pub(crate) const CONGESTED_BYTES: usize = 64 << 10;
    /// Below so many it is reported as writable again.
    pub(crate) const WRITABLE_BYTES: usize = 16 << 10;
    /// Above so many it is closed.
    pub(crate) const WAITING_BYTES_MAX: usize = 1 << 20;
    /// Runs up to this size are copied to each target: cheaper than to count who holds them.
    const COPY_BYTES_MAX: usize = 1_024;
    /// Nanoseconds in which what was sent before a close may leave.
    const DRAIN_NS: u64 = 5_000_000_000;
    /// Nanoseconds in which the peer may end its side after that.
    const LINGER_NS: u64 = 1_000_000_000;
    /// Connections that the ids have places for.
    const PLACES_MAX: usize = 1 << PLACE_BITS;

    pub(crate) fn new(connections_max: u32, descriptors: Arc<Descriptors>, figures: Arc<Figures>) -> Self {
        Self {
            conns: Slab::new(),
            listeners: Listeners::default(),
            descriptors,
            connections_max: (connections_max as usize).min(Self::PLACES_MAX),
            figures,
            dirty: Vec::new(),
            deadlines: BinaryHeap::new(),
            compressor: None,
            spare: Spare::default(),
            scratch: Vec::new(),
            batch: 0,
            takes_over: false,
            passed_on: Rc::default(),
            from_address: HashMap::new(),
            metered: Vec::new(),
            shaper: Shaper::default(),
        }
    }

    /// Puts another limit of connections in force; those that there are stay.
    pub(crate) fn allow(&mut self, connections_max: u32) {
        self.connections_max = (connections_max as usize).min(Self::PLACES_MAX);
    }

    /// Says which batch the proxylet is about to handle.
    pub(crate) fn begin_batch(&mut self, number: u64) {
        self.batch = number;
    }

    /// Puts connections aside: they are not read until somebody takes them over.
    pub(crate) fn shelve(&mut self, ids: &[u64]) {
        for id in ids {
            if let Some(conn) = self.get_mut(*id) {
                conn.shelved = true;
            }
        }
    }

    /// Takes over what was put aside.
    pub(crate) fn unshelve(&mut self) {
        for (_, conn) in &mut self.conns {
            if std::mem::take(&mut conn.shelved) {
                conn.wake();
            }
        }
    }

    /// Ends what is still put aside; which these were.
    pub(crate) fn remove_shelved(&mut self) -> Vec<u64> {
        let shelved = self.conns.iter().filter(|(_, conn)| conn.shelved);
        let ids: Vec<u64> = shelved.map(|(_, conn)| conn.id).collect();
        for id in &ids {
            self.remove(*id);
        }
        ids
    }

    /// Tells of these connections when they have room, also where they have it already.
    pub(crate) fn expect_writable(&mut self, ids: &[u64]) {
        for id in ids {
            if let Some(conn) = find(&mut self.conns, *id) {
                conn.congested = true;
                mark_dirty(conn, &mut self.dirty);
            }
        }
    }

    fn publish_len(&self) {
        self.figures.connections.set(self.conns.len() as u64);
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut Conn> {
        find(&mut self.conns, id)
    }

    fn wake(&mut self, id: u64) {
        if let Some(conn) = self.get_mut(id) {
            conn.wake();
        }
    }

    /// One of the node's descriptors, for a socket that is no connection.
    pub(crate) fn descriptor(&self) -> Option<Descriptor> {
        self.descriptors.take()
    }

    /// Makes a connection, within the limits of service and node.
    pub(crate) fn admit(&mut self, phase: Phase, stream: Option<TcpStream>, far: Far) -> Option<u64> {
        if self.conns.len() >= self.connections_max {
            return None;
        }
        let descriptor = self.descriptors.take()?;
        let place = self.conns.vacant_entry();
        let id = next_id(place.key());
        place.insert(Conn {
            id,
            phase,
            far,
            peer: None,
            met: None,
            measured: None,
            budgets: 0,
            class: UNCLASSED,
            stream,
            out: None,
            deflate: None,
            inflate: None,
            task: None,
            in_batch: 0,
            receive: true,
            congested: false,
            reported: false,
            blocked: false,
            dirty: false,
            touched: self.batch + 1,
            shelved: false,
            _descriptor: descriptor,
        });
        *self.from_address.entry(far.address.ip().to_canonical()).or_insert(0) += 1;
        self.publish_len();
        Some(id)
    }

    /// The connections that an instance knows of: it was told of those that were accepted, and it has not closed them,
    /// nor have their peers. Those that are put aside are among them.
    pub(crate) fn live(&self, inbox: &Inbox) -> impl Iterator<Item = &Conn> {
        let untold = inbox.accepted();
        let live = move |conn: &&Conn| {
            matches!(conn.phase, Phase::Open | Phase::Connecting(_)) && !untold.contains(&conn.id)
        };
        self.conns.iter().map(|(_, conn)| conn).filter(live)
    }

    /// The same without those that are put aside.
    pub(crate) fn known(&self, inbox: &Inbox) -> Vec<u64> {
        self.live(inbox).filter(|conn| !conn.shelved).map(|conn| conn.id).collect()
    }

    /// Ends a connection without a word to the proxylet.
    pub(crate) fn remove(&mut self, id: u64) {
        if self.get_mut(id).is_none() {
            return;
        }
        let conn = self.conns.remove(place_of(id));
        self.shaper.leave(id);
        if conn.is_neighbour() {
            self.figures.neighbours.set(self.figures.neighbours.get() - 1);
        }
        if let Entry::Occupied(mut count) = self.from_address.entry(conn.far.address.ip().to_canonical()) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        if let Phase::Connecting(task) = &conn.phase {
            task.abort();
        }
        conn.wake();
        self.publish_len();
    }

    /// Ends all connections and listeners at once.
    pub(crate) fn clear(&mut self) {
        self.listeners.clear();
        let ids: Vec<u64> = self.conns.iter().map(|(_, conn)| conn.id).collect();
        for id in ids {
            self.remove(id);
        }
        self.dirty.clear();
        self.deadlines.clear();
    }

    /// Adds a run to what waits on a connection: `shared` without copying it, where there is such a thing.
    fn queue(&mut self, id: u64, run: &[u8], shared: Option<&Bytes>, now_ns: u64) -> Queued {
        let Some(conn) = find(&mut self.conns, id) else { return Queued::Skipped };
        if !matches!(conn.phase, Phase::Open | Phase::Connecting(_)) {
            return Queued::Skipped;
        }
        conn.touched = conn.touched.max(self.batch);
        let waiting = conn.waiting() + run.len();
        if waiting > Self::WAITING_BYTES_MAX {
            return Queued::Overrun;
        }
        if let Some(deflate) = &mut conn.deflate {
            deflate.push(run);
            if deflate.waiting() >= Deflate::FLUSH_BYTES {
                self.compress(id, false);
            } else if deflate.wants_flush_timer() {
                self.deadlines.push(Reverse((
                    now_ns.saturating_add(Deflate::FLUSH_AFTER_NS),
                    id,
                    Due::Flush,
                )));
            }
            return Queued::Added { waiting };
        }
        let out = conn.out.get_or_insert_with(|| self.spare.take());
        match shared {
            Some(shared) => out.push_shared(shared.clone()),
            None => out.push(run),
        }
        mark_dirty(conn, &mut self.dirty);
        Queued::Added { waiting }
    }

    /// Whether more waits on a connection than should, although the socket was given what it takes. True once in a
    /// call of `net.send`: see [`Self::report_congested`].
    fn is_congested(&mut self, id: u64, inbox: &mut Inbox) -> bool {
        match self.get_mut(id) {
            None => return false,
            Some(conn) if conn.reported => return false,
            Some(conn) if conn.congested => {}
            Some(_) => self.flush(id, inbox),
        }
        let Some(conn) = self.get_mut(id) else { return false };
        let congested = conn.waiting() > Self::CONGESTED_BYTES;
        conn.congested |= congested;
        conn.reported = congested;
        congested
    }

    /// Ends a call of `net.send` that reports these connections.
    pub(crate) fn report_congested(&mut self, congested: &[u64]) {
        for id in congested {
            if let Some(conn) = self.get_mut(*id) {
                conn.reported = false;
            }
        }
    }

    /// Compresses what waits for it on a connection; `last` ends its stream.
    fn compress(&mut self, id: u64, last: bool) {
        let Some(conn) = find(&mut self.conns, id) else { return };
        let Some(deflate) = &mut conn.deflate else { return };
        let compressor = self.compressor.get_or_insert_with(|| Box::new(Compressor::new()));
        let out = conn.out.get_or_insert_with(|| self.spare.take());
        out.append_with(
            |out| if last { deflate.finish(compressor, out) } else { deflate.flush(compressor, out) },
        );
        mark_dirty(conn, &mut self.dirty);
    }

    /// Lets what waits on a connection leave, then closes it; nothing is delivered from it any more.
    fn drain(&mut self, id: u64, now_ns: u64) {
        if self.get_mut(id).is_some_and(|conn| conn.deflate.is_some()) {
            self.compress(id, true);
        }
        if let Some(conn) = self.get_mut(id) {
            conn.deflate = None;
            conn.phase = Phase::Draining;
            conn.wake();
            self.deadlines.push(Reverse((now_ns.saturating_add(Self::DRAIN_NS), id, Due::Close)));
        }
    }

    /// Closes a connection once what waits on it has left, at most [`Self::DRAIN_NS`] later.
    pub(crate) fn close(&mut self, id: u64, now_ns: u64) {
        match self.get_mut(id).map(|conn| &conn.phase) {
            // Nothing has been agreed with the peer yet.
            Some(Phase::Connecting(_)) => self.remove(id),
            Some(Phase::Open) => self.drain(id, now_ns),
            _ => {}
        }
    }

    /// Closes all connections, each once what waits on it has left.
    pub(crate) fn close_all(&mut self, now_ns: u64) {
        let ids: Vec<u64> = self.conns.iter().map(|(_, conn)| conn.id).collect();
        for id in ids {
            self.close(id, now_ns);
        }
    }

    fn linger(&mut self, id: u64, now_ns: u64, inbox: &mut Inbox) {
        // The driver sleeps until the deadline that it knows of.
        inbox.call_driver();
        self.deadlines.push(Reverse((now_ns.saturating_add(Self::LINGER_NS), id, Due::Close)));
    }

    /// Whether bytes of any connection have not left.
    pub(crate) fn has_waiting(&self) -> bool {
        self.conns.iter().any(|(_, conn)| conn.waiting() > 0)
    }

    /// Switches a connection's receiving side to zlib.
    pub(crate) fn inflate(&mut self, id: u64, rest: &[u8], inbox: &mut Inbox) {
        let batch = self.batch;
        let Some(conn) = self.get_mut(id).filter(|conn| matches!(conn.phase, Phase::Open)) else { return };
        if rest.len() > Inflate::REST_BYTES_MAX || conn.inflate.is_some() {
            return self.fail(id, CloseReason::Corrupt, inbox);
        }
        conn.inflate = Some(Box::new(Inflate::new(rest)));
        conn.touched = conn.touched.max(batch);
        // The rest may hold a whole message while the peer waits for the answer to it.
        conn.wake();
    }

    /// Switches a connection's sending side to zlib.
    pub(crate) fn deflate(&mut self, id: u64) {
        let batch = self.batch;
        if let Some(conn) = self.get_mut(id).filter(|conn| matches!(conn.phase, Phase::Open)) {
            conn.touched = conn.touched.max(batch);
            conn.deflate.get_or_insert_with(|| Box::new(Deflate::new()));
        }
    }

    pub(crate) fn receive(&mut self, id: u64, on: bool) {
        let batch = self.batch;
        if let Some(conn) = self.get_mut(id) {
            conn.touched = conn.touched.max(batch);
            conn.receive = on;
            conn.wake();
        }
    }

    /// Tries to write all connections that have got something to send.
    pub(crate) fn flush_dirty(&mut self, inbox: &mut Inbox) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for id in dirty.drain(..) {
            if let Some(conn) = self.get_mut(id) {
                conn.dirty = false;
                self.flush(id, inbox);
            }
        }
        // Nothing was added meanwhile: flushing sends, it does not queue.
        self.dirty = dirty;
    }

    /// Throws away what waits to leave, as if it had left.
    pub(crate) fn throw_away(&mut self) {
        for id in self.dirty.drain(..) {
            let Some(conn) = find(&mut self.conns, id) else { continue };
            conn.dirty = false;
            if let Some(mut out) = conn.out.take() {
                out.advance(out.waiting());
                self.spare.put(out);
            }
        }
    }

    /// When [`Self::run_due`] has something to do.
    pub(crate) fn next_due_ns(&self) -> Option<u64> {
        let deadline = self.deadlines.peek().map(|Reverse((at_ns, ..))| *at_ns);
        deadline.into_iter().chain(self.shaper.next_due_ns()).min()
    }

    /// Does what is due.
    pub(crate) fn run_due(&mut self, now_ns: u64) {
        for id in self.shaper.take_due(now_ns) {
            self.wake(id);
        }
        while let Some(&Reverse((at_ns, id, due))) = self.deadlines.peek() {
            if at_ns > now_ns {
                return;
            }
            self.deadlines.pop();
            match due {
                Due::Close => self.remove(id),
                Due::Flush => {
                    let deflate = self.get_mut(id).and_then(|conn| conn.deflate.as_mut());
                    if deflate.is_some_and(|deflate| deflate.flush_timer_fired()) {
                        self.compress(id, false);
                    }
                }
            }
        }
    }
}

/// Counts bytes against budgets.
#[inline]
fn meter(metered: &mut Vec<u64>, budgets: u32, len: usize) {
    if budgets == 0 {
        return;
    }
    metered.resize(metered.len().max(u32::BITS as usize), 0);
    for (place, bytes) in metered.iter_mut().enumerate() {
        *bytes += len as u64 * u64::from(budgets >> place & 1);
    }
}

fn mark_dirty(conn: &mut Conn, dirty: &mut Vec<u64>) {
    if !conn.dirty {
        conn.dirty = true;
        dirty.push(conn.id);
    }
}

/// What became of a run for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Queued {
    /// So many bytes wait now, before compression.
    Added { waiting: usize },
    /// The connection is unknown or closed.
    Skipped,
    /// More would wait than may.
    Overrun,
}
