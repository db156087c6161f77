//! Counting what arrives: the time of sending travels in a query's GUID.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use eep_tests::wire::{Guid, kind};
use hdrhistogram::Histogram;

use crate::process::{self, Usage};
use crate::report::Report;
use crate::swarm::Sink;
use crate::words::{WORD, Words};

/// The longest latency that is told apart from longer ones.
const LATENCY_NS_MAX: u64 = 60_000_000_000;
/// Where a query's text starts in its payload, after the flags.
const TEXT: usize = 2;

/// A GUID that says when and by whom its query was sent. Bytes 0 to 3 and 13 to 14, with the origin, only make it unlike
/// others: two threads may begin in the same microsecond, and an ultrapeer passes each GUID on once. One that takes over a
/// leaf's query for out-of-band replies puts its own address there.
pub(super) fn stamp(at: Duration, sender: usize, origin: u16, sequence: u32) -> Guid {
    let mut guid = [0; 16];
    guid[..4].copy_from_slice(&sequence.to_le_bytes());
    guid[4..8].copy_from_slice(&(at.as_micros() as u32).to_le_bytes());
    guid[8] = 0xff;
    guid[9..11].copy_from_slice(&(sender as u16).to_le_bytes());
    guid[11..13].copy_from_slice(&(sequence as u16).to_le_bytes());
    guid[13..15].copy_from_slice(&origin.to_le_bytes());
    guid
}

/// When and by whom: what [`stamp`] was told, the time to the microsecond and modulo 71 minutes.
fn read_stamp(header: &[u8]) -> (Duration, usize) {
    let us = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
    (Duration::from_micros(u64::from(us)), usize::from(u16::from_le_bytes([header[9], header[10]])))
}

/// Which of its thread's queries it was. Not to be relied on where the ultrapeer replies out of band.
fn read_sequence(header: &[u8]) -> usize {
    u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize
}

/// Every query of one thread by itself, and the longest time without any.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Set from when on silences count as [`Self::silence`] and no more as [`Self::silence_before`].
    pub(super) begun: Arc<AtomicBool>,
    seen: Vec<u64>,
    pub(super) distinct: u64,
    pub(super) doubled: u64,
    heard_at: Option<Duration>,
    pub(super) silence_before: Duration,
    pub(super) silence: Duration,
}

impl Ledger {
    pub(super) fn new(begun: &Arc<AtomicBool>) -> Self {
        Self { begun: Arc::clone(begun), ..Self::default() }
    }

    fn note(&mut self, now: Duration, sequence: usize) {
        let (word, bit) = (sequence / 64, 1_u64 << (sequence % 64));
        if self.seen.len() <= word {
            self.seen.resize(word + 1_024, 0);
        }
        if self.seen[word] & bit == 0 {
            self.seen[word] |= bit;
            self.distinct += 1;
        } else {
            self.doubled += 1;
        }
        let silence = now - self.heard_at.replace(now).unwrap_or(now);
        let longest = match self.begun.load(Ordering::Relaxed) {
            true => &mut self.silence,
            false => &mut self.silence_before,
        };
        *longest = silence.max(*longest);
    }

    /// Adds another thread's. A silence is each thread's own, and the longest counts.
    fn merge(&mut self, other: &Self) {
        self.distinct += other.distinct;
        self.doubled += other.doubled;
        self.silence_before = self.silence_before.max(other.silence_before);
        self.silence = self.silence.max(other.silence);
    }
}

/// What one thread's peers have heard.
#[derive(Debug)]
pub(super) struct Meter {
    epoch: Instant,
    /// Queries sent within this span count, whenever they arrive.
    pub(super) span: (Duration, Duration),
    /// The word that each peer of this thread should hear; none where it should hear everything.
    expected: Option<Vec<[u8; WORD]>>,
    pub(super) latency_ns: Histogram<u64>,
    pub(super) misrouted: u64,
    /// How often each sender of this thread was heard, by its number.
    pub(super) heard_of: Vec<u64>,
    /// Which peers have heard anything.
    pub(super) reached: Vec<bool>,
    /// Which queries came twice, and how long none came; only where that was asked for.
    pub(super) ledger: Option<Ledger>,
}

impl Meter {
    pub(super) fn new(epoch: Instant, peers: usize, senders: usize) -> Self {
        Self {
            epoch,
            span: (Duration::MAX, Duration::MAX),
            expected: None,
            latency_ns: Histogram::new_with_max(LATENCY_NS_MAX, 3).expect("constant bounds"),
            misrouted: 0,
            heard_of: vec![0; senders],
            reached: vec![false; peers],
            ledger: None,
        }
    }

    /// Says which leaves this thread's peers are.
    pub(super) fn expect(&mut self, words: &Words, leaves: impl Iterator<Item = usize>) {
        self.expected = Some(leaves.map(|leaf| *words.own(leaf)).collect());
    }

    pub(super) fn received(&self) -> u64 {
        self.latency_ns.len()
    }

    /// Adds another thread's count.
    pub(super) fn merge(&mut self, other: &Self) {
        self.latency_ns.add(&other.latency_ns).expect("the same bounds");
        self.misrouted += other.misrouted;
        if let (Some(all), Some(one)) = (&mut self.ledger, &other.ledger) {
            all.merge(one);
        }
    }

    /// The latency lines of a report.
    pub(super) fn report_latency(&self, report: &mut Report) {
        let ms = |q: f64| self.latency_ns.value_at_quantile(q) as f64 / 1e6;
        report
            .figure("latency_p50", ms(0.5), "ms")
            .figure("latency_p90", ms(0.9), "ms")
            .figure("latency_p99", ms(0.99), "ms")
            .figure("latency_p999", ms(0.999), "ms")
            .figure("latency_max", self.latency_ns.max() as f64 / 1e6, "ms");
    }
}

impl Sink for Meter {
    fn heard(&mut self, conn: usize, header: &[u8], payload: &[u8]) {
        if header[16] != kind::QUERY {
            return;
        }
        let (sent, sender) = read_stamp(header);
        if let Some(count) = self.heard_of.get_mut(sender) {
            *count += 1;
        }
        if let Some(expected) = &self.expected
            && payload.get(TEXT..TEXT + WORD) != Some(&expected[conn][..])
        {
            self.misrouted += 1;
            return;
        }
        self.reached[conn] = true;
        if sent >= self.span.0 && sent < self.span.1 {
            let now = self.epoch.elapsed();
            self.latency_ns.saturating_record(now.saturating_sub(sent).as_nanos() as u64);
            if let Some(ledger) = &mut self.ledger {
                ledger.note(now, read_sequence(header));
            }
        }
    }
}

/// The process under test before and after, where it was named.
pub(super) type Samples = Option<(Usage, Usage)>;

/// The process under test now, where it was named.
pub(super) fn sample(pid: Option<u32>) -> Result<Option<Usage>, String> {
    pid.map(|p| process::usage(p).map_err(|e| format!("process {p}: {e}"))).transpose()
}

/// What the process under test has used, in all and for each of `n` messages.
pub(super) fn cpu_figures(report: &mut Report, samples: Samples, seconds: f64, n: u64, each: &'static str) {
    let Some((before, after)) = samples else { return };
    let cpu = (after.cpu - before.cpu).as_secs_f64();
    report
        .figure("cpu", cpu / seconds, "cores")
        .figure(each, cpu * 1e6 / (n as f64).max(1.0), "us")
        .figure("resident", after.resident_bytes as f64 / 1e6, "MB")
        .figure("resident_growth", after.resident_bytes as f64 - before.resident_bytes as f64, "bytes");
}
