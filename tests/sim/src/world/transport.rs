//! Connecting, sending and closing: delays, rates, what is lost.
//!
//! A peer's uplink sends one byte after the other, whatever connection it is for; downlinks are taken as wide enough.
//! The way takes the delay of the path. What is sent on a connection arrives in order, unless a fault disorders it.

use avp::Instant;
use avp::host::CloseReason;

use super::conns::Keep;
use super::floods::Flood;
use super::{Bytes, End, Event, Peer, World};
use crate::engine::{MS, SECOND};
use crate::internet::place::NodeId;

/// What may wait at an uplink, in nanoseconds of its time; a light peer's messages beyond are dropped.
pub const UPLINK_WAIT_MAX: u64 = 4 * SECOND;
/// A virtual peer's connections are congested from here on.
pub const CONGESTED_AFTER: u64 = 500 * MS;
/// How long a dialler waits where no answer comes.
const DIAL_TIMEOUT: u64 = 10 * SECOND;

impl World {
    /// Begins to connect; [`Event::Established`] or [`Event::Closed`] with `failed` follows.
    pub fn connect(&mut self, from: NodeId, to: NodeId) -> End {
        let path = self.places.path(from, to);
        let end = self.conns.open([from, to], path.delay_us, path.hops);
        let one_way = u64::from(path.delay_us) * 1_000;
        if self.weather.parts(from, to) {
            self.conns.close(end.other());
            let at = Instant(self.now().0 + DIAL_TIMEOUT);
            self.queue.push(at, Event::Closed { to: end, reason: CloseReason::TimedOut, failed: true });
        } else {
            self.queue.push(Instant(self.now().0 + one_way), Event::Arrive { to: end.other() });
        }
        end
    }

    pub(super) fn arrive(&mut self, to: End) {
        let Some(conn) = self.conns.get_mut(to) else { return };
        if conn.closed[0] {
            // The dialler has thought better of it.
            self.conns.close(to);
            return;
        }
        let [dialler, dialled] = conn.nodes;
        let back = Instant(self.queue.now().0 + u64::from(conn.delay_us) * 1_000);
        if !self.slots[dialled as usize].online {
            self.conns.close(to);
            self.queue
                .push(back, Event::Closed { to: to.other(), reason: CloseReason::Refused, failed: true });
            return;
        }
        conn.established = true;
        self.queue.push(back, Event::Established { to: to.other() });
        self.with(dialled, |world, peer| match peer {
            Peer::Light(light) => light.accepted(world, to, dialler),
            Peer::Virtual(avp) => avp.accepted(world, to, dialler),
        });
    }

    pub(super) fn established(&mut self, to: End) {
        let Some(node) = self.conns.open_at(to) else { return };
        self.with(node, |world, peer| match peer {
            Peer::Light(light) => light.established(world, to),
            Peer::Virtual(avp) => avp.established(world, to),
        });
    }

    pub(super) fn learn_closed(&mut self, to: End, reason: CloseReason, failed: bool) {
        let Some(node) = self.conns.open_at(to) else { return };
        let index = self.conns.get(to).map_or(u32::MAX, |c| c.keep[usize::from(to.side)].index);
        self.conns.close(to);
        self.with(node, |world, peer| match peer {
            Peer::Light(light) => light.closed(world, index, failed),
            Peer::Virtual(avp) => avp.closed(world, to, reason, failed),
        });
    }

    /// The node at the other side of an end.
    #[must_use]
    pub fn other_node(&self, end: End) -> Option<NodeId> {
        Some(self.conns.get(end)?.nodes[usize::from(end.other().side)])
    }

    /// Remembers what a light peer keeps at its end.
    pub fn keep(&mut self, end: End, keep: Keep) {
        if let Some(conn) = self.conns.get_mut(end) {
            conn.keep[usize::from(end.side)] = keep;
        }
    }

    /// When the other side was last heard, at this end; `None` where it never was.
    #[must_use]
    pub fn heard(&self, end: End) -> Option<Instant> {
        let at = self.conns.get(end)?.last_arrival[usize::from(end.other().side)];
        (at != Instant(0)).then_some(at.min(self.now()))
    }

    /// Sends bytes from an end to the other. Answers how long they wait for the uplink, in nanoseconds, or `None` where
    /// a light peer's uplink did not take them.
    pub fn send(&mut self, from: End, bytes: &Bytes) -> Option<u64> {
        self.transmit(from, bytes, None)
    }

    /// Sends a search that was not sent on this connection before. Most copies of a flood come to a router that knows it
    /// already and throws them away: where that is known by now, the copy is booked as delivered at once, and its arrival
    /// is no event.
    pub fn send_search(&mut self, from: End, bytes: &Bytes, flood: &Flood) {
        self.transmit(from, bytes, Some(flood));
    }

    fn transmit(&mut self, from: End, bytes: &Bytes, flood: Option<&Flood>) -> Option<u64> {
        let side = usize::from(from.side);
        let now = self.queue.now();
        let conn = self.conns.get(from).filter(|c| !c.closed[side])?;
        let [sender, receiver] = [conn.nodes[side], conn.nodes[1 - side]];
        let slot = &mut self.slots[sender as usize];
        let waits = slot.uplink_free.0.saturating_sub(now.0);
        if waits > UPLINK_WAIT_MAX && slot.config.is_none() {
            self.ledger.overflowed(bytes.len());
            return None;
        }
        let rate = u64::from(slot.uplink_kbit_s) * 1_000 / self.weather.slowness(sender);
        let sending = bytes.len() as u64 * 8 * SECOND / rate.max(1);
        slot.uplink_free = Instant(slot.uplink_free.0.max(now.0) + sending);
        let left = slot.uplink_free;
        self.ledger.sent(bytes, conn.hops);
        self.checks.sent(now, from, sender, bytes);
        if self.weather.loses(sender, receiver, &mut self.transport_dice) {
            self.ledger.lost_bytes += bytes.len() as u64;
            return Some(waits);
        }
        let disorder = self.weather.disorder(&mut self.transport_dice);
        let Some(conn) = self.conns.get_mut(from) else { return Some(waits) };
        let mut arrives = Instant(left.0 + u64::from(conn.delay_us) * 1_000 + disorder);
        if disorder == 0 {
            arrives = arrives.max(conn.last_arrival[side]);
            conn.last_arrival[side] = arrives;
        }
        let Keep { router, born, .. } = conn.keep[1 - side];
        if !conn.closed[1 - side] && flood.is_some_and(|f| f.route(router, born).is_some()) {
            self.ledger.delivered_bytes += bytes.len() as u64;
            return Some(waits);
        }
        self.queue.push(arrives, Event::Deliver { to: from.other(), bytes: bytes.clone() });
        Some(waits)
    }

    pub(super) fn deliver(&mut self, to: End, bytes: &Bytes) {
        let side = usize::from(to.side);
        let open = self.conns.get(to).filter(|c| !c.closed[side]);
        let Some((node, index)) = open.map(|c| (c.nodes[side], c.keep[side].index)) else {
            self.ledger.late_bytes += bytes.len() as u64;
            // Nobody is there any more: the sender is told, in case it has not heard.
            if let Some(delay) = self.conns.get(to).map(|c| u64::from(c.delay_us) * 1_000) {
                let at = Instant(self.now().0 + delay);
                self.queue
                    .push(at, Event::Closed { to: to.other(), reason: CloseReason::Reset, failed: false });
            }
            return;
        };
        self.ledger.delivered_bytes += bytes.len() as u64;
        self.with(node, |world, peer| match peer {
            Peer::Light(light) => light.received(world, index, bytes),
            Peer::Virtual(avp) => avp.received(world, to, bytes),
        });
    }

    /// Closes an end; the other side learns of it once what was sent has arrived.
    pub fn close(&mut self, end: End) {
        let side = usize::from(end.side);
        let Some(conn) = self.conns.get(end) else { return };
        if conn.closed[side] {
            return;
        }
        let sender = conn.nodes[side];
        let left = self.slots[sender as usize].uplink_free.max(self.queue.now());
        let arrives = Instant(left.0 + u64::from(conn.delay_us) * 1_000).max(conn.last_arrival[side]);
        if conn.established {
            self.queue
                .push(arrives, Event::Closed { to: end.other(), reason: CloseReason::Ended, failed: false });
        }
        self.conns.close(end);
    }

    /// An end disappears: nobody is told.
    pub(super) fn vanish(&mut self, end: End) {
        self.conns.close(end);
    }

    /// Sends a datagram. Its bytes are in no book: light peers send none.
    pub fn datagram(&mut self, from: NodeId, to: NodeId, bytes: &[u8]) {
        if self.weather.parts(from, to) {
            return;
        }
        let at = Instant(self.now().0 + u64::from(self.places.path(from, to).delay_us) * 1_000);
        self.queue.push(at, Event::Datagram { to, from, bytes: bytes.into() });
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

    /// Connections with an open end.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.conns.len()
    }
}
