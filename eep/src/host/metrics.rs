//! The capability `metrics`.

use crate::host::Host;
use crate::host::bindings::eep::proxylet::metrics;
use crate::observe::series::{Series, SeriesKind};

impl metrics::Host for Host {
    fn define(&mut self, metric: metrics::Metric) -> Option<u32> {
        let kind = match metric.kind {
            metrics::Kind::Counter => SeriesKind::Counter,
            metrics::Kind::Gauge => SeriesKind::Gauge,
        };
        let metrics::Metric { name, help, labels, .. } = metric;
        self.env.series.define(Series { name, help, kind, labels, value: 0.0 })
    }

    fn update(&mut self, values: Vec<(u32, f64)>) {
        self.env.series.update(&values);
    }
}
