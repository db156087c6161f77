//! Reading Prometheus text.

/// A scrape.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    samples: Vec<Sample>,
}

#[derive(Clone, Debug, PartialEq)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Metrics {
    /// Reads the text format.
    ///
    /// # Panics
    /// Where a line is none of it.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let samples = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| Sample::parse(line).unwrap_or_else(|| panic!("no sample: {line:?}")))
            .collect();
        Self { samples }
    }

    /// What comes from elsewhere than a text: names, labels and values.
    pub fn of<'a>(samples: impl Iterator<Item = (&'a str, Vec<(&'a str, &'a str)>, f64)>) -> Self {
        let owned = |(k, v): (&str, &str)| (k.to_owned(), v.to_owned());
        let samples = samples
            .map(|(name, labels, value)| Sample {
                name: name.to_owned(),
                labels: labels.into_iter().map(owned).collect(),
                value,
            })
            .collect();
        Self { samples }
    }

    /// The sum of all samples with this name and at least these labels; 0 where there are none.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).map(|s| s.value).sum()
    }

    /// Whether there is such a series.
    #[must_use]
    pub fn has(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.matching(name, labels).next().is_some()
    }

    /// The names of all series.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.samples.iter().map(|s| s.name.as_str())
    }

    fn matching(&self, name: &str, labels: &[(&str, &str)]) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(move |s| {
            s.name == name && labels.iter().all(|(k, v)| s.labels.iter().any(|(a, b)| a == k && b == v))
        })
    }
}

impl Sample {
    fn parse(line: &str) -> Option<Self> {
        let Some((name, rest)) = line.split_once('{') else {
            let (name, value) = line.split_once(' ')?;
            return Some(Self { name: name.to_owned(), labels: Vec::new(), value: value.parse().ok()? });
        };
        let (mut rest, mut labels) = (rest, Vec::new());
        while !rest.starts_with('}') {
            let (key, after) = rest.split_once("=\"")?;
            let mut value = String::new();
            let mut letters = after.char_indices();
            let end = loop {
                match letters.next()? {
                    (i, '"') => break i,
                    (_, '\\') => match letters.next()?.1 {
                        'n' => value.push('\n'),
                        other => value.push(other),
                    },
                    (_, letter) => value.push(letter),
                }
            };
            labels.push((key.to_owned(), value));
            rest = after[end + 1..].trim_start_matches(',');
        }
        let value = rest[1..].trim().parse().ok()?;
        Some(Self { name: name.to_owned(), labels, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_what_the_labels_select() {
        let text = "# HELP a_total Some.\n# TYPE a_total counter\na_total{k=\"x\",l=\"1\"} 2\na_total{k=\"y \\\"}\"} 3.5\nb 1e3\n";
        let metrics = Metrics::parse(text);
        assert_eq!(metrics.sum("a_total", &[]), 5.5);
        assert_eq!(metrics.sum("a_total", &[("k", "x")]), 2.0);
        assert_eq!(metrics.sum("a_total", &[("k", "y \"}")]), 3.5);
        assert_eq!(metrics.sum("b", &[]), 1000.0);
        assert!(!metrics.has("c", &[]));
    }
}
