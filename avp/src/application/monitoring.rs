//! Monitoring plane of the application layer: what was relayed and dropped and why, inter-arrival times, response
//! times, degree of peers.
//!
//! Counting is an addition to an array; names and labels appear only when a snapshot is taken.

use crate::gnutella::Kind;
use crate::host::Instant;
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
}

impl DropReason {
    const COUNT: usize = 8;
    const NAMES: [&'static str; Self::COUNT] =
        ["duplicate", "hops", "size", "malformed", "no_route", "throttled", "congested", "unknown"];
}

/// What a figure is to Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only ever grows.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// One time series and its present value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Prometheus name, base units.
    pub name: &'static str,
    /// A sentence.
    pub help: &'static str,
    /// Counter or gauge.
    pub kind: MetricKind,
    labels: [(&'static str, &'static str); 2],
    /// The present value.
    pub value: f64,
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
        self.add(name, help, MetricKind::Counter, labels, value as f64);
    }

    /// Adds a gauge.
    pub fn gauge(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &'static str)],
        value: f64,
    ) {
        self.add(name, help, MetricKind::Gauge, labels, value);
    }

    fn add(
        &mut self,
        name: &'static str,
        help: &'static str,
        kind: MetricKind,
        labels: &[(&'static str, &'static str)],
        value: f64,
    ) {
        let label = |i: usize| labels.get(i).copied().unwrap_or(Self::NONE);
        self.0.push(Sample { name, help, kind, labels: [label(0), label(1)], value });
    }

    /// All of them, in the order in which they were added.
    #[must_use]
    pub fn into_vec(self) -> Vec<Sample> {
        self.0
    }
}

/// Counts of durations, in decades from a microsecond to 100 s.
#[derive(Clone, Debug, Default)]
struct Histogram {
    buckets: [u64; Self::BOUNDS.len()],
    count: u64,
    nanos: u64,
}

/// The three names under which a histogram is known.
struct HistogramNames {
    bucket: &'static str,
    sum: &'static str,
    count: &'static str,
}

impl Histogram {
    const BOUNDS: [(u64, &'static str); 9] = [
        (1_000, "0.000001"),
        (10_000, "0.00001"),
        (100_000, "0.0001"),
        (1_000_000, "0.001"),
        (10_000_000, "0.01"),
        (100_000_000, "0.1"),
        (1_000_000_000, "1"),
        (10_000_000_000, "10"),
        (100_000_000_000, "100"),
    ];

    fn add(&mut self, nanos: u64) {
        self.count += 1;
        self.nanos = self.nanos.saturating_add(nanos);
        if let Some(i) = Self::BOUNDS.iter().position(|b| nanos <= b.0) {
            self.buckets[i] += 1;
        }
    }

    fn sample(
        &self,
        out: &mut Samples,
        names: &HistogramNames,
        help: &'static str,
        label: Option<(&'static str, &'static str)>,
    ) {
        let mut below = 0;
        for (n, bound) in self.buckets.iter().zip(Self::BOUNDS) {
            below += n;
            match label {
                Some(l) => out.counter(names.bucket, help, &[l, ("le", bound.1)], below),
                None => out.counter(names.bucket, help, &[("le", bound.1)], below),
            }
        }
        let label = label.as_slice();
        match label {
            [l] => out.counter(names.bucket, help, &[*l, ("le", "+Inf")], self.count),
            _ => out.counter(names.bucket, help, &[("le", "+Inf")], self.count),
        }
        out.add(names.sum, help, MetricKind::Counter, label, self.nanos as f64 / 1e9);
        out.counter(names.count, help, label, self.count);
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
    inter_arrival: [Histogram; KINDS.len()],
    response: Histogram,
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
        const INTER_ARRIVAL: HistogramNames = HistogramNames {
            bucket: "avp_inter_arrival_seconds_bucket",
            sum: "avp_inter_arrival_seconds_sum",
            count: "avp_inter_arrival_seconds_count",
        };
        for kind in Self::TIMED {
            self.inter_arrival[place(kind)].sample(
                out,
                &INTER_ARRIVAL,
                "Time between two messages of a kind, from any peer.",
                Some(("kind", KINDS[place(kind)])),
            );
        }
        const RESPONSE: HistogramNames = HistogramNames {
            bucket: "avp_response_seconds_bucket",
            sum: "avp_response_seconds_sum",
            count: "avp_response_seconds_count",
        };
        self.response.sample(
            out,
            &RESPONSE,
            "Time from a query to the first hit that goes back for it.",
            None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(monitor: &Monitor, name: &str, labels: &[(&str, &str)]) -> f64 {
        let mut samples = Samples::default();
        monitor.sample(&mut samples);
        let found: Vec<f64> = samples
            .into_vec()
            .into_iter()
            .filter(|s| s.name == name && s.labels() == labels)
            .map(|s| s.value)
            .collect();
        assert_eq!(found.len(), 1, "{name} {labels:?}");
        found[0]
    }

    #[test]
    fn inter_arrival_buckets_are_cumulative() {
        let mut m = Monitor::default();
        for ms in [0, 5, 10, 2_000] {
            m.received(Instant(0) + Duration::from_millis(ms), Kind::QUERY, 80);
        }
        let le = |b| value(&m, "avp_inter_arrival_seconds_bucket", &[("kind", "query"), ("le", b)]);
        assert_eq!((le("0.001"), le("0.01"), le("1"), le("10"), le("+Inf")), (0.0, 2.0, 2.0, 3.0, 3.0));
        assert_eq!(value(&m, "avp_inter_arrival_seconds_sum", &[("kind", "query")]), 2.0);
        assert_eq!(value(&m, "avp_received_bytes_total", &[]), 320.0);
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
