//! Monitoring plane of the application layer: what was relayed and dropped and why, inter-arrival times, response
//! times, degree of peers.
//!
//! Counting is an addition to an array; names and labels appear only when a snapshot is taken.

use crate::gnutella::Kind;
use crate::host::Instant;
use crate::state::{Damaged, Reader, Saved, Writer};
use std::time::Duration;

/// The kinds of descriptors that are told apart; all others are the last one.
const KINDS: [&str; 9] = ["ping", "pong", "bye", "qrp", "vendor", "push", "query", "query_hit", "other"];

/// Its place in [`KINDS`].
#[inline]
const fn place(kind: Kind) -> usize {
    match kind {
        Kind::PING => 0,
        Kind::PONG => 1,
        Kind::BYE => 2,
        Kind::QRP => 3,
        Kind::VENDOR | Kind::STANDARD_VENDOR => 4,
        Kind::PUSH => 5,
        Kind::QUERY => 6,
        Kind::QUERY_HIT => 7,
        _ => 8,
    }
}

/// Why a message went no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum DropReason {
    /// Seen before, with no lower TTL.
    Duplicate,
    /// TTL and hops that the rules do not allow.
    Hops,
    /// Larger than its kind may be.
    Size,
    /// Its payload cannot be read.
    Malformed,
    /// Nobody asked for it, or the way back is forgotten.
    NoRoute,
    /// Too many of its kind from this link.
    Throttled,
    /// The link it should go to has no room.
    Congested,
    /// A kind or vendor message that means nothing here.
    Unknown,
    /// The shell's policy does not let it pass.
    Denied,
}

impl DropReason {
    const COUNT: usize = 9;
    const NAMES: [&'static str; Self::COUNT] =
        ["duplicate", "hops", "size", "malformed", "no_route", "throttled", "congested", "unknown", "denied"];
}

/// The present value of a figure.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Only ever grows.
    Counter(f64),
    /// Goes up and down.
    Gauge(f64),
    /// Observations, counted by size.
    Histogram {
        /// Upper bounds of the buckets, ascending, in the name's unit.
        bounds: &'static [f64],
        /// Observations in each bucket, not cumulated; the last are above all bounds.
        counts: Vec<u64>,
        /// The sum of all observations.
        sum: f64,
    },
}

/// One time series and its present value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Prometheus name, base units.
    pub name: &'static str,
    /// A sentence.
    pub help: &'static str,
    labels: [(&'static str, &'static str); 2],
    /// The present value.
    pub value: Value,
}

impl Sample {
    /// Names and values of its labels.
    #[must_use]
    pub fn labels(&self) -> &[(&'static str, &'static str)] {
        let n = self.labels.iter().take_while(|l| !l.0.is_empty()).count();
        &self.labels[..n]
    }
}

/// Samples in the making.
#[derive(Debug, Default)]
pub struct Samples(Vec<Sample>);

impl Samples {
    const NONE: (&'static str, &'static str) = ("", "");

    /// Adds a counter.
    pub fn counter(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &'static str)],
        value: u64,
    ) {
        self.add(name, help, labels, Value::Counter(value as f64));
    }

    /// Adds a gauge.
    pub fn gauge(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &'static str)],
        value: f64,
    ) {
        self.add(name, help, labels, Value::Gauge(value));
    }

    fn add(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &'static str)],
        value: Value,
    ) {
        let label = |i: usize| labels.get(i).copied().unwrap_or(Self::NONE);
        self.0.push(Sample { name, help, labels: [label(0), label(1)], value });
    }

    /// All of them, in the order in which they were added.
    #[must_use]
    pub fn into_vec(self) -> Vec<Sample> {
        self.0
    }
}

/// Counts of durations, in decades from a microsecond to 100 s.
#[derive(Clone, Debug, Default)]
struct Durations {
    /// By decade; the last are longer than all bounds.
    counts: [u64; Self::BOUNDS_S.len() + 1],
    nanos: u64,
}

impl Durations {
    const BOUNDS_S: [f64; 9] = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0];

    fn add(&mut self, nanos: u64) {
        self.nanos = self.nanos.saturating_add(nanos);
        let decade = (0..Self::BOUNDS_S.len()).find(|d| nanos <= 10_u64.pow(*d as u32 + 3));
        self.counts[decade.unwrap_or(Self::BOUNDS_S.len())] += 1;
    }

    fn value(&self) -> Value {
        Value::Histogram {
            bounds: &Self::BOUNDS_S,
            counts: self.counts.to_vec(),
            sum: self.nanos as f64 / 1e9,
        }
    }
}

/// The application layer's counters.
#[derive(Debug, Default)]
pub struct Monitor {
    received: [u64; KINDS.len()],
    received_bytes: u64,
    relayed: [u64; KINDS.len()],
    relayed_bytes: u64,
    dropped: [[u64; DropReason::COUNT]; KINDS.len()],
    arrived: [Option<Instant>; KINDS.len()],
    inter_arrival: [Durations; KINDS.len()],
    response: Durations,
}

impl Monitor {
    /// Kinds whose inter-arrival times are kept.
    const TIMED: [Kind; 4] = [Kind::PING, Kind::PUSH, Kind::QUERY, Kind::QUERY_HIT];

    /// A message came in, header and payload `bytes` long.
    pub fn received(&mut self, now: Instant, kind: Kind, bytes: usize) {
        let k = place(kind);
        self.received[k] += 1;
        self.received_bytes += bytes as u64;
        if let Some(before) = self.arrived[k].replace(now) {
            self.inter_arrival[k].add(now.0.saturating_sub(before.0));
        }
    }

    /// A message went on to `copies` links.
    pub fn relayed(&mut self, kind: Kind, copies: usize, bytes: usize) {
        self.relayed[place(kind)] += copies as u64;
        self.relayed_bytes += (copies * bytes) as u64;
    }

    /// A message, or one copy of it, went no further.
    pub fn dropped(&mut self, kind: Kind, reason: DropReason) {
        self.dropped[place(kind)][reason as usize] += 1;
    }

    /// The first hit for a query went back.
    pub fn responded(&mut self, after: Duration) {
        self.response.add(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Names and values for Prometheus.
    pub fn sample(&self, out: &mut Samples) {
        for (k, kind) in KINDS.into_iter().enumerate() {
            let kind = ("kind", kind);
            out.counter(
                "avp_received_messages_total",
                "Gnutella messages received from peers.",
                &[kind],
                self.received[k],
            );
            out.counter(
                "avp_relayed_messages_total",
                "Copies of received Gnutella messages that were sent on.",
                &[kind],
                self.relayed[k],
            );
            for (r, reason) in DropReason::NAMES.into_iter().enumerate() {
                out.counter(
                    "avp_dropped_messages_total",
                    "Gnutella messages, or copies of them, that went no further.",
                    &[kind, ("reason", reason)],
                    self.dropped[k][r],
                );
            }
        }
        out.counter(
            "avp_received_bytes_total",
            "Bytes of the Gnutella messages received, headers included.",
            &[],
            self.received_bytes,
        );
        out.counter(
            "avp_relayed_bytes_total",
            "Bytes of the copies of Gnutella messages sent on, headers included.",
            &[],
            self.relayed_bytes,
        );
        for kind in Self::TIMED {
            out.add(
                "avp_inter_arrival_seconds",
                "Time between two messages of a kind, from any peer.",
                &[("kind", KINDS[place(kind)])],
                self.inter_arrival[place(kind)].value(),
            );
        }
        out.add(
            "avp_response_seconds",
            "Time from a query to the first hit that goes back for it.",
            &[],
            self.response.value(),
        );
    }
}

impl Durations {
    fn save(&self, to: &mut Writer) {
        self.counts.save(to);
        self.nanos.save(to);
    }

    fn load(&mut self, from: &mut Reader<'_>) -> Result<(), Damaged> {
        for n in &mut self.counts {
            *n = from.count()?;
        }
        self.nanos = from.load()?;
        Ok(())
    }
}

impl Saved for Monitor {
    fn save(&self, to: &mut Writer) {
        let Self {
            received,
            received_bytes,
            relayed,
            relayed_bytes,
            dropped,
            arrived,
            inter_arrival,
            response,
        } = self;
        [*received, *relayed].save(to);
        [*received_bytes, *relayed_bytes].save(to);
        dropped.save(to);
        arrived.save(to);
        inter_arrival.iter().for_each(|durations| durations.save(to));
        response.save(to);
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Damaged> {
        let mut monitor = Self::default();
        let bytes = [&mut monitor.received_bytes, &mut monitor.relayed_bytes];
        let counters = monitor.received.iter_mut().chain(&mut monitor.relayed).chain(bytes);
        for n in counters.chain(monitor.dropped.as_flattened_mut()) {
            *n = from.count()?;
        }
        monitor.arrived = from.load()?;
        for durations in &mut monitor.inter_arrival {
            durations.load(from)?;
        }
        monitor.response.load(from)?;
        Ok(monitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(monitor: &Monitor, name: &str, labels: &[(&str, &str)]) -> Value {
        let mut samples = Samples::default();
        monitor.sample(&mut samples);
        let found: Vec<Value> = samples
            .into_vec()
            .into_iter()
            .filter(|s| s.name == name && s.labels() == labels)
            .map(|s| s.value)
            .collect();
        assert_eq!(found.len(), 1, "{name} {labels:?}");
        found[0].clone()
    }

    #[test]
    fn inter_arrival_times_fall_into_decades() {
        let mut m = Monitor::default();
        for ms in [0, 5, 10, 2_000, 500_000] {
            m.received(Instant(0) + Duration::from_millis(ms), Kind::QUERY, 80);
        }
        let Value::Histogram { bounds, counts, sum } =
            value(&m, "avp_inter_arrival_seconds", &[("kind", "query")])
        else {
            panic!("no histogram")
        };
        let counted: Vec<(f64, u64)> =
            bounds.iter().copied().chain([f64::INFINITY]).zip(counts).filter(|b| b.1 > 0).collect();
        assert_eq!(counted, [(0.01, 2), (10.0, 1), (f64::INFINITY, 1)]);
        assert_eq!(sum, 500.0);
        assert_eq!(value(&m, "avp_received_bytes_total", &[]), Value::Counter(400.0));
    }

    #[test]
    fn each_series_appears_once() {
        let mut samples = Samples::default();
        Monitor::default().sample(&mut samples);
        let all = samples.into_vec();
        for (i, a) in all.iter().enumerate() {
            assert!(!all[..i].iter().any(|b| a.name == b.name && a.labels() == b.labels()), "{a:?}");
        }
    }
}
