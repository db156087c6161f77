//! Pings that tell a silent peer from a dead one, and measure the way to it.

use std::time::Duration;

use super::Role;
use crate::gnutella::Guid;
use crate::host::Instant;
use crate::state::saved;

/// How often a relation is probed, and how long its silence is borne.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// From one alive ping to the next.
    pub interval: Duration,
    /// So many pings without any sign of life, and the relation ends when the next one is due.
    pub unanswered_max: u8,
}

impl Patience {
    /// What gtk-gnutella grants: two minutes of silence to an ultrapeer, eight to a leaf.
    #[must_use]
    pub const fn of(role: Role) -> Self {
        match role {
            Role::Leaf => Self { interval: Duration::from_secs(120), unanswered_max: 4 },
            Role::Ultrapeer | Role::Old => Self { interval: Duration::from_secs(20), unanswered_max: 6 },
        }
    }
}

/// The alive pings of one relation.
///
/// They share a GUID but for its first byte, which counts them: so an answer is recognised without a table, and one
/// that comes late is not taken for the answer to a later ping.
#[derive(Clone, Copy, Debug)]
pub struct Alive {
    guid: Guid,
    sent_at: Instant,
    next_at: Instant,
    unanswered: u8,
    answered: bool,
    heard: bool,
}

saved!(Alive { guid, sent_at, next_at, unanswered, answered, heard });

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// Nothing before [`Alive::next_at`].
    Wait,
    /// Send a ping with this GUID and TTL 1. `lost`: the one before had no answer.
    Ping {
        /// The ping's id.
        guid: Guid,
        /// Whether the one before was sent and had no answer.
        lost: bool,
    },
    /// The peer is dead.
    Dead,
}

impl Alive {
    /// Begins. `guid` is fresh and random; it also spreads the first pings of many relations over an interval.
    #[must_use]
    pub fn start(now: Instant, role: Role, guid: Guid) -> Self {
        let interval = Patience::of(role).interval;
        let next_at = now + interval / 2 + interval * u32::from(guid.0[1]) / 512;
        Self { guid, sent_at: now, next_at, unanswered: 0, answered: true, heard: false }
    }

    /// Notes that the peer has sent something: whatever it is, the peer lives.
    #[inline]
    pub fn heard(&mut self) {
        self.heard = true;
    }

    /// Whether a pong with this GUID answers one of our pings, and how long the answer took if it is the last one's.
    pub fn pong(&mut self, now: Instant, guid: Guid) -> (bool, Option<Duration>) {
        if guid.0[1..] != self.guid.0[1..] {
            return (false, None);
        }
        let latest = guid.0[0] == self.guid.0[0] && !self.answered;
        self.answered |= latest;
        (true, latest.then(|| now.since(self.sent_at)))
    }

    /// When [`Self::beat`] has something to do.
    #[must_use]
    pub fn next_at(&self) -> Instant {
        self.next_at
    }

    /// Says what is to be done at `now`.
    pub fn beat(&mut self, now: Instant, role: Role) -> Beat {
        if now < self.next_at {
            return Beat::Wait;
        }
        let patience = Patience::of(role);
        if std::mem::take(&mut self.heard) {
            self.unanswered = 0;
        }
        if self.unanswered >= patience.unanswered_max {
            return Beat::Dead;
        }
        let lost = !self.answered;
        self.guid.0[0] = self.guid.0[0].wrapping_add(1);
        self.unanswered += 1;
        self.answered = false;
        self.sent_at = now;
        self.next_at = now + patience.interval;
        Beat::Ping { guid: self.guid, lost }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alive(role: Role) -> Alive {
        Alive::start(Instant(0), role, Guid([9; 16]))
    }

    /// Lets the time pass until the peer is given up; how many pings it got, and when that was.
    fn until_dead(
        mut alive: Alive,
        role: Role,
        mut answer: impl FnMut(&mut Alive, Guid) -> bool,
    ) -> (u32, u64) {
        let mut pings = 0;
        loop {
            let now = alive.next_at();
            match alive.beat(now, role) {
                Beat::Wait => panic!("nothing to do at next_at"),
                Beat::Dead => return (pings, now.0 / 1_000_000_000),
                Beat::Ping { guid, .. } => {
                    pings += 1;
                    if pings == 100 || !answer(&mut alive, guid) && pings > 50 {
                        return (pings, now.0 / 1_000_000_000);
                    }
                }
            }
        }
    }

    #[test]
    fn a_silent_ultrapeer_is_given_up_after_six_pings_and_a_leaf_after_four() {
        let (pings, seconds) = until_dead(alive(Role::Ultrapeer), Role::Ultrapeer, |_, _| false);
        assert_eq!(pings, 6);
        assert!((130..=140).contains(&seconds), "{seconds}");
        let (pings, seconds) = until_dead(alive(Role::Leaf), Role::Leaf, |_, _| false);
        assert_eq!(pings, 4);
        assert!((540..=600).contains(&seconds), "{seconds}");
    }

    #[test]
    fn a_peer_that_says_anything_is_kept() {
        let (pings, _) = until_dead(alive(Role::Ultrapeer), Role::Ultrapeer, |alive, _| {
            alive.heard();
            true
        });
        assert_eq!(pings, 100);
    }

    #[test]
    fn the_answer_to_the_last_ping_measures_the_round_trip_once() {
        let mut alive = alive(Role::Ultrapeer);
        let t = alive.next_at();
        let Beat::Ping { guid, lost: false } = alive.beat(t, Role::Ultrapeer) else { panic!() };
        let later = t + Duration::from_millis(70);
        assert_eq!(alive.pong(later, guid), (true, Some(Duration::from_millis(70))));
        assert_eq!(alive.pong(later, guid), (true, None));
        assert_eq!(alive.pong(later, Guid([8; 16])), (false, None));
    }

    #[test]
    fn a_late_answer_counts_but_measures_nothing() {
        let mut alive = alive(Role::Ultrapeer);
        let t = alive.next_at();
        let Beat::Ping { guid: first, .. } = alive.beat(t, Role::Ultrapeer) else { panic!() };
        let t = alive.next_at();
        let Beat::Ping { guid: second, lost: true } = alive.beat(t, Role::Ultrapeer) else { panic!() };
        assert_ne!(first, second);
        assert_eq!(alive.pong(t + Duration::from_millis(5), first), (true, None));
        assert_eq!(alive.pong(t + Duration::from_millis(9), second), (true, Some(Duration::from_millis(9))));
    }
}
