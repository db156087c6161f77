//! What one link measures of the network under it: round trip, loss and throughput.
//!
//! The probes are the alive pings that flow anyway; the bytes are those that were counted anyway.

use std::time::Duration;

use crate::host::Instant;
use crate::state::{Damaged, Reader, Saved, Writer};

/// No round trip is longer: the clock of nanoseconds would have come round.
const ROUND_TRIP_MAX_S: f32 = 1.8e10;

/// Smoothed round trip and its mean deviation, as TCP keeps them (RFC 6298, section 2).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RoundTrip {
    /// In seconds; 0 before the first sample.
    smoothed_s: f32,
    deviation_s: f32,
}

impl RoundTrip {
    /// Adds a sample.
    pub fn sample(&mut self, rtt: Duration) {
        let rtt = rtt.as_secs_f32().max(f32::MIN_POSITIVE);
        if self.smoothed_s == 0.0 {
            (self.smoothed_s, self.deviation_s) = (rtt, rtt / 2.0);
        } else {
            self.deviation_s += ((rtt - self.smoothed_s).abs() - self.deviation_s) / 4.0;
            self.smoothed_s += (rtt - self.smoothed_s) / 8.0;
        }
    }

    /// The smoothed round trip; `None` before the first sample.
    #[must_use]
    pub fn smoothed(&self) -> Option<Duration> {
        (self.smoothed_s > 0.0).then(|| Duration::from_secs_f32(self.smoothed_s))
    }

    /// The mean deviation from it.
    #[must_use]
    pub fn deviation(&self) -> Duration {
        Duration::from_secs_f32(self.deviation_s.max(0.0))
    }
}

/// Bytes that have passed, and how fast they pass: over the last one to two windows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throughput {
    total_bytes: u64,
    /// `total_bytes` at the beginning of this window and of the one before.
    marks: [(Instant, u64); 2],
}

impl Throughput {
    fn start(now: Instant) -> Self {
        Self { total_bytes: 0, marks: [(now, 0); 2] }
    }

    /// Counts bytes.
    #[inline]
    pub fn add(&mut self, bytes: usize) {
        self.total_bytes += bytes as u64;
    }

    /// All bytes since the link began.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// Bytes a second since the beginning of the last whole window.
    #[must_use]
    pub fn bytes_per_second(&self, now: Instant) -> f64 {
        let (since, bytes) = self.marks[1];
        let seconds = now.since(since).as_secs_f64();
        if seconds > 0.0 { (self.total_bytes - bytes) as f64 / seconds } else { 0.0 }
    }

    /// Begins the next window.
    fn turn(&mut self, now: Instant) {
        self.marks = [(now, self.total_bytes), self.marks[0]];
    }
}

/// All that a link measures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkMonitor {
    /// From alive ping to its pong, our own queue and the peer's included.
    pub round_trip: RoundTrip,
    /// Alive pings sent.
    pub pings: u32,
    /// Of these, how many had no answer when the next was sent.
    pub pings_lost: u32,
    /// What came in.
    pub received: Throughput,
    /// What went out.
    pub sent: Throughput,
    /// Messages that came in, dropped ones included.
    pub messages_received: u64,
    /// Messages that went out.
    pub messages_sent: u64,
    /// Messages that were to go out and were dropped.
    pub messages_dropped: u64,
}

impl LinkMonitor {
    /// Nothing measured yet.
    #[must_use]
    pub fn start(now: Instant) -> Self {
        Self {
            round_trip: RoundTrip::default(),
            pings: 0,
            pings_lost: 0,
            received: Throughput::start(now),
            sent: Throughput::start(now),
            messages_received: 0,
            messages_sent: 0,
            messages_dropped: 0,
        }
    }

    /// Notes that an alive ping leaves, and whether the one before was lost. The windows of throughput turn with it.
    pub(crate) fn ping(&mut self, now: Instant, lost: bool) {
        self.pings = self.pings.saturating_add(1);
        self.pings_lost = self.pings_lost.saturating_add(u32::from(lost));
        self.received.turn(now);
        self.sent.turn(now);
    }

    /// The share of alive pings without an answer, 0 to 1; `None` before the first could have been answered.
    #[must_use]
    pub fn loss(&self) -> Option<f64> {
        (self.pings > 1).then(|| f64::from(self.pings_lost) / f64::from(self.pings - 1))
    }
}

impl Saved for RoundTrip {
    fn save(&self, to: &mut Writer) {
        self.smoothed_s.save(to);
        self.deviation_s.save(to);
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Damaged> {
        let round_trip = Self { smoothed_s: from.load()?, deviation_s: from.load()? };
        let sound = |seconds: f32| (0.0..=ROUND_TRIP_MAX_S).contains(&seconds);
        from.ensure(sound(round_trip.smoothed_s) && sound(round_trip.deviation_s))?;
        Ok(round_trip)
    }
}

impl Saved for Throughput {
    fn save(&self, to: &mut Writer) {
        self.total_bytes.save(to);
        self.marks.save(to);
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Damaged> {
        let (total_bytes, marks) = (from.count()?, [from.load()?, from.load()?]);
        from.ensure(marks.iter().all(|(_, bytes)| *bytes <= total_bytes))?;
        Ok(Self { total_bytes, marks })
    }
}

impl Saved for LinkMonitor {
    fn save(&self, to: &mut Writer) {
        let Self { round_trip, pings, pings_lost, received, sent, .. } = self;
        round_trip.save(to);
        [*pings, *pings_lost].save(to);
        received.save(to);
        sent.save(to);
        [self.messages_received, self.messages_sent, self.messages_dropped].save(to);
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self {
            round_trip: from.load()?,
            pings: from.load()?,
            pings_lost: from.load()?,
            received: from.load()?,
            sent: from.load()?,
            messages_received: from.count()?,
            messages_sent: from.count()?,
            messages_dropped: from.count()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Instant {
        Instant(seconds * 1_000_000_000)
    }

    #[test]
    fn the_round_trip_follows_a_change_and_forgets_a_spike() {
        let mut rtt = RoundTrip::default();
        assert_eq!(rtt.smoothed(), None);
        for _ in 0..20 {
            rtt.sample(Duration::from_millis(40));
        }
        let before = rtt.smoothed().unwrap();
        assert!((before.as_secs_f64() - 0.040).abs() < 1e-4);
        assert!(rtt.deviation() < Duration::from_millis(1));
        rtt.sample(Duration::from_millis(400));
        assert!(rtt.smoothed().unwrap() < Duration::from_millis(100));
        assert!(rtt.deviation() > Duration::from_millis(50));
        for _ in 0..60 {
            rtt.sample(Duration::from_millis(80));
        }
        assert!((rtt.smoothed().unwrap().as_secs_f64() - 0.080).abs() < 2e-3);
    }

    #[test]
    fn throughput_slides_over_two_windows() {
        let mut monitor = LinkMonitor::start(at(0));
        monitor.received.add(1_000);
        assert_eq!(monitor.received.bytes_per_second(at(10)), 100.0);
        monitor.ping(at(20), false);
        monitor.received.add(4_000);
        assert_eq!(monitor.received.bytes_per_second(at(40)), 125.0);
        monitor.ping(at(40), false);
        monitor.ping(at(60), false);
        assert_eq!(monitor.received.bytes_per_second(at(80)), 0.0);
        assert_eq!(monitor.received.total_bytes(), 5_000);
    }

    #[test]
    fn loss_counts_pings_whose_answer_was_due() {
        let mut monitor = LinkMonitor::start(at(0));
        monitor.ping(at(20), false);
        assert_eq!(monitor.loss(), None);
        monitor.ping(at(40), true);
        monitor.ping(at(60), false);
        assert_eq!(monitor.loss(), Some(0.5));
    }
}
