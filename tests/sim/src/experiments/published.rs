//! What was published, and whether ours agrees.

use std::fmt;

use serde::Serialize;

use crate::measure::Estimate;

/// A published result.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub enum Published {
    /// There is none.
    Nothing,
    /// A shape, or something else that is no number.
    Shape(&'static str),
    /// Less than this.
    Below(f64),
    /// More than this.
    Above(f64),
    /// This.
    Is(f64),
    /// In this range.
    Between(f64, f64),
    /// This, and the workload was fitted so that it comes out: no prediction.
    Fitted(f64),
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Nothing => f.write_str("-"),
            Self::Shape(text) => f.write_str(text),
            Self::Below(x) => write!(f, "below {x}"),
            Self::Above(x) => write!(f, "above {x}"),
            Self::Is(x) => write!(f, "{x}"),
            Self::Between(low, high) => write!(f, "{low} to {high}"),
            Self::Fitted(x) => write!(f, "{x} (fitted)"),
        }
    }
}

impl Published {
    /// Whether there is something to compare with.
    #[must_use]
    pub fn is_number(self) -> bool {
        !matches!(self, Self::Nothing | Self::Shape(_))
    }

    /// How ours compares, in words; empty where there is nothing to compare.
    #[must_use]
    pub fn compared(self, ours: Estimate) -> String {
        let width = if ours.half_width.is_finite() { ours.half_width } else { 0.0 };
        let (low, high) = (ours.mean - width, ours.mean + width);
        if !ours.mean.is_finite() {
            return String::new();
        }
        let verdict = |holds: bool, fails: bool| match (holds, fails) {
            (true, _) => "holds".to_owned(),
            (_, true) => "**does not hold**".to_owned(),
            _ => "undecided: the interval has the bound in it".to_owned(),
        };
        let apart = |x: f64| {
            let percent = (ours.mean / x - 1.0) * 100.0;
            let than = if percent < 0.0 { "less" } else { "more" };
            format!("{:.0} % {than}", percent.abs())
        };
        match self {
            Self::Nothing | Self::Shape(_) => String::new(),
            Self::Below(x) => verdict(high < x, low >= x),
            Self::Above(x) => verdict(low > x, high <= x),
            Self::Between(a, b) => verdict(low >= a && high <= b, high < a || low > b),
            Self::Is(x) | Self::Fitted(x) if low <= x && x <= high => "agrees".to_owned(),
            Self::Is(x) | Self::Fitted(x) => apart(x),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(mean: f64, half_width: f64) -> Estimate {
        Estimate { mean, half_width, runs: 5 }
    }

    #[test]
    fn a_bound_holds_only_if_the_whole_interval_does() {
        assert_eq!(Published::Below(200.0).compared(ours(150.0, 20.0)), "holds");
        assert_eq!(Published::Below(200.0).compared(ours(250.0, 20.0)), "**does not hold**");
        assert!(Published::Below(200.0).compared(ours(190.0, 20.0)).starts_with("undecided"));
        assert_eq!(Published::Above(4.5).compared(ours(4.4, 0.05)), "**does not hold**");
        assert_eq!(Published::Between(2.0, 5.0).compared(ours(3.0, 0.5)), "holds");
        assert_eq!(Published::Between(2.0, 5.0).compared(ours(9.0, 0.5)), "**does not hold**");
    }

    #[test]
    fn a_number_is_met_or_missed_by_so_much() {
        assert_eq!(Published::Is(100.0).compared(ours(103.0, 4.0)), "agrees");
        assert_eq!(Published::Is(100.0).compared(ours(60.0, 4.0)), "40 % less");
        assert_eq!(Published::Fitted(100.0).compared(ours(160.0, f64::NAN)), "60 % more");
        assert_eq!(Published::Nothing.compared(ours(1.0, 1.0)), "");
        assert_eq!(Published::Is(1.0).compared(ours(f64::NAN, 1.0)), "");
    }
}
