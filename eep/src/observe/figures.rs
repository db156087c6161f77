//! What is counted of a service, by its own thread, readable from any other.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::proxylet::swap::{SwapOutcome, SwapReport};

/// A number that one thread writes and others read.
#[derive(Debug, Default)]
pub(crate) struct Figure(AtomicU64);

impl Figure {
    pub(crate) fn add(&self, n: u64) {
        // One writer: a plain load and store is enough, and cheaper than a locked addition.
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// How long things took: counts in buckets whose bounds are a quarter of a power of two apart, from 64 ns up.
#[derive(Debug)]
pub(crate) struct Durations([Figure; Self::BUCKETS]);

impl Default for Durations {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Figure::default()))
    }
}

impl Durations {
    const BUCKETS: usize = 120;
    const FIRST_LOG2: u32 = 6;

    pub(crate) fn add(&self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1 << Self::FIRST_LOG2);
        let log2 = ns.ilog2();
        let quarter = (ns >> (log2 - 2)) & 3;
        let bucket = ((log2 - Self::FIRST_LOG2) * 4) as usize + quarter as usize;
        self.0[bucket.min(Self::BUCKETS - 1)].add(1);
    }

    /// The upper bound of the bucket below which `share` (0 to 1) of all durations lie, in microseconds; 0 where
    /// there are none.
    pub(crate) fn quantile_us(&self, share: f64) -> f64 {
        let total: u64 = self.0.iter().map(Figure::get).sum();
        let rank = (total as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (i, bucket) in self.0.iter().enumerate() {
            seen += bucket.get();
            if seen >= rank && seen > 0 {
                let (log2, quarter) = (i / 4 + Self::FIRST_LOG2 as usize, i % 4);
                return (1_u64 << log2) as f64 * (5 + quarter) as f64 / 4.0 / 1_000.0;
            }
        }
        0.0
    }
}

/// All figures of one service that count up for as long as the node holds it.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) batches: Figure,
    pub(crate) events: Figure,
    pub(crate) received_bytes: Figure,
    pub(crate) sent_bytes: Figure,
    pub(crate) connections: Figure,
    /// Of these, those whose peers the proxylet calls neighbours.
    pub(crate) neighbours: Figure,
    pub(crate) connections_accepted: Figure,
    pub(crate) connections_refused: Figure,
    pub(crate) connections_overrun: Figure,
    pub(crate) connections_passed_on: Figure,
    pub(crate) connections_denied: Figure,
    pub(crate) datagrams_dropped: Figure,
    pub(crate) datagrams_denied: Figure,
    pub(crate) timers_refused: Figure,
    pub(crate) log_lines_dropped: Figure,
    pub(crate) memory_bytes: Figure,
    pub(crate) cpu_ns: Figure,
    pub(crate) restarts: Figure,
    pub(crate) batch_durations: Durations,
    pub(crate) swaps_held: Figure,
    pub(crate) swaps_refused: Figure,
    pub(crate) swaps_rolled_back: Figure,
    /// The pause of the last swap.
    pub(crate) swap_pause_ns: Figure,
}

impl Figures {
    /// Counts a swap when it is over.
    pub(crate) fn swap(&self, report: &SwapReport) {
        self.swap_pause_ns.set((report.pause_s * 1e9) as u64);
        match report.outcome {
            SwapOutcome::OnProbation => {}
            SwapOutcome::Held => self.swaps_held.add(1),
            SwapOutcome::Refused => self.swaps_refused.add(1),
            SwapOutcome::RolledBack => self.swaps_rolled_back.add(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_bucket_of_the_truth() {
        let d = Durations::default();
        assert_eq!(d.quantile_us(0.5), 0.0);
        for us in 1..=1_000 {
            d.add(Duration::from_micros(us));
        }
        for (share, truth) in [(0.5, 500.0), (0.99, 990.0)] {
            let got = d.quantile_us(share);
            assert!(got >= truth && got <= truth * 1.26, "{share}: {got}");
        }
    }

    #[test]
    fn extreme_durations_are_counted_at_the_ends() {
        let d = Durations::default();
        d.add(Duration::ZERO);
        assert!(d.quantile_us(1.0) < 0.1);
        d.add(Duration::MAX);
        assert!(d.quantile_us(1.0) > 1e6);
    }
}
