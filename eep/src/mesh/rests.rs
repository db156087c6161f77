//! Ways that were left since they had come to cost more, and rest: whoever goes back at once finds what drove it away.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant as Clock;
use topology::NodeId;

/// A way that was left is not gone back to for this time...
const REST: Duration = Duration::from_secs(10);
/// ...and at most for this one, where it was left several times.
const REST_MAX: Duration = Duration::from_secs(160);
/// Where the way that was taken instead becomes bad, too, this part of it is enough.
const SHORT: u32 = 8;
/// Ways that were left and are remembered.
const RESTING_MAX: usize = 4096;

/// A way that was left.
#[derive(Clone, Copy, Debug)]
struct Resting {
    until: Clock,
    pause: Duration,
}

impl Resting {
    /// Whether who leaves it now leaves it again, soon after it was taken back.
    fn is_recent(&self, now: Clock) -> bool {
        now < self.until + self.pause * 2
    }
}

/// The ways that were left, by target and neighbour.
#[derive(Debug, Default)]
pub(super) struct Rests(BTreeMap<(NodeId, NodeId), Resting>);

impl Rests {
    pub(super) fn is_resting(&self, now: Clock, to: NodeId, via: NodeId) -> bool {
        self.0.get(&(to, via)).is_some_and(|resting| now < resting.until)
    }

    /// Whether it rests, and would if the way in use were bad, too.
    pub(super) fn has_to_rest(&self, now: Clock, to: NodeId, via: NodeId) -> bool {
        let short = |resting: &Resting| resting.until - resting.pause * (SHORT - 1) / SHORT;
        self.0.get(&(to, via)).is_some_and(|resting| now < resting.until && now < short(resting))
    }

    /// A stream has left this way. Others that leave it meanwhile do not make its rest longer.
    pub(super) fn rest(&mut self, now: Clock, to: NodeId, via: NodeId) {
        if self.is_resting(now, to, via) {
            return;
        }
        let pause = match self.0.get(&(to, via)).filter(|old| old.is_recent(now)) {
            Some(old) => (old.pause * 2).min(REST_MAX),
            None => REST,
        };
        if self.0.len() >= RESTING_MAX {
            self.0.retain(|_, old| old.is_recent(now));
        }
        if self.0.len() < RESTING_MAX {
            self.0.insert((to, via), Resting { until: now + pause, pause });
        }
    }

    /// A stream takes this way, whether it has rested or not.
    pub(super) fn take_back(&mut self, now: Clock, to: NodeId, via: NodeId) {
        if let Some(resting) = self.0.get_mut(&(to, via)) {
            resting.until = resting.until.min(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way() -> [NodeId; 2] {
        [b"to", b"by"].map(|key| NodeId::of_public_key(key))
    }

    #[test]
    fn a_way_that_was_left_rests_longer_each_time_and_is_forgotten_at_last() {
        let ([to, via], mut rests, zero) = (way(), Rests::default(), Clock::now());
        let mut now = zero;
        let mut lengths = Vec::new();
        for _ in 0..6 {
            rests.rest(now, to, via);
            // Another stream that leaves it, too.
            rests.rest(now, to, via);
            let from = now;
            while rests.is_resting(now, to, via) {
                now += Duration::from_secs(1);
            }
            lengths.push((now - from).as_secs());
        }
        assert_eq!(lengths, [10, 20, 40, 80, 160, 160]);
        now += Duration::from_secs(400);
        rests.rest(now, to, via);
        assert!(!rests.is_resting(now + REST, to, via));
    }

    #[test]
    fn a_way_that_is_taken_back_early_has_to_rest_longer_each_time_too() {
        let ([to, via], mut rests, mut now) = (way(), Rests::default(), Clock::now());
        let mut lengths = Vec::new();
        for _ in 0..6 {
            rests.rest(now, to, via);
            let from = now;
            while rests.has_to_rest(now, to, via) {
                now += Duration::from_millis(250);
            }
            assert!(rests.is_resting(now, to, via));
            lengths.push((now - from).as_millis());
            rests.take_back(now, to, via);
            assert!(!rests.is_resting(now, to, via));
        }
        assert_eq!(lengths, [1250, 2500, 5000, 10_000, 20_000, 20_000]);
    }
}
