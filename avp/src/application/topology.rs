//! Topology plane of the application layer: which relations this peer makes itself.
//!
//! The configured hosts are dialled until they are neighbours, and again when they are lost; hosts from the cache, which
//! knows which of them to leave alone for how long, fill the ultrapeer slots that remain.

use crate::config::LIST_MAX;
use crate::host::{ConnId, Instant};
use crate::state::{Damaged, Reader, Saved, Writer};
use std::net::SocketAddr;
use std::time::Duration;

/// Dials and handshakes of our own under way at the same time.
pub const DIALS_MAX: usize = 8;
/// First wait after nobody answered; doubles each time...
const UNREACHED_WAIT: Duration = Duration::from_secs(1);
/// ...up to this.
const UNREACHED_WAIT_MAX: Duration = Duration::from_secs(64);
/// First wait after a peer refused us or left; doubles each time. Peers ban who comes more often than twice a minute.
const REFUSED_WAIT: Duration = Duration::from_secs(40);
/// The longest such wait.
const REFUSED_WAIT_MAX: Duration = Duration::from_secs(640);
/// The longest wait for a host at a loopback address: a neighbour that the node's mesh leads to, or a peer of this machine.
/// Its door is always open and says nothing about the neighbour behind it, who bans nobody for coming back.
const LOCAL_WAIT_MAX: Duration = Duration::from_secs(8);

/// How a dialled host failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// There was no connection.
    Unreached,
    /// There was one, but no relation; or the relation has ended.
    Refused,
}

/// A configured host.
#[derive(Clone, Copy, Debug)]
struct Fixed {
    host: SocketAddr,
    rests_until: Instant,
    failures: u32,
}

/// Whom to dial, and who is being dialled.
#[derive(Debug)]
pub struct Topology {
    fixed: Vec<Fixed>,
    /// At most [`DIALS_MAX`].
    dialling: Vec<(ConnId, SocketAddr)>,
}

impl Topology {
    /// Nobody dialled yet.
    #[must_use]
    pub fn new(fixed: &[SocketAddr]) -> Self {
        let mut topology = Self { fixed: Vec::new(), dialling: Vec::new() };
        topology.configure(fixed);
        topology
    }

    /// Puts another list of hosts to stay connected with in force. What is known of those that remain is kept.
    pub fn configure(&mut self, fixed: &[SocketAddr]) {
        let known = std::mem::take(&mut self.fixed);
        let new = |host| Fixed { host, rests_until: Instant(0), failures: 0 };
        self.fixed =
            fixed.iter().map(|h| known.iter().find(|k| k.host == *h).copied().unwrap_or(new(*h))).collect();
    }

    /// The hosts to dial now, at most `slots` of them less those under way. `candidates` appends up to so many hosts of
    /// the cache; `is_neighbour` tells whom not to dial.
    pub fn choose(
        &mut self,
        now: Instant,
        slots: usize,
        is_neighbour: impl Fn(SocketAddr) -> bool,
        candidates: impl FnOnce(usize, &mut Vec<SocketAddr>),
    ) -> Vec<SocketAddr> {
        let room = slots.min(DIALS_MAX).saturating_sub(self.dialling.len());
        if room == 0 {
            return Vec::new();
        }
        let wanted = |f: &&Fixed| f.rests_until <= now && !is_neighbour(f.host) && !self.is_dialling(f.host);
        let mut chosen: Vec<SocketAddr> =
            self.fixed.iter().filter(wanted).map(|f| f.host).take(room).collect();
        if chosen.len() < room {
            let fixed = chosen.len();
            candidates(room - fixed, &mut chosen);
            chosen.truncate(room);
            for i in (fixed..chosen.len()).rev() {
                if self.is_dialling(chosen[i]) || chosen[..i].contains(&chosen[i]) {
                    chosen.remove(i);
                }
            }
        }
        chosen
    }

    /// Whether a host is being dialled.
    #[must_use]
    pub fn is_dialling(&self, host: SocketAddr) -> bool {
        self.dialling.iter().any(|d| d.1 == host)
    }

    /// A host is being dialled.
    pub fn dialled(&mut self, conn: ConnId, host: SocketAddr) {
        self.dialling.push((conn, host));
    }

    /// The host that a dialled connection was to reach, while there is no relation with it.
    #[must_use]
    pub fn host(&self, conn: ConnId) -> Option<SocketAddr> {
        self.dialling.iter().find(|d| d.0 == conn).map(|d| d.1)
    }

    /// A dialled host has become a neighbour.
    pub fn joined(&mut self, conn: ConnId) {
        let host = self.take(conn);
        for fixed in self.fixed.iter_mut().filter(|f| Some(f.host) == host) {
            fixed.failures = 0;
        }
    }

    fn take(&mut self, conn: ConnId) -> Option<SocketAddr> {
        let place = self.dialling.iter().position(|d| d.0 == conn)?;
        Some(self.dialling.remove(place).1)
    }

    /// A dialled connection is gone, which says nothing about the host.
    pub fn forget(&mut self, conn: ConnId) {
        self.take(conn);
    }

    /// A dialled connection came to nothing. Answers which host that was.
    pub fn failed(&mut self, now: Instant, conn: ConnId, failure: Failure) -> Option<SocketAddr> {
        let host = self.take(conn)?;
        self.avoid(now, host, failure);
        Some(host)
    }

    /// A configured host is to be left alone for a while.
    pub fn avoid(&mut self, now: Instant, host: SocketAddr, failure: Failure) {
        let (first, longest) = match failure {
            _ if host.ip().is_loopback() => (UNREACHED_WAIT, LOCAL_WAIT_MAX),
            Failure::Unreached => (UNREACHED_WAIT, UNREACHED_WAIT_MAX),
            Failure::Refused => (REFUSED_WAIT, REFUSED_WAIT_MAX),
        };
        for fixed in self.fixed.iter_mut().filter(|f| f.host == host) {
            fixed.rests_until = now + (first * (1 << fixed.failures.min(10))).min(longest);
            fixed.failures += 1;
        }
    }

    /// Dials and handshakes of our own under way.
    #[must_use]
    pub fn dialling(&self) -> usize {
        self.dialling.len()
    }
}

impl Saved for Fixed {
    fn save(&self, to: &mut Writer) {
        self.host.save(to);
        self.rests_until.save(to);
        self.failures.save(to);
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self { host: from.load()?, rests_until: from.load()?, failures: from.small_count()? })
    }
}

impl Topology {
    pub(crate) fn save(&self, to: &mut Writer) {
        to.list(self.fixed.iter());
        to.list(self.dialling.iter());
    }

    /// Takes over what is known of the hosts that are configured now, and who is being dialled.
    pub(crate) fn load(&mut self, from: &mut Reader<'_>) -> Result<(), Damaged> {
        let known: Vec<Fixed> = from.list(LIST_MAX)?;
        for fixed in &mut self.fixed {
            *fixed = known.iter().find(|k| k.host == fixed.host).copied().unwrap_or(*fixed);
        }
        for (conn, host) in from.list::<_, Vec<_>>(DIALS_MAX)? {
            from.ensure(self.host(conn).is_none())?;
            self.dialled(conn, host);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(n: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], n))
    }

    fn topology(fixed: &[u16]) -> Topology {
        let fixed: Vec<SocketAddr> = fixed.iter().map(|n| host(*n)).collect();
        Topology::new(&fixed)
    }

    fn at(seconds: u64) -> Instant {
        Instant(0) + Duration::from_secs(seconds)
    }

    /// A cache that has as many hosts as are asked for, from this port on.
    fn cache(from: u16) -> impl FnOnce(usize, &mut Vec<SocketAddr>) {
        move |n, into| into.extend((from..).map(host).take(n))
    }

    #[test]
    fn configured_hosts_come_first_and_dials_are_bounded() {
        let mut t = topology(&[1, 2, 3]);
        let chosen = t.choose(at(0), 32, |h| h == host(2), cache(101));
        assert_eq!(chosen.len(), DIALS_MAX);
        assert_eq!(chosen[..3], [host(1), host(3), host(101)]);
        for (i, h) in chosen.into_iter().enumerate() {
            t.dialled(ConnId(i as u64), h);
        }
        assert_eq!(t.choose(at(0), 32, |_| false, cache(200)), []);
    }

    #[test]
    fn no_more_are_dialled_than_slots_are_free_and_none_twice() {
        let mut t = topology(&[5]);
        t.dialled(ConnId(1), host(10));
        assert_eq!(t.choose(at(0), 3, |_| false, cache(10)), [host(5)]);
        assert_eq!(t.choose(at(0), 3, |_| false, cache(5)), [host(5)]);
        assert_eq!(t.choose(at(0), 1, |_| false, cache(5)), []);
    }

    #[test]
    fn waits_grow_and_end_with_success() {
        let mut t = topology(&[1]);
        let mut waits = Vec::new();
        let mut now = at(0);
        for n in 0..9 {
            t.dialled(ConnId(n), host(1));
            assert_eq!(t.failed(now, ConnId(n), Failure::Unreached), Some(host(1)));
            let from = now;
            while t.choose(now, 1, |_| false, |_, _| {}).is_empty() {
                now = now + Duration::from_secs(1);
            }
            waits.push(now.since(from).as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
        t.dialled(ConnId(50), host(1));
        t.joined(ConnId(50));
        t.avoid(now, host(1), Failure::Refused);
        t.configure(&[host(2), host(1)]);
        assert_eq!(t.choose(now + Duration::from_secs(39), 9, |h| h == host(2), |_, _| {}), []);
        assert_eq!(t.choose(now + Duration::from_secs(40), 9, |h| h == host(2), |_, _| {}), [host(1)]);
    }

    #[test]
    fn a_neighbour_over_the_mesh_is_dialled_again_soon() {
        let door = SocketAddr::from(([127, 0, 0, 1], 7346));
        let mut t = Topology::new(&[door]);
        let mut waits = Vec::new();
        let mut now = at(0);
        for _ in 0..6 {
            t.avoid(now, door, Failure::Refused);
            let from = now;
            while t.choose(now, 1, |_| false, |_, _| {}).is_empty() {
                now = now + Duration::from_secs(1);
            }
            waits.push(now.since(from).as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8, 8, 8]);
    }
}
