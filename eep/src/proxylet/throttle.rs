//! The processor limit of a service.

use rustix::time::{ClockId, clock_gettime};

use crate::host::Env;

/// Holds a service's thread to a part of a core: processor time is earned as time passes, spent as it is used, and
/// where more was spent than earned the service waits. Runs on the service's own thread.
#[derive(Debug)]
pub(crate) struct Throttle {
    share: f64,
    earned_ns: f64,
    checked_ns: u64,
    used_ns: u64,
}

impl Throttle {
    /// What can be saved up, in nanoseconds of time passed.
    const WINDOW_NS: f64 = 1e9;
    /// The processor's clock takes a system call: it is asked this often.
    const CHECK_NS: u64 = 5_000_000;

    pub(crate) fn new(share: f64, now_ns: u64) -> Self {
        Self { share, earned_ns: share * Self::WINDOW_NS, checked_ns: now_ns, used_ns: thread_ns() }
    }

    /// Puts another share in force; what was saved up or overspent goes on.
    pub(crate) fn set_share(&mut self, share: f64, now_ns: u64) {
        self.earned_ns = self.balance(now_ns);
        self.checked_ns = self.checked_ns.max(now_ns);
        self.share = share;
    }

    /// Until when the service must wait, where it must.
    pub(crate) fn held_until_ns(&mut self, now_ns: u64) -> Option<u64> {
        let missing = -self.balance(now_ns);
        (missing > 0.0).then(|| now_ns + (missing / self.share) as u64 + 1)
    }

    /// Notes what was used since the last time.
    pub(crate) fn account(&mut self, env: &Env, now_ns: u64) {
        if now_ns.saturating_sub(self.checked_ns) < Self::CHECK_NS {
            return;
        }
        let used_ns = thread_ns();
        let spent = used_ns.saturating_sub(self.used_ns);
        env.figures.cpu_ns.add(spent);
        self.spend(now_ns, spent);
        self.used_ns = used_ns;
    }

    fn balance(&self, now_ns: u64) -> f64 {
        if self.share >= 1.0 {
            return 0.0;
        }
        let passed = now_ns.saturating_sub(self.checked_ns) as f64;
        (self.earned_ns + passed * self.share).min(self.share * Self::WINDOW_NS)
    }

    fn spend(&mut self, now_ns: u64, spent_ns: u64) {
        self.earned_ns = self.balance(now_ns) - spent_ns as f64;
        self.checked_ns = now_ns;
    }
}

/// Processor time of this thread, in nanoseconds.
fn thread_ns() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    (now.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(now.tv_nsec as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_service_that_uses_all_it_can_gets_its_share() {
        let mut t = Throttle::new(0.25, 0);
        let (mut now, mut used) = (0, 0);
        while now < 10_000 * MS {
            match t.held_until_ns(now) {
                Some(until) => now = until,
                None => {
                    now += 10 * MS;
                    used += 10 * MS;
                    t.spend(now, 10 * MS);
                }
            }
        }
        // What was saved up before the first moment counts once.
        let share = (used - 250 * MS) as f64 / now as f64;
        assert!((0.24..0.26).contains(&share), "{share}");
    }

    #[test]
    fn a_whole_core_is_never_held() {
        let mut t = Throttle::new(1.0, 0);
        for i in 1..100 {
            t.spend(i * MS, 10 * MS);
            assert_eq!(t.held_until_ns(i * MS), None);
        }
    }
}
