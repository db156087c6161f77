//! The peer's figures on their way to the node's `/metrics`.

use avp::application::monitoring::{MetricKind, Sample};
use eep_sdk::metrics::{self, Kind, Series};

/// How often the figures are taken, in nanoseconds.
pub(crate) const PERIOD_NS: u64 = 1_000_000_000;

/// The series that the node gave for each of the peer's samples, in the order of the samples, which is always the
/// same.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    series: Vec<Option<Series>>,
    reported: Vec<f64>,
}

impl Figures {
    /// Tells the node what has changed since the last time.
    pub(crate) fn report(&mut self, samples: &[Sample]) {
        for sample in &samples[self.series.len().min(samples.len())..] {
            self.series.push(define(sample));
            self.reported.push(f64::NAN);
        }
        let changed = self.series.iter().zip(&mut self.reported).zip(samples).filter_map(
            |((series, reported), sample)| {
                let changed = *reported != sample.value;
                *reported = sample.value;
                (*series).filter(|_| changed).map(|series| (series, sample.value))
            },
        );
        metrics::update(changed);
    }
}

fn define(sample: &Sample) -> Option<Series> {
    let kind = match sample.kind {
        MetricKind::Counter => Kind::Counter,
        MetricKind::Gauge => Kind::Gauge,
    };
    metrics::define(kind, sample.name, sample.help, sample.labels())
}
