//! Figures, as a table for people and as JSON.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

/// What one run has found.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    shape: &'static str,
    settings: Vec<(&'static str, String)>,
    figures: Vec<Figure>,
}

#[derive(Clone, Debug)]
struct Figure {
    name: &'static str,
    value: f64,
    unit: &'static str,
}

impl Report {
    pub(crate) fn new(shape: &'static str) -> Self {
        Self { shape, settings: Vec::new(), figures: Vec::new() }
    }

    /// What was asked for.
    pub(crate) fn setting(&mut self, name: &'static str, value: impl ToString) -> &mut Self {
        self.settings.push((name, value.to_string()));
        self
    }

    /// What was found. JSON knows it as `name`, with its unit in `unit`.
    pub(crate) fn figure(&mut self, name: &'static str, value: f64, unit: &'static str) -> &mut Self {
        self.figures.push(Figure { name, value, unit });
        self
    }

    /// The value of a figure, where there is one of this name.
    pub(crate) fn get(&self, name: &str) -> Option<f64> {
        self.figures.iter().find(|f| f.name == name).map(|f| f.value)
    }

    pub(crate) fn table(&self) -> String {
        let mut out = String::from(self.shape);
        for (name, value) in &self.settings {
            write!(out, "  {name}={value}").expect("writing to memory");
        }
        out.push('\n');
        for figure in &self.figures {
            writeln!(out, "  {:<28} {:>14} {}", figure.name, human(figure.value), figure.unit)
                .expect("writing to memory");
        }
        out
    }

    pub(crate) fn json(&self) -> Value {
        let settings: Map<String, Value> =
            self.settings.iter().map(|(n, v)| ((*n).to_owned(), Value::from(v.clone()))).collect();
        let figures: Map<String, Value> = self
            .figures
            .iter()
            .map(|f| (f.name.to_owned(), json!({"value": f.value, "unit": f.unit})))
            .collect();
        json!({"shape": self.shape, "settings": settings, "figures": figures})
    }
}

fn human(value: f64) -> String {
    if value == 0.0 || value.abs() >= 1000.0 {
        format!("{value:.0}")
    } else if value.abs() >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.3}")
    }
}
