//! Our links to neighbours: probed, smoothed, and found dead when probes stay unanswered.

use std::time::Duration;

use super::Config;
use crate::id::NodeId;
use crate::time::{Instant, micros};

/// A sample moves the smoothed round trip by this part of the difference (RFC 6298, section 2).
const SMOOTHING: u32 = 8;
/// A lost probe counts as one that came later by this part of the probe timeout: about what a transport takes to repeat it.
const LOSS_SHARE: u32 = 8;

/// What is to be done when a link's time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// Whether it has just been found dead.
    pub died: bool,
    /// Whether the probe is to be sent in a way that repeats what is lost, too: one lost packet or two are no death.
    pub surely: bool,
}

/// One neighbour as we measure it.
#[derive(Clone, Debug)]
pub struct Link {
    /// Smoothed round trip in microseconds; None until a probe was answered, and while the link is dead.
    pub rtt_us: Option<u32>,
    /// Throughput in kbit/s, as the shell measured it.
    pub throughput_kbps: Option<u32>,
    /// Whether the neighbour is near, with hysteresis.
    pub near: bool,
    /// Found dead: it is probed on, and told nothing else until it answers.
    pub dead: bool,
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
            dead: false,
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

    /// Its time has come. The probe of this number is to be sent.
    pub fn tick(&mut self, now: Instant, number: u64, config: &Config) -> Tick {
        if self.probe.is_some() {
            self.misses += 1;
            // What is lost reaches services late: the link costs more for it.
            let late_us = micros(config.probe_timeout) / LOSS_SHARE;
            self.rtt_us = self.rtt_us.map(|rtt| rtt.saturating_add(late_us / SMOOTHING));
        }
        let died = self.misses >= config.misses_max && !self.dead;
        if died {
            self.rtt_us = None;
            self.near = false;
            self.dead = true;
        }
        self.probe = Some((number, now));
        let two_round_trips = Duration::from_micros(u64::from(self.rtt_us.unwrap_or(0)) * 2);
        let patience = match self.misses {
            0 => config.probe_timeout.max(two_round_trips),
            n if n < config.misses_max => config.probe_timeout / 2,
            _ => config.probe_interval,
        };
        self.due = now + patience;
        Tick { died, surely: self.misses > 0 && !self.dead }
    }

    /// An answer to a probe; the next one follows an interval after it was sent. True where there is something new to
    /// report.
    pub fn echo(&mut self, now: Instant, number: u64, config: &Config) -> bool {
        let Some((_, sent)) = self.probe.filter(|(n, _)| *n == number) else { return false };
        let repeated = std::mem::take(&mut self.misses) > 0;
        self.probe = None;
        self.dead = false;
        self.due = (sent + config.probe_interval).max(now);
        let sample = micros(now.since(sent)).max(1);
        let rtt = match self.rtt_us {
            // A probe that was sent surely too may have waited for a repetition of the transport: it says that the link
            // answers, and not how fast (Karn's rule).
            Some(old) if repeated => old,
            Some(old) => {
                ((u64::from(old) * u64::from(SMOOTHING - 1) + u64::from(sample)) / u64::from(SMOOTHING))
                    as u32
            }
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
