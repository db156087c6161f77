//! Our links to neighbours: probed, smoothed, and found dead when probes stay unanswered.
//!
//! Two round trips are kept. The one that a link costs is quick to rise: a probe that took far longer than those before is
//! followed by others at once, and where the next one is as late, the link is congested and costs what the two took. It
//! falls slowly, as a smoothed one does. The one that decides who is near is slow in both directions, so that regions do not
//! follow each queue that fills. Of the first probes of a link, which follow each other quickly, the shortest round trip
//! counts: while two nodes greet each other they have more to do than later.
//!
//! A probe is not waited for where the transport has seen its packets come back late: then one is sent at once, and where it
//! is late, too, it is the second one in turn.

use std::collections::VecDeque;
use std::time::Duration;

use super::Config;
use super::loss::Loss;
use crate::id::NodeId;
use crate::time::{Instant, micros};

/// A sample moves the smoothed round trip by this part of the difference (RFC 6298, section 2).
const SMOOTHING: u32 = 8;
/// A lost probe counts as one that came later by this part of the probe timeout: about what a transport takes to repeat it.
const LOSS_SHARE: u32 = 8;
/// Probes that may still be answered; the answer to an older one says nothing.
const AWAITED_MAX: usize = 8;
/// A sample is far longer than the round trip where it is more than this many times as long...
const SURGE_TIMES: u32 = 2;
/// ...and longer by more than this, in microseconds: less is not worth the hurry.
const SURGE_US: u32 = 5_000;
/// A link in doubt is probed quickly so many times.
const DOUBTS: u32 = 8;
/// Of so many first round trips the shortest counts.
const FIRST: u32 = 4;

/// What is to be done when a link's time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// Whether it has just been found dead.
    pub died: bool,
    /// Whether the probe is to be sent in a way that repeats what is lost, too: one lost packet or two are no death.
    pub surely: bool,
}

/// A probe that was not answered yet.
#[derive(Clone, Copy, Debug)]
struct Awaited {
    number: u64,
    sent: Instant,
    /// It was sent in a way that repeats what is lost, too.
    surely: bool,
}

/// One neighbour as we measure it.
#[derive(Clone, Debug)]
pub struct Link {
    /// Round trip in microseconds, quick to rise; None until a probe was answered, and while the link is dead.
    pub rtt_us: Option<u32>,
    /// Throughput in kbit/s, as the shell measured it.
    pub throughput_kbps: Option<u32>,
    /// Whether the neighbour is near, with hysteresis.
    pub near: bool,
    /// Found dead: it is probed on, and told nothing else until it answers.
    pub dead: bool,
    /// Round trip smoothed over many probes, in microseconds, and when it last moved.
    slow_us: u32,
    slow_at: Instant,
    /// What our last report says of the round trip, in microseconds.
    reported_us: u32,
    /// Oldest first.
    probes: VecDeque<Awaited>,
    misses: u32,
    /// The last sample, where it was far longer than the round trip.
    surge_us: Option<u32>,
    /// The transport has seen its packets come back late since the last probe.
    suspected: bool,
    /// Whether they came back late when the transport was last asked.
    transport_late: bool,
    /// Quick probes that are left.
    doubts: u32,
    /// Round trips that were measured since it came to life, up to [`FIRST`].
    samples: u32,
    /// When it was last probed.
    probed_at: Instant,
    loss: Loss,
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
            slow_us: 0,
            slow_at: now,
            reported_us: 0,
            probes: VecDeque::new(),
            misses: 0,
            surge_us: None,
            suspected: false,
            transport_late: false,
            doubts: 0,
            samples: 0,
            probed_at: now,
            loss: Loss::default(),
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
        if !self.probes.is_empty() {
            self.misses += 1;
            self.doubts = DOUBTS;
            // What is lost reaches services late: the link costs more for it.
            let late_us = micros(config.probe_timeout) / LOSS_SHARE / SMOOTHING;
            self.rtt_us = self.rtt_us.map(|rtt| rtt.saturating_add(late_us));
            self.slow_us = self.slow_us.saturating_add(late_us);
        }
        let died = self.misses >= config.misses_max && !self.dead;
        if died {
            self.rtt_us = None;
            self.near = false;
            self.dead = true;
            (self.surge_us, self.doubts, self.loss) = (None, 0, Loss::default());
            (self.suspected, self.transport_late, self.samples) = (false, false, 0);
        }
        let surely = self.misses > 0 && !self.dead;
        if self.probes.len() >= AWAITED_MAX {
            self.probes.pop_front();
        }
        self.probes.push_back(Awaited { number, sent: now, surely });
        self.probed_at = now;
        let two_round_trips = Duration::from_micros(u64::from(self.rtt_us.unwrap_or(0)) * 2);
        let patience = match self.misses {
            0 => config.probe_timeout.max(two_round_trips),
            n if n < config.misses_max => config.probe_timeout / 2,
            _ => config.probe_interval,
        };
        self.due = now + patience;
        Tick { died, surely }
    }

    /// An answer to a probe; the next one follows an interval after it was sent. True where there is something new to
    /// report.
    pub fn echo(&mut self, now: Instant, number: u64, config: &Config) -> bool {
        let Some(probe) = self.probes.iter().find(|probe| probe.number == number).copied() else {
            return false;
        };
        // What was sent before it was lost, or comes too late to say more.
        self.probes.clear();
        let missed = std::mem::take(&mut self.misses) > 0;
        self.dead = false;
        let sample = micros(now.since(probe.sent)).max(1);
        let old = self.rtt_us;
        match old {
            // A probe that was sent surely too may have waited for a repetition of the transport: it says that the link
            // answers, and not how fast (Karn's rule).
            Some(_) if probe.surely => {}
            Some(old) => self.sample(now, old, sample, missed, config),
            None => (self.rtt_us, self.slow_us, self.slow_at) = (Some(sample), sample, now),
        }
        self.samples = (self.samples + 1).min(FIRST);
        let pause = match self.doubts {
            0 if self.samples >= FIRST => config.probe_interval,
            _ => config.doubt_interval,
        };
        self.doubts = self.doubts.saturating_sub(1);
        self.due = (probe.sent + pause).max(now);
        let near = is_near(self.slow_us, self.near, config, 0);
        let moved = self.cost_us().is_some_and(|cost| self.moved(cost, config.change_percent));
        let news = old.is_none() || near != self.near || moved;
        self.near = near;
        news
    }

    fn sample(&mut self, now: Instant, old_us: u32, sample_us: u32, missed: bool, config: &Config) {
        let suspected = std::mem::take(&mut self.suspected);
        if self.samples < FIRST {
            self.rtt_us = Some(old_us.min(sample_us));
            (self.slow_us, self.slow_at) = (self.slow_us.min(sample_us), now);
            return;
        }
        let usual_us = usual_us(old_us);
        let smoothed = |old: u32, new: u32| {
            ((u64::from(old) * u64::from(SMOOTHING - 1) + u64::from(new)) / u64::from(SMOOTHING)) as u32
        };
        let before = self.surge_us.take();
        self.rtt_us = Some(if sample_us <= usual_us {
            smoothed(old_us, sample_us)
        } else if before.is_some() || missed || suspected {
            // Two in turn are no accident.
            sample_us.min(before.unwrap_or(sample_us))
        } else {
            (self.surge_us, self.doubts) = (Some(sample_us), DOUBTS);
            smoothed(old_us, usual_us)
        });
        // Quick probes do not make it quicker.
        if now.since(self.slow_at) >= config.probe_interval * 3 / 4 {
            (self.slow_us, self.slow_at) = (smoothed(self.slow_us, sample_us), now);
        }
    }

    /// What the transport has counted on the link since the last time. True where there is something new to report.
    pub fn transport(&mut self, sent: u64, lost: u64, change_percent: u32) -> bool {
        self.loss.count(sent, lost);
        self.cost_us().is_some_and(|cost| self.moved(cost, change_percent))
    }

    /// The round trip of the transport's own packets, in microseconds. Where it has become far longer than ours, the link
    /// is in doubt, and probed at once unless a probe is under way.
    pub fn suspect(&mut self, now: Instant, transport_us: u32) {
        let Some(rtt_us) = self.rtt_us else { return };
        let late = transport_us > usual_us(rtt_us);
        let newly = late && !std::mem::replace(&mut self.transport_late, late);
        if newly && self.probes.is_empty() && self.samples >= FIRST {
            (self.suspected, self.doubts, self.due) = (true, DOUBTS, now);
        }
    }

    /// Whether it is probed quickly, since it has not answered, or late.
    #[must_use]
    pub fn in_doubt(&self) -> bool {
        self.doubts > 0
    }

    /// Another link is in doubt: this one is probed at once, too, so that what delays all of them is seen on all of them.
    pub fn hasten(&mut self, now: Instant, config: &Config) {
        if self.probes.is_empty() && !self.dead && now.since(self.probed_at) >= config.doubt_interval {
            self.due = self.due.min(now);
        }
    }

    /// What the link costs, in microseconds: its round trip, and what is lost on it. None while it is not measured.
    #[must_use]
    pub fn cost_us(&self) -> Option<u32> {
        self.rtt_us.map(|rtt| rtt.saturating_add(self.loss.cost_us()))
    }

    /// The least that can be said of its round trip, in microseconds: what it was before a queue filled.
    #[must_use]
    pub fn least_us(&self) -> Option<u32> {
        self.rtt_us.map(|rtt| rtt.min(self.slow_us))
    }

    /// The cost to report: the last one reported, unless the present one has moved away from it.
    pub fn report_us(&mut self, change_percent: u32) -> Option<u32> {
        let cost = self.cost_us()?;
        if self.moved(cost, change_percent) {
            self.reported_us = cost;
        }
        Some(self.reported_us)
    }

    fn moved(&self, cost_us: u32, change_percent: u32) -> bool {
        let by = u64::from(cost_us.abs_diff(self.reported_us)) * 100;
        by > u64::from(self.reported_us) * u64::from(change_percent)
    }
}

/// What a round trip may be after one that was so long, in microseconds, without being a surge.
fn usual_us(rtt_us: u32) -> u32 {
    rtt_us.saturating_mul(SURGE_TIMES).max(rtt_us.saturating_add(SURGE_US))
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
