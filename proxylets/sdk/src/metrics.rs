//! Figures that leave by the node's `/metrics`, with `service="NAME"` added.
//!
//! ```
//! use eep_sdk::metrics::{self, Kind, Series};
//!
//! struct Figures {
//!     lines: Option<Series>,
//! }
//!
//! impl Figures {
//!     fn new() -> Self {
//!         Self { lines: metrics::define(Kind::Counter, "hello_lines_total", "Lines answered.", &[]) }
//!     }
//!
//!     fn report(&self, lines: u64) {
//!         metrics::update(self.lines.map(|series| (series, lines as f64)));
//!     }
//! }
//! ```

use crate::bindings::eep::proxylet::metrics;

pub use metrics::Kind;

/// A time series of this service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Series(u32);

/// Registers a time series under a Prometheus name with its base unit; the same name and labels give the same one.
/// `None` past 1,024 series and for a name that Prometheus would not take.
#[must_use]
pub fn define(kind: Kind, name: &str, help: &str, labels: &[(&str, &str)]) -> Option<Series> {
    let (name, help, labels) = (name.to_owned(), help.to_owned(), owned(labels));
    metrics::define(&metrics::Metric { name, help, kind, labels }).map(Series)
}

/// Registers a histogram with these upper bounds of its buckets: 1 to 32, ascending, in the name's unit. One more
/// bucket, for what is above them all, is understood.
#[must_use]
pub fn define_histogram(name: &str, help: &str, labels: &[(&str, &str)], bounds: &[f64]) -> Option<Series> {
    let (name, help, labels, bounds) = (name.to_owned(), help.to_owned(), owned(labels), bounds.to_owned());
    metrics::define_histogram(&metrics::Histogram { name, help, labels, bounds }).map(Series)
}

fn owned(labels: &[(&str, &str)]) -> Vec<(String, String)> {
    labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

/// Sets series to their present values, all in one call; a counter never goes down.
pub fn update(values: impl IntoIterator<Item = (Series, f64)>) {
    let values: Vec<(u32, f64)> = values.into_iter().map(|(series, value)| (series.0, value)).collect();
    if !values.is_empty() {
        metrics::update(&values);
    }
}

/// Sets histograms to what they have counted so far: the observations of each bucket, not cumulated, the bucket above
/// all bounds last, and the sum of all observations.
pub fn update_histograms(values: impl IntoIterator<Item = (Series, Vec<u64>, f64)>) {
    let distribution = |(series, counts, sum): (Series, Vec<u64>, f64)| metrics::Distribution {
        series: series.0,
        counts,
        sum,
    };
    let values: Vec<metrics::Distribution> = values.into_iter().map(distribution).collect();
    if !values.is_empty() {
        metrics::update_histograms(&values);
    }
}
