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
        self.env.series.define(Series { name, help, kind, labels, value: 0.0, buckets: Vec::new() })
    }

    fn define_histogram(&mut self, histogram: metrics::Histogram) -> Option<u32> {
        let metrics::Histogram { name, help, labels, bounds } = histogram;
        let buckets = bounds.into_iter().chain([f64::INFINITY]).map(|bound| (bound, 0)).collect();
        let kind = SeriesKind::Histogram;
        self.env.series.define(Series { name, help, kind, labels, value: 0.0, buckets })
    }

    fn update(&mut self, values: Vec<(u32, f64)>) {
        self.env.series.update(&values);
    }

    fn update_histograms(&mut self, values: Vec<metrics::Distribution>) {
        for value in values {
            self.env.series.update_histogram(value.series, &value.counts, value.sum);
        }
    }
}
