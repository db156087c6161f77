//! Figures that leave by the node's `/metrics`, with `service="NAME"` added.

use crate::bindings::eep::proxylet::metrics;

pub use metrics::Kind;

/// A time series of this service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Series(u32);

/// Registers a time series under a Prometheus name with its base unit; the same name and labels give the same one.
/// `None` past 1,024 series and for a name that Prometheus would not take.
#[must_use]
pub fn define(kind: Kind, name: &str, help: &str, labels: &[(&str, &str)]) -> Option<Series> {
    let metric = metrics::Metric {
        name: name.to_owned(),
        help: help.to_owned(),
        kind,
        labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
    };
    metrics::define(&metric).map(Series)
}

/// Sets series to their present values, all in one call; a counter never goes down.
pub fn update(values: impl IntoIterator<Item = (Series, f64)>) {
    let values: Vec<(u32, f64)> = values.into_iter().map(|(series, value)| (series.0, value)).collect();
    if !values.is_empty() {
        metrics::update(&values);
    }
}
