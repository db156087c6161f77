//! The capability `clock`: the wall clock, and timers that come back as events.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};

use crate::host::bindings::eep::proxylet::clock;
use crate::host::{Env, Host};

/// The monotonic clock of one service: the machine's, moved so that it never starts before the last checkpoint of
/// the same service (a machine's clock starts again when the machine does).
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServiceClock {
    ahead_ns: u64,
}

impl ServiceClock {
    /// A clock that reads at least `past_ns` now.
    pub(crate) fn not_before(past_ns: u64) -> Self {
        Self { ahead_ns: past_ns.saturating_sub(machine_ns()) }
    }

    pub(crate) fn now_ns(&self) -> u64 {
        machine_ns().saturating_add(self.ahead_ns)
    }
}

fn machine_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    (now.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(now.tv_nsec as u64)
}

/// The timers of one service.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timers {
    due: HashMap<u64, u64>,
    queue: BTreeSet<(u64, u64)>,
}

impl Timers {
    /// Timers that may be set at one time.
    pub(crate) const MAX: usize = 1_024;

    /// Whether there was room.
    pub(crate) fn set(&mut self, token: u64, at_ns: u64) -> bool {
        if !self.due.contains_key(&token) && self.due.len() >= Self::MAX {
            return false;
        }
        self.cancel(token);
        self.due.insert(token, at_ns);
        self.queue.insert((at_ns, token));
        true
    }

    pub(crate) fn cancel(&mut self, token: u64) {
        if let Some(at_ns) = self.due.remove(&token) {
            self.queue.remove(&(at_ns, token));
        }
    }

    /// When the next timer is due.
    pub(crate) fn next_ns(&self) -> Option<u64> {
        self.queue.first().map(|(at_ns, _)| *at_ns)
    }

    /// Takes out the first timer that is due.
    pub(crate) fn take_due(&mut self, now_ns: u64) -> Option<u64> {
        let (at_ns, token) = *self.queue.first()?;
        if at_ns > now_ns {
            return None;
        }
        self.cancel(token);
        Some(token)
    }
}

impl clock::Host for Host {
    fn wall(&mut self) -> u64 {
        let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or(Duration::ZERO);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    fn set_timer(&mut self, token: u64, at: u64) {
        let env: &Env = &self.env;
        if !env.timers.borrow_mut().set(token, at) {
            env.figures.timers_refused.add(1);
            env.log.node_warn(&format!(
                "timer {token} was not set: {} are set, the most there can be",
                Timers::MAX
            ));
        }
    }

    fn cancel_timer(&mut self, token: u64) {
        self.env.timers.borrow_mut().cancel(token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_come_in_order_and_once() {
        let mut t = Timers::default();
        for (token, at) in [(1, 30), (2, 10), (3, 20), (4, 10)] {
            assert!(t.set(token, at));
        }
        t.cancel(4);
        t.set(1, 15);
        assert_eq!(t.next_ns(), Some(10));
        let mut due = || t.take_due(20);
        assert_eq!([due(), due(), due(), due()], [Some(2), Some(1), Some(3), None]);
        assert_eq!(t.next_ns(), None);
    }

    #[test]
    fn one_more_than_there_may_be_is_refused_and_a_known_one_is_not() {
        let mut t = Timers::default();
        for token in 0..Timers::MAX as u64 {
            assert!(t.set(token, token));
        }
        assert!(!t.set(5_000, 1));
        assert!(t.set(7, 9_999));
        t.cancel(8);
        assert!(t.set(5_000, 1));
    }

    #[test]
    fn the_clock_does_not_start_before_the_checkpoint() {
        let far = ServiceClock::not_before(0).now_ns() + (1 << 60);
        let clock = ServiceClock::not_before(far);
        let now = clock.now_ns();
        assert!(now >= far && clock.now_ns() >= now);
    }
}
