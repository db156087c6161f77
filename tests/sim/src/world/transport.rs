//! Connecting, sending and closing: delays, rates, what is lost.
//!
//! A peer's uplink sends one byte after the other, whatever connection it is for; downlinks are taken as wide enough.
//! The way takes the delay of the path. What is sent on a connection arrives in order, unless a fault disorders it.

use avp::Instant;
use avp::gnutella::Guid;
use avp::host::CloseReason;

use super::conns::Keep;
use super::floods::Flood;
use super::shard::Peer;
use super::{Bytes, End, Event, Shard};
use crate::engine::{MS, SECOND};
use crate::internet::place::NodeId;

/// What may wait at an uplink, in nanoseconds of its time; a light peer's messages beyond are dropped.
pub const UPLINK_WAIT_MAX: u64 = 4 * SECOND;
/// A virtual peer's connections are congested from here on.
pub const CONGESTED_AFTER: u64 = 500 * MS;
/// How long a dialler waits where no answer comes.
const DIAL_TIMEOUT: u64 = 10 * SECOND;

impl Shard {
    /// Begins to connect; [`Event::Established`] or [`Event::Closed`] with `failed` follows.
    pub fn connect(&mut self, from: NodeId, to: NodeId) -> End {
        let path = self.places.path(from, to);
        let end = self.conns.open([from, to], None, path.delay_us, path.hops);
        if self.weather.parts(from, to) {
            let at = Instant(self.now().0 + DIAL_TIMEOUT);
            self.queue.push(at, Event::Closed { to: end, reason: CloseReason::TimedOut, failed: true });
        } else {
            let at = Instant(self.now().0 + u64::from(path.delay_us) * 1_000);
            self.post(to, at, Event::Arrive { to, from, far: end });
        }
        end
    }

    pub(super) fn arrive(&mut self, dialled: NodeId, dialler: NodeId, far: End) {
        let path = self.places.path(dialler, dialled);
        let back = Instant(self.now().0 + u64::from(path.delay_us) * 1_000);
        if !self.slot(dialled).online {
            let refused = Event::Closed { to: far, reason: CloseReason::Refused, failed: true };
            self.post(dialler, back, refused);
            return;
        }
        let end = self.conns.open([dialled, dialler], Some(far), path.delay_us, path.hops);
        self.post(dialler, back, Event::Established { to: far, far: end });
        self.with(dialled, |shard, peer| match peer {
            Peer::Light(light) => light.accepted(shard, end, dialler),
            Peer::Virtual(avp) => avp.accepted(shard, end, dialler),
        });
    }

    pub(super) fn established(&mut self, to: End, far: End) {
        let Some(half) = self.conns.get_mut(to) else { return };
        half.far = Some(far);
        if half.closed {
            // The dialler has thought better of it.
            self.tell_closed(to, CloseReason::Reset);
            return;
        }
        let node = half.node;
        self.with(node, |shard, peer| match peer {
            Peer::Light(light) => light.established(shard, to),
            Peer::Virtual(avp) => avp.established(shard, to),
        });
    }

    /// Tells the other side that this one is done, once what was sent has arrived.
    fn tell_closed(&mut self, end: End, reason: CloseReason) {
        let Some(half) = self.conns.get(end) else { return };
        let Some(far) = half.far else { return };
        let (node, other, delay, arrival) =
            (half.node, half.other, u64::from(half.delay_us) * 1_000, half.arrival);
        let left = match reason {
            CloseReason::Ended => self.slot(node).uplink_free.max(self.now()),
            _ => self.now(),
        };
        let at = Instant(left.0 + delay).max(arrival);
        self.post(other, at, Event::Closed { to: far, reason, failed: false });
    }

    pub(super) fn learn_closed(&mut self, to: End, reason: CloseReason, failed: bool) {
        let Some(half) = self.conns.get(to) else { return };
        let (node, index, open) = (half.node, half.keep.index, !half.closed);
        if open {
            // The other side forgets the connection when it hears that this one has closed too.
            self.tell_closed(to, CloseReason::Ended);
        }
        self.conns.forget(to);
        if open {
            self.with(node, |shard, peer| match peer {
                Peer::Light(light) => light.closed(shard, index, failed),
                Peer::Virtual(avp) => avp.closed(shard, to, reason, failed),
            });
        }
    }

    /// The node at the other side of an end.
    #[must_use]
    pub fn other_node(&self, end: End) -> Option<NodeId> {
        Some(self.conns.get(end)?.other)
    }

    /// Remembers what a light peer keeps at its end.
    pub fn keep(&mut self, end: End, keep: Keep) {
        if let Some(half) = self.conns.get_mut(end) {
            half.keep = keep;
        }
    }

    /// When the other side was last heard, at this end; `None` where it never was.
    #[must_use]
    pub fn heard(&self, end: End) -> Option<Instant> {
        let at = self.conns.get(end)?.heard;
        (at != Instant(0)).then_some(at.min(self.now()))
    }

    /// Sends bytes from an end to the other. Answers how long they wait for the uplink, in nanoseconds, or `None` where
    /// a light peer's uplink did not take them.
    pub fn send(&mut self, from: End, bytes: &Bytes) -> Option<u64> {
        self.transmit(from, bytes, None)
    }

    /// Sends a search that was not sent on these connections before. Most copies of a flood come to a router that knows it
    /// already and throws them away: where that is known by now, the copy is booked as delivered at once, and its arrival
    /// is no event.
    pub fn send_search(&mut self, from: &[End], bytes: &Bytes, flood: &Flood) {
        let (conns, own) = (&self.conns, self.nodes());
        let far = |end: &End| conns.get(*end).filter(|half| own.contains(&half.other))?.far;
        let far: Vec<End> = from.iter().filter_map(far).collect();
        conns.read_ahead(far.into_iter());
        for end in from {
            self.transmit(*end, bytes, Some(flood));
        }
    }

    fn transmit(&mut self, from: End, bytes: &Bytes, flood: Option<&Flood>) -> Option<u64> {
        let now = self.queue.now();
        let half = self.conns.get_open(from)?;
        let far = half.far?;
        let (sender, receiver) = (half.node, half.other);
        let slot = &mut self.slots[(sender - self.first) as usize];
        let waits = slot.uplink_free.0.saturating_sub(now.0);
        if waits > UPLINK_WAIT_MAX && slot.config.is_none() {
            self.ledger.overflowed(bytes.len());
            return None;
        }
        let rate = u64::from(slot.uplink_kbit_s) * 1_000 / self.weather.slowness(sender);
        let sending = bytes.len() as u64 * 8 * SECOND / rate.max(1);
        slot.uplink_free = Instant(slot.uplink_free.0.max(now.0) + sending);
        let left = slot.uplink_free;
        self.ledger.sent(bytes, half.hops);
        if let Some(tainted) = self.checks.sent(now, from, sender, bytes) {
            for parcel in &mut self.out {
                parcel.taint(tainted);
            }
        }
        if self.weather.loses(sender, receiver, &mut self.transport_dice) {
            self.ledger.lost_bytes += bytes.len() as u64;
            return Some(waits);
        }
        let disorder = self.weather.disorder(&mut self.transport_dice);
        let mut arrives = Instant(left.0 + u64::from(half.delay_us) * 1_000 + disorder);
        if disorder == 0 {
            arrives = arrives.max(half.arrival);
            half.arrival = arrives;
        }
        let shard = self.atlas.shard(receiver);
        if shard != self.index {
            self.out[shard].deliver(arrives, far, bytes, flood.is_some());
            return Some(waits);
        }
        if let Some(flood) = flood
            && let Some(half) = self.conns.get_open(far)
            && flood.route(half.keep.router, half.keep.born).is_some()
        {
            half.heard = half.heard.max(arrives);
            self.ledger.delivered_bytes += bytes.len() as u64;
            return Some(waits);
        }
        self.queue.push(arrives, Event::Deliver { to: far, bytes: bytes.clone(), search: flood.is_some() });
        Some(waits)
    }

    pub(super) fn deliver(&mut self, to: End, bytes: &Bytes, search: bool) {
        let now = self.now();
        let Some(half) = self.conns.get_open(to) else {
            self.ledger.late_bytes += bytes.len() as u64;
            // Nobody is there any more: the sender is told, in case it has not heard.
            self.tell_closed(to, CloseReason::Reset);
            return;
        };
        half.heard = half.heard.max(now);
        let (node, index) = (half.node, half.keep.index);
        self.ledger.delivered_bytes += bytes.len() as u64;
        // Another copy was faster: the peer would throw this one away.
        let Keep { router, born, .. } = half.keep;
        let guid = || bytes.first_chunk().copied().map(Guid);
        let flood = if search { guid().and_then(|guid| self.floods.get(guid)) } else { None };
        if flood.is_some_and(|flood| flood.route(router, born).is_some()) {
            return;
        }
        self.with(node, |shard, peer| match peer {
            Peer::Light(light) => light.received(shard, index, bytes),
            Peer::Virtual(avp) => avp.received(shard, to, bytes),
        });
    }

    /// Closes an end; the other side learns of it once what was sent has arrived.
    pub fn close(&mut self, end: End) {
        let Some(half) = self.conns.get_open(end) else { return };
        half.closed = true;
        self.tell_closed(end, CloseReason::Ended);
    }

    /// An end disappears: nobody is told.
    pub(super) fn vanish(&mut self, end: End) {
        if let Some(half) = self.conns.get_open(end) {
            half.closed = true;
        }
    }

    /// Sends a datagram. Its bytes are in no book: light peers send none.
    pub fn datagram(&mut self, from: NodeId, to: NodeId, bytes: &[u8]) {
        if self.weather.parts(from, to) {
            return;
        }
        let at = Instant(self.now().0 + u64::from(self.places.path(from, to).delay_us) * 1_000);
        self.post(to, at, Event::Datagram { to, from, bytes: bytes.into() });
    }

    /// Asks for [`Event::Writable`] when the uplink has sent what waits there now.
    pub(super) fn tell_when_writable(&mut self, end: End, after: u64) {
        self.queue.push(Instant(self.now().0 + after), Event::Writable { to: end });
    }

    /// Bytes that are in the queue.
    pub(super) fn queued_bytes(&self) -> u64 {
        let bytes = |e: &Event| match e {
            Event::Deliver { bytes, .. } => bytes.len() as u64,
            _ => 0,
        };
        self.queue.iter().map(bytes).sum()
    }
}
