//! The peer's figures on their way to the node's `/metrics`.

use std::cell::Cell;

use avp::application::monitoring::{Sample, Value};
use eep_sdk::metrics::{self, Kind, Series};

/// How often the figures are taken, in nanoseconds.
pub(crate) const PERIOD_NS: u64 = 1_000_000_000;

/// The peer's samples by place: the series that the node gave for each, and what it was told last. A sample's place
/// never changes; new ones come after the others.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    series: Vec<Option<Series>>,
    reported: Vec<Value>,
    /// Whether everything is told the next time.
    all: Cell<bool>,
}

impl Figures {
    /// Has everything be told the next time. What was told before is no part of the saved state: who goes on from there
    /// tells everything, and so does who goes on being itself, since a replay begins with the one and is compared with
    /// the other.
    pub(crate) fn tell_all(&self) {
        self.all.set(true);
    }

    /// Tells the node what has changed since the last time.
    pub(crate) fn report(&mut self, samples: Vec<Sample>) {
        let all = self.all.take();
        let mut numbers = Vec::new();
        let mut histograms = Vec::new();
        for (place, sample) in samples.into_iter().enumerate() {
            if self.series.len() <= place {
                self.series.push(define(&sample));
            } else if !all && self.reported[place] == sample.value {
                continue;
            }
            if let Some(series) = self.series[place] {
                match &sample.value {
                    Value::Counter(n) | Value::Gauge(n) => numbers.push((series, *n)),
                    Value::Histogram { counts, sum, .. } => histograms.push((series, counts.clone(), *sum)),
                }
            }
            match self.reported.get_mut(place) {
                Some(reported) => *reported = sample.value,
                None => self.reported.push(sample.value),
            }
        }
        metrics::update(numbers);
        metrics::update_histograms(histograms);
    }
}

fn define(sample: &Sample) -> Option<Series> {
    let Sample { name, help, .. } = sample;
    match &sample.value {
        Value::Counter(_) => metrics::define(Kind::Counter, name, help, sample.labels()),
        Value::Gauge(_) => metrics::define(Kind::Gauge, name, help, sample.labels()),
        Value::Histogram { bounds, .. } => metrics::define_histogram(name, help, sample.labels(), bounds),
    }
}
