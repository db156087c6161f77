//! How long a service that trapped waits before it is started again.

use std::time::Duration;

/// The pauses: each twice the one before, up to a bound, with a quarter of chance either way so that services that
/// fell together do not rise together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackoffConfig {
    /// The pause after the first trap (default 200 ms).
    pub first: Duration,
    /// The longest pause (default 60 s).
    pub longest: Duration,
    /// After running for so long (default 60 s) a service counts as healthy: the next pause is the first again.
    pub healthy_after: Duration,
}

impl Default for BackoffConfig {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(200),
            longest: Duration::from_secs(60),
            healthy_after: Duration::from_secs(60),
        }
    }
}

/// The pauses of one service.
#[derive(Debug)]
pub(crate) struct Backoff {
    config: BackoffConfig,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(config: BackoffConfig) -> Self {
        Self { config, failures: 0 }
    }

    /// Traps in a row, none of them after a healthy time.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// The pause after an instance that ran for `ran`. `chance` is from 0 to 255.
    pub(crate) fn next(&mut self, ran: Duration, chance: u8) -> Duration {
        if ran >= self.config.healthy_after {
            self.failures = 0;
        }
        let doubled = self.config.first.saturating_mul(1 << self.failures.min(20));
        self.failures = self.failures.saturating_add(1);
        let pause = doubled.min(self.config.longest);
        pause * 3 / 4 + pause.mul_f64(f64::from(chance) / 510.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_start_again_after_a_healthy_time() {
        let config = BackoffConfig {
            first: Duration::from_millis(100),
            longest: Duration::from_millis(1_000),
            healthy_after: Duration::from_secs(10),
        };
        let mut b = Backoff::new(config);
        let mut middle = |ran| b.next(Duration::from_secs(ran), 127).as_millis();
        let pauses: Vec<u128> = [0, 1, 9, 0, 0, 0].map(&mut middle).to_vec();
        assert_eq!(pauses, [99, 199, 399, 799, 999, 999]);
        assert_eq!(middle(10), 99);
        assert_eq!(b.failures(), 1);
    }

    #[test]
    fn chance_moves_a_pause_by_a_quarter_at_most() {
        let config = BackoffConfig::default();
        let of = |chance| Backoff::new(config).next(Duration::ZERO, chance);
        assert_eq!(of(0), Duration::from_millis(150));
        assert_eq!(of(255), Duration::from_millis(250));
    }
}
