//! Ways that were left since they had come to cost more, and rest: whoever goes back at once finds what drove it away.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant as Clock;
use topology::NodeId;

/// A way that was left is not gone back to for this time, unless the one that was taken instead becomes bad, too...
const REST: Duration = Duration::from_secs(10);
/// ...and where it was left several times for at most this time, whatever becomes of others.
const REST_MAX: Duration = Duration::from_secs(160);
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

    /// Whether it rests, and not for the first time.
    pub(super) fn is_resting_again(&self, now: Clock, to: NodeId, via: NodeId) -> bool {
        self.0.get(&(to, via)).is_some_and(|resting| now < resting.until && resting.pause > REST)
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
    fn a_way_that_was_taken_back_early_and_left_again_rests_to_the_end() {
        let ([to, via], mut rests, now) = (way(), Rests::default(), Clock::now());
        let second = Duration::from_secs(1);
        rests.rest(now, to, via);
        assert!(rests.is_resting(now + second, to, via) && !rests.is_resting_again(now + second, to, via));
        rests.take_back(now + second, to, via);
        assert!(!rests.is_resting(now + second, to, via));
        rests.rest(now + second * 3, to, via);
        assert!(rests.is_resting_again(now + second * 22, to, via));
        assert!(!rests.is_resting_again(now + second * 23, to, via));
    }
}
