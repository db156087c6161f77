//! What the probe measures, without any I/O: connections asked for, and how long they took. This is what tests try.

use std::collections::BTreeMap;

/// A connection that is being made.
pub type Attempt = u64;

/// Attempts that have not ended yet. An attempt ends by itself in the node, so there are never more than targets times
/// the rounds that fit into the node's time for connecting.
#[derive(Debug, Default)]
pub struct Rounds {
    /// The target, and the time at which it was asked for in nanoseconds.
    under_way: BTreeMap<Attempt, (usize, u64)>,
    /// How many attempts at each target ended well and badly.
    counts: BTreeMap<usize, (u64, u64)>,
}

impl Rounds {
    /// An attempt at a target begins.
    pub fn begin(&mut self, attempt: Attempt, target: usize, now_ns: u64) {
        self.under_way.insert(attempt, (target, now_ns));
    }

    /// An attempt ended well; its target, and the seconds that it took.
    pub fn done(&mut self, attempt: Attempt, now_ns: u64) -> Option<(usize, f64)> {
        let (target, begun) = self.under_way.remove(&attempt)?;
        self.counts.entry(target).or_default().0 += 1;
        Some((target, now_ns.saturating_sub(begun) as f64 / 1e9))
    }

    /// An attempt ended badly; its target.
    pub fn failed(&mut self, attempt: Attempt) -> Option<usize> {
        let (target, _) = self.under_way.remove(&attempt)?;
        self.counts.entry(target).or_default().1 += 1;
        Some(target)
    }

    /// How many attempts at a target ended well, and how many badly.
    pub fn counts(&self, target: usize) -> (u64, u64) {
        self.counts.get(&target).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_measured_once() {
        let mut rounds = Rounds::default();
        rounds.begin(7, 0, 1_000_000_000);
        assert_eq!(rounds.done(7, 1_250_000_000), Some((0, 0.25)));
        assert_eq!(rounds.done(7, 2_000_000_000), None);
        assert_eq!(rounds.counts(0), (1, 0));
    }

    #[test]
    fn attempts_at_several_targets_do_not_mix() {
        let mut rounds = Rounds::default();
        rounds.begin(1, 0, 0);
        rounds.begin(2, 1, 0);
        assert_eq!(rounds.failed(2), Some(1));
        assert_eq!(rounds.failed(3), None);
        assert_eq!((rounds.counts(0), rounds.counts(1)), ((0, 0), (0, 1)));
    }
}
