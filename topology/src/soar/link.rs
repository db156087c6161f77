//! Our links to neighbours: probed, smoothed, and found dead when probes stay unanswered.

use std::time::Duration;

use super::Config;
use crate::id::NodeId;
use crate::time::{Instant, micros};

/// One neighbour as we measure it.
#[derive(Clone, Debug)]
pub struct Link {
    /// Smoothed round trip in microseconds; None until a probe was answered, and while the link is dead.
    pub rtt_us: Option<u32>,
    /// Throughput in kbit/s, as the shell measured it.
    pub throughput_kbps: Option<u32>,
    /// Whether the neighbour is near, with hysteresis.
    pub near: bool,
    /// What our last report says of the round trip, in microseconds.
    reported_us: u32,
    probe: Option<(u64, Instant)>,
    misses: u32,
    /// When to probe or to miss an answer next.
    pub due: Instant,
    /// Frames left to it, in thousandths, and since when.
    tokens_milli: u64,
    tokens_at: Instant,
    /// Whether it has been told all that concerns it, since it is in our region.
    pub in_region: bool,
}

impl Link {
    /// A neighbour that was not measured yet.
    #[must_use]
    pub fn new(now: Instant, first_probe: Instant, config: &Config) -> Self {
        Self {
            rtt_us: None,
            throughput_kbps: None,
            near: false,
            reported_us: 0,
            probe: None,
            misses: 0,
            due: first_probe,
            tokens_milli: u64::from(config.frames_per_second) * 1000,
            tokens_at: now,
            in_region: false,
        }
    }

    /// Whether a frame from it is within its allowance.
    pub fn allow(&mut self, now: Instant, per_second: u32) -> bool {
        let gained = now.since(self.tokens_at).as_micros().saturating_mul(u128::from(per_second)) / 1000;
        let full = u128::from(per_second) * 1000;
        self.tokens_at = now;
        self.tokens_milli = u128::from(self.tokens_milli).saturating_add(gained).min(full) as u64;
        let allowed = self.tokens_milli >= 1000;
        self.tokens_milli -= if allowed { 1000 } else { 0 };
        allowed
    }

    /// Its time has come. Gives the number of a probe to send, and whether the link has just been found dead.
    pub fn tick(&mut self, now: Instant, number: u64, config: &Config) -> (u64, bool) {
        if self.probe.is_some() {
            self.misses += 1;
        }
        let died = self.misses >= config.misses_max && self.rtt_us.is_some();
        if died {
            self.rtt_us = None;
            self.near = false;
        }
        self.probe = Some((number, now));
        let two_round_trips = Duration::from_micros(u64::from(self.rtt_us.unwrap_or(0)) * 2);
        let patience = match self.misses {
            0 => config.probe_timeout.max(two_round_trips),
            n if n < config.misses_max => config.probe_timeout / 2,
            _ => config.probe_interval,
        };
        self.due = now + patience;
        (number, died)
    }

    /// An answer to a probe; the next one follows an interval after it was sent. True where there is something new to
    /// report.
    pub fn echo(&mut self, now: Instant, number: u64, config: &Config) -> bool {
        let Some((_, sent)) = self.probe.filter(|(n, _)| *n == number) else { return false };
        self.probe = None;
        self.misses = 0;
        self.due = (sent + config.probe_interval).max(now);
        let sample = micros(now.since(sent)).max(1);
        let rtt = match self.rtt_us {
            Some(old) => ((u64::from(old) * 7 + u64::from(sample)) / 8) as u32,
            None => sample,
        };
        let near = is_near(rtt, self.near, config, 0);
        let news = self.rtt_us.is_none() || near != self.near || self.moved(rtt, config.change_percent);
        self.rtt_us = Some(rtt);
        self.near = near;
        news
    }

    /// The round trip to report: the last one reported, unless the measured one has moved away from it.
    pub fn report_us(&mut self, change_percent: u32) -> Option<u32> {
        let rtt = self.rtt_us?;
        if self.moved(rtt, change_percent) {
            self.reported_us = rtt;
        }
        Some(self.reported_us)
    }

    fn moved(&self, rtt_us: u32, change_percent: u32) -> bool {
        let by = u64::from(rtt_us.abs_diff(self.reported_us)) * 100;
        by > u64::from(self.reported_us) * u64::from(change_percent)
    }
}

/// Whether a neighbour counts as near on a level, given whether it did before.
#[must_use]
pub fn is_near(rtt_us: u32, was: bool, config: &Config, level: usize) -> bool {
    let Some(threshold) = config.near.get(level) else { return true };
    let percent = 100 + if was { u64::from(config.leave_percent) } else { 0 };
    u64::from(rtt_us) * 100 <= u64::from(micros(*threshold)) * percent
}

/// A neighbour's name and its link.
pub type Links = std::collections::BTreeMap<NodeId, Link>;
