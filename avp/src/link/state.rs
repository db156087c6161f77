//! [`Link`]: one relation with one peer.

use std::net::SocketAddr;
use std::time::Duration;

use super::alive::{Alive, Beat};
use super::flow::Flow;
use super::framing::{Framing, Input};
use super::{Ending, Support, Terms};
use crate::gnutella::vendor::Message;
use crate::gnutella::{Guid, Header, Kind};
use crate::host::{ConnId, Instant};
use crate::network::monitoring::LinkMonitor;
use crate::state::saved;

/// One relation. There may be ten thousand, so what is not in use has no memory: see the test on its size.
#[derive(Debug)]
pub struct Link {
    /// The connection.
    pub conn: ConnId,
    /// The other end.
    pub remote: SocketAddr,
    /// What was agreed.
    pub terms: Terms,
    /// When the handshake was done.
    pub since: Instant,
    /// What waits to be sent.
    pub flow: Flow,
    /// What was measured.
    pub monitor: LinkMonitor,
    /// Which vendor messages the peer says that it understands.
    pub support: Support,
    framing: Framing,
    /// Where a message was unfinished at the last look at the link: how many had come before it.
    unfinished: Option<u64>,
    alive: Alive,
    /// Queries that have made so many hops are not wanted.
    hops_limit: u8,
}

saved!(Link { conn, remote, terms, since, flow, monitor, support, framing, unfinished, alive, hops_limit });

/// What a relation needs now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tick {
    /// Nothing.
    Idle,
    /// This ping, which has no payload.
    Ping(Header),
    /// An end.
    End(Ending),
}

impl Link {
    /// A relation that begins now. `alive` is a fresh random GUID.
    #[must_use]
    pub fn new(now: Instant, conn: ConnId, remote: SocketAddr, terms: Terms, alive: Guid) -> Self {
        let alive = Alive::start(now, terms.role, alive);
        Self {
            conn,
            remote,
            terms,
            since: now,
            flow: Flow::default(),
            monitor: LinkMonitor::start(now),
            support: Support::default(),
            framing: Framing::default(),
            unfinished: None,
            alive,
            hops_limit: u8::MAX,
        }
    }

    /// Takes a chunk of what came in. Nothing of the link is borrowed while its messages are handled; [`Self::keep`] the
    /// rest afterwards.
    #[inline]
    pub fn read<'b>(&mut self, chunk: &'b [u8]) -> Input<'b> {
        self.alive.heard();
        self.monitor.received.add(chunk.len());
        self.framing.read(chunk)
    }

    /// Takes back what a chunk has left unfinished, and counts its messages.
    #[inline]
    pub fn keep(&mut self, input: Input<'_>) {
        self.monitor.messages_received += u64::from(input.frames());
        self.framing.keep(input);
    }

    /// Whether a pong with this GUID answers one of our alive pings; then it is for us alone.
    pub fn pong(&mut self, now: Instant, guid: Guid) -> bool {
        let (ours, rtt) = self.alive.pong(now, guid);
        if let Some(rtt) = rtt {
            self.monitor.round_trip.sample(rtt);
        }
        ours
    }

    /// When [`Self::tick`] is to be called next.
    #[must_use]
    pub fn next_tick(&self) -> Instant {
        self.alive.next_at()
    }

    /// Memory for the beginning of a message, in bytes.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.framing.held_bytes()
    }

    /// Whether the message that is unfinished was so at the last look already.
    fn is_unfinished(&mut self) -> bool {
        let now = (self.framing.held_bytes() > 0).then_some(self.monitor.messages_received);
        let before = std::mem::replace(&mut self.unfinished, now);
        now.is_some() && now == before
    }

    /// Looks whether the relation still lives, and keeps it alive.
    pub fn tick(&mut self, now: Instant) -> Tick {
        match self.alive.beat(now, self.terms.role) {
            Beat::Wait => Tick::Idle,
            Beat::Dead => Tick::End(Ending::Silent),
            Beat::Ping { .. } if self.flow.is_stalled(now) => Tick::End(Ending::Stalled),
            Beat::Ping { .. } if self.is_unfinished() => Tick::End(Ending::Unfinished),
            Beat::Ping { guid, lost } => {
                self.monitor.ping(now, lost);
                Tick::Ping(Header { guid, kind: Kind::PING, ttl: 1, hops: 0, len: 0 })
            }
        }
    }

    /// Takes the peer's wish to get only queries that have made fewer hops (`BEAR/4`).
    pub fn limit_hops(&mut self, hops: u8) {
        self.hops_limit = hops;
    }

    /// Whether the peer wants a query that has made so many hops.
    #[must_use]
    #[inline]
    pub fn takes_queries(&self, hops: u8) -> bool {
        hops < self.hops_limit || self.hops_limit == u8::MAX
    }

    /// How long the relation has lasted.
    #[must_use]
    pub fn age(&self, now: Instant) -> Duration {
        now.since(self.since)
    }

    /// The message that sets the peer's own limit for queries to us (`BEAR/4`), where it understands it.
    pub(super) fn hops_flow_message(&self, hops: u8) -> Option<(Header, Vec<u8>)> {
        let header = Header { guid: Guid::ZERO, kind: Kind::VENDOR, ttl: 1, hops: 0, len: 0 };
        self.support.has(Support::HOPS_FLOW).then(|| (header, Message::HopsFlow { hops }.encode()))
    }

    #[inline]
    pub(super) fn count_sent(&mut self, bytes: usize) {
        self.monitor.messages_sent += 1;
        self.monitor.sent.add(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gnutella::HEADER_LEN;
    use crate::link::terms::tests::terms;
    use crate::link::{Frame, Role};

    fn link(role: Role) -> Link {
        Link::new(Instant(0), ConnId(1), ([127, 0, 0, 1], 9).into(), terms(role), Guid([1; 16]))
    }

    #[test]
    fn ten_thousand_idle_leaves_cost_little() {
        assert!(size_of::<Link>() <= 512, "{}", size_of::<Link>());
        let mut link = link(Role::Leaf);
        let mut input = link.read(&[0; HEADER_LEN]);
        assert!(matches!(input.next(), Some(Frame::Message(..))));
        link.keep(input);
        assert_eq!(link.framing.held_bytes(), 0);
        assert!(!link.flow.is_waiting());
    }

    #[test]
    fn bytes_and_messages_are_counted_as_they_come() {
        let mut link = link(Role::Leaf);
        let mut input = link.read(&[0; 2 * HEADER_LEN + 5]);
        while input.next().is_some() {}
        link.keep(input);
        assert_eq!((link.monitor.messages_received, link.monitor.received.total_bytes()), (2, 51));
    }

    #[test]
    fn ticks_ping_until_the_peer_is_dead_and_pongs_measure() {
        let mut link = link(Role::Ultrapeer);
        let Tick::Ping(ping) = link.tick(link.next_tick()) else { panic!("no ping") };
        assert_eq!((ping.kind, ping.ttl, ping.hops), (Kind::PING, 1, 0));
        let sent = link.next_tick() - Duration::from_secs(20);
        assert!(link.pong(sent + Duration::from_millis(30), ping.guid));
        let rtt = link.monitor.round_trip.smoothed().unwrap();
        assert!(rtt.abs_diff(Duration::from_millis(30)) < Duration::from_micros(10), "{rtt:?}");
        assert!(!link.pong(sent, Guid([9; 16])));
        let mut ticks = Vec::new();
        while ticks.last() != Some(&Tick::End(Ending::Silent)) {
            ticks.push(link.tick(link.next_tick()));
            assert!(ticks.len() < 20);
        }
        assert_eq!(link.monitor.loss(), Some(4.0 / 5.0));
    }

    #[test]
    fn a_peer_that_does_not_finish_a_message_is_given_up() {
        let mut link = link(Role::Ultrapeer);
        let drip = |link: &mut Link, bytes: &[u8]| {
            let mut input = link.read(bytes);
            while input.next().is_some() {}
            link.keep(input);
            link.tick(link.next_tick())
        };
        let message =
            Header { guid: Guid([1; 16]), kind: Kind::QUERY, ttl: 1, hops: 0, len: 0 }.frame(&[7; 9]);
        let (begin, rest) = message.split_at(20);
        assert!(matches!(drip(&mut link, begin), Tick::Ping(_)));
        assert!(matches!(drip(&mut link, &[rest, begin].concat()), Tick::Ping(_)), "another message");
        assert_eq!(drip(&mut link, &rest[..4]), Tick::End(Ending::Unfinished));
    }

    #[test]
    fn a_peer_that_takes_nothing_is_given_up() {
        let mut link = link(Role::Ultrapeer);
        link.flow.congested(Instant(0));
        let mut now = Instant(0);
        while link.tick(now) != Tick::End(Ending::Stalled) {
            let input = link.read(b"x");
            link.keep(input);
            now = link.next_tick();
            assert!(now < Instant(0) + Duration::from_secs(200));
        }
        assert!(now >= Instant(0) + super::super::flow::STALLED_MAX);
    }
}
