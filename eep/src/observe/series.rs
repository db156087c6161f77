//! The time series that a proxylet keeps.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a series does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeriesKind {
    /// Never goes down.
    Counter,
    /// Goes both ways.
    Gauge,
    /// Observations, counted by size.
    Histogram,
}

/// One time series of a proxylet, with its present value.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The metric's name.
    pub name: String,
    /// A sentence.
    pub help: String,
    /// What it does.
    pub kind: SeriesKind,
    /// Its labels, without `service`.
    pub labels: Vec<(String, String)>,
    /// Its present value; a histogram's sum.
    pub value: f64,
    /// A histogram's buckets: upper bound and observations, not cumulated; the last bound is infinite.
    pub buckets: Vec<(f64, u64)>,
}

/// The series of one service.
#[derive(Debug, Default)]
pub struct SeriesTable(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    /// An id is a place in the list; one whose series is gone is free.
    places: Vec<Option<Entry>>,
    /// The number of the present version of the code.
    version: u64,
}

#[derive(Debug)]
struct Entry {
    series: Series,
    /// The version that has defined it first.
    first: u64,
    /// The last one that has.
    last: u64,
}

impl SeriesTable {
    /// Series a service may have.
    pub const SERIES_MAX: usize = 1_024;
    /// Bytes of a name, a help text, a label's name or value.
    pub const TEXT_BYTES_MAX: usize = 256;
    /// Labels of one series.
    pub const LABELS_MAX: usize = 16;
    /// Bounds of a histogram, the infinite one not counted.
    pub const BOUNDS_MAX: usize = 32;

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a series; the id of the one with the same name and labels where there is one already. None where it
    /// breaks a rule of Prometheus's data model, contradicts another of the same name, or is one too many.
    pub fn define(&self, mut series: Series) -> Option<u32> {
        series.labels.sort();
        if !is_sound(&series) {
            return None;
        }
        let mut table = self.lock();
        let Table { places, version } = &mut *table;
        for (id, place) in places.iter_mut().enumerate() {
            let Some(Entry { series: known, last, .. }) = place else { continue };
            if known.name == series.name {
                if known.kind != series.kind {
                    return None;
                }
                if known.labels == series.labels {
                    *last = *version;
                    return u32::try_from(id).ok();
                }
            }
        }
        let entry = Some(Entry { series, first: *version, last: *version });
        let id = match places.iter().position(Option::is_none) {
            Some(free) => {
                places[free] = entry;
                free
            }
            None if places.len() >= Self::SERIES_MAX => return None,
            None => {
                places.push(entry);
                places.len() - 1
            }
        };
        u32::try_from(id).ok()
    }

    /// Another version of the code begins: what it does not define again is an earlier one's.
    pub(crate) fn begin_version(&self) {
        self.lock().version += 1;
    }

    /// The present version stays: what only earlier ones have defined is shown no longer.
    pub(crate) fn retire_earlier(&self) {
        let mut table = self.lock();
        let Table { places, version } = &mut *table;
        for place in places {
            place.take_if(|entry| entry.last < *version);
        }
    }

    /// The version that began last does not stay, and the one before goes on: what only the former has defined is shown no
    /// longer.
    pub(crate) fn take_back_version(&self) {
        let mut table = self.lock();
        let Table { places, version } = &mut *table;
        *version = version.saturating_sub(1);
        for place in places {
            place.take_if(|entry| entry.first > *version);
            if let Some(entry) = place {
                entry.last = entry.last.min(*version);
            }
        }
    }

    /// Sets present values. Unknown ids are ignored, and so are histograms and a counter that would go down.
    pub fn update(&self, values: &[(u32, f64)]) {
        let mut table = self.lock();
        for (id, value) in values {
            let Some(Some(Entry { series, .. })) = table.places.get_mut(*id as usize) else { continue };
            let fits = match series.kind {
                SeriesKind::Counter => *value > series.value,
                SeriesKind::Gauge => true,
                SeriesKind::Histogram => false,
            };
            if fits {
                series.value = *value;
            }
        }
    }

    /// Sets what a histogram has counted. Ignored where the id is no histogram's or its buckets are not so many.
    pub fn update_histogram(&self, id: u32, counts: &[u64], sum: f64) {
        let mut table = self.lock();
        if let Some(Some(Entry { series, .. })) = table.places.get_mut(id as usize)
            && series.kind == SeriesKind::Histogram
            && series.buckets.len() == counts.len()
        {
            series.value = sum;
            for (bucket, count) in series.buckets.iter_mut().zip(counts) {
                bucket.1 = *count;
            }
        }
    }

    /// All series as they are now.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Series> {
        self.lock().places.iter().flatten().map(|entry| entry.series.clone()).collect()
    }

    /// Forgets all series: a new instance defines its own.
    pub(crate) fn clear(&self) {
        self.lock().places.clear();
    }
}

/// Prometheus's data model ("Metric names and labels"), less what the node adds itself.
fn is_sound(series: &Series) -> bool {
    let word = |text: &str, colon: bool| {
        let ok = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colon && c == ':');
        !text.is_empty() && text.chars().all(ok) && !text.starts_with(|c: char| c.is_ascii_digit())
    };
    let short = |text: &str| text.len() <= SeriesTable::TEXT_BYTES_MAX;
    let label = |(name, value): &(String, String)| {
        word(name, false) && !name.starts_with("__") && name != "service" && short(name) && short(value)
    };
    let bounds = &series.buckets[..series.buckets.len().saturating_sub(1)];
    let buckets_fit = match series.kind {
        SeriesKind::Counter | SeriesKind::Gauge => series.buckets.is_empty(),
        SeriesKind::Histogram => {
            (1..=SeriesTable::BOUNDS_MAX).contains(&bounds.len())
                && bounds.iter().all(|b| b.0.is_finite())
                && bounds.windows(2).all(|pair| pair[0].0 < pair[1].0)
                && series.labels.iter().all(|(name, _)| name != "le")
        }
    };
    // The prefix of the node's own figures.
    word(&series.name, true)
        && !series.name.starts_with("eep_")
        && short(&series.name)
        && short(&series.help)
        // A help text is one line of the page.
        && !series.help.contains(|c: char| c.is_control() || c == '\\')
        && series.labels.len() <= SeriesTable::LABELS_MAX
        && series.labels.iter().all(label)
        && series.labels.windows(2).all(|pair| pair[0].0 != pair[1].0)
        && buckets_fit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, kind: SeriesKind, labels: &[(&str, &str)]) -> Series {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Series {
            name: name.to_owned(),
            help: "Help.".to_owned(),
            kind,
            labels,
            value: 0.0,
            buckets: Vec::new(),
        }
    }

    #[test]
    fn the_same_name_and_labels_are_the_same_series() {
        let table = SeriesTable::default();
        let first = table.define(series("a_total", SeriesKind::Counter, &[("x", "1"), ("y", "2")]));
        assert_eq!(first, Some(0));
        assert_eq!(table.define(series("a_total", SeriesKind::Counter, &[("y", "2"), ("x", "1")])), first);
        assert_eq!(table.define(series("a_total", SeriesKind::Counter, &[("x", "2")])), Some(1));
        assert_eq!(table.define(series("a_total", SeriesKind::Gauge, &[("x", "3")])), None);
    }

    #[test]
    fn what_only_an_earlier_version_has_defined_is_shown_until_the_new_one_stays() {
        let table = SeriesTable::default();
        let define = |name: &str| table.define(series(name, SeriesKind::Gauge, &[]));
        let shown = || table.snapshot().into_iter().map(|series| series.name).collect::<Vec<_>>();
        assert_eq!((define("old"), define("both")), (Some(0), Some(1)));
        table.begin_version();
        assert_eq!((define("both"), define("new")), (Some(1), Some(2)));
        assert_eq!(shown(), ["old", "both", "new"]);
        table.retire_earlier();
        assert_eq!(shown(), ["both", "new"]);
        assert_eq!(define("later"), Some(0), "its place is free");
        assert_eq!(shown(), ["later", "both", "new"]);
    }

    #[test]
    fn what_only_a_version_that_was_taken_back_has_defined_is_shown_no_longer() {
        let table = SeriesTable::default();
        let define = |name: &str| table.define(series(name, SeriesKind::Gauge, &[]));
        let shown = || table.snapshot().into_iter().map(|series| series.name).collect::<Vec<_>>();
        assert_eq!((define("old"), define("both")), (Some(0), Some(1)));
        for _ in 0..2 {
            table.begin_version();
            assert_eq!((define("both"), define("new")), (Some(1), Some(2)));
            table.take_back_version();
            assert_eq!(shown(), ["old", "both"]);
        }
        // Neither counts as an earlier version's: they are those of the one that goes on.
        table.retire_earlier();
        assert_eq!(shown(), ["old", "both"]);
        table.update(&[(0, 1.0), (2, 1.0)]);
        assert_eq!(define("later"), Some(2), "its place is free");
        assert_eq!(table.snapshot()[2].value, 0.0);
    }

    #[test]
    fn what_prometheus_would_not_take_is_refused() {
        let table = SeriesTable::default();
        for name in ["", "1a", "a b", "a-b", "é", "eep_x", &"a".repeat(257)] {
            assert_eq!(table.define(series(name, SeriesKind::Gauge, &[])), None, "{name}");
        }
        let labels: [&[(&str, &str)]; 5] =
            [&[("", "")], &[("service", "x")], &[("__x", "")], &[("a", "1"), ("a", "2")], &[("a:b", "")]];
        for labels in labels {
            assert_eq!(table.define(series("a", SeriesKind::Gauge, labels)), None, "{labels:?}");
        }
    }

    #[test]
    fn a_help_text_is_one_line() {
        let help = "Help.\nx 1".to_owned();
        let series = Series { help, ..series("a", SeriesKind::Gauge, &[]) };
        assert_eq!(SeriesTable::default().define(series), None);
    }

    #[test]
    fn a_histogram_takes_as_many_counts_as_it_has_buckets() {
        let histogram = |bounds: &[f64]| {
            let buckets = bounds.iter().chain([&f64::INFINITY]).map(|b| (*b, 0)).collect();
            Series { buckets, ..series("h_seconds", SeriesKind::Histogram, &[]) }
        };
        let table = SeriesTable::default();
        for bounds in [&[][..], &[2.0, 1.0], &[f64::NAN], &[f64::INFINITY], &[1.0; 33]] {
            assert_eq!(table.define(histogram(bounds)), None, "{bounds:?}");
        }
        let id = table.define(histogram(&[0.1, 1.0])).unwrap();
        table.update_histogram(id, &[1, 2, 3], 5.5);
        table.update_histogram(id, &[9, 9], 9.0);
        table.update(&[(id, 9.0)]);
        let shown = &table.snapshot()[0];
        assert_eq!((shown.value, &shown.buckets[..]), (5.5, &[(0.1, 1), (1.0, 2), (f64::INFINITY, 3)][..]));
    }

    #[test]
    fn there_is_a_last_series() {
        let table = SeriesTable::default();
        for i in 0..SeriesTable::SERIES_MAX {
            assert!(table.define(series(&format!("a{i}"), SeriesKind::Gauge, &[])).is_some());
        }
        assert_eq!(table.define(series("b", SeriesKind::Gauge, &[])), None);
        assert_eq!(table.define(series("a7", SeriesKind::Gauge, &[])), Some(7));
    }

    #[test]
    fn a_counter_never_goes_down() {
        let table = SeriesTable::default();
        let c = table.define(series("c_total", SeriesKind::Counter, &[])).unwrap();
        let g = table.define(series("g", SeriesKind::Gauge, &[])).unwrap();
        table.update(&[(c, 5.0), (g, 5.0), (99, 1.0)]);
        table.update(&[(c, 3.0), (g, 3.0), (c, f64::NAN)]);
        let values: Vec<f64> = table.snapshot().iter().map(|s| s.value).collect();
        assert_eq!(values, [5.0, 3.0]);
    }
}
