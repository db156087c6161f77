//! Means of several runs, and how far to trust them.

use serde::Serialize;

/// A mean with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Half the width of the 95 % confidence interval; not a number for fewer than two runs.
    pub half_width: f64,
    /// How many runs.
    pub runs: usize,
}

/// Two-sided 95 % quantiles of Student's t distribution for 1 to 30 degrees of freedom.
const T_95: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];
/// And for so many that they are as good as normal.
const T_95_MANY: f64 = 1.960;

/// Estimates the mean of what independent runs have given.
#[must_use]
pub fn estimate(runs: &[f64]) -> Estimate {
    let n = runs.len();
    let mean = runs.iter().sum::<f64>() / n as f64;
    if n < 2 {
        return Estimate { mean, half_width: f64::NAN, runs: n };
    }
    let variance = runs.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / (n - 1) as f64;
    let t = T_95.get(n - 2).copied().unwrap_or(T_95_MANY);
    Estimate { mean, half_width: t * libm::sqrt(variance / n as f64), runs: n }
}

/// The value below which this share of the values lies; they need not be sorted. Not a number where there are none.
#[must_use]
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let place = libm::ceil(share * sorted.len() as f64) as usize;
    sorted.get(place.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// Mean and standard deviation of values that are all there are.
#[must_use]
pub fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
    (mean, libm::sqrt(variance))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_that_of_students_t() {
        let e = estimate(&[1.0, 2.0, 3.0, 4.0]);
        // Deviation 1.29099, standard error 0.645497, t(3) = 3.182.
        assert_eq!(e.mean, 2.5);
        assert!((e.half_width - 2.05397).abs() < 1e-4);
        assert!(estimate(&[1.0]).half_width.is_nan());
        assert_eq!(estimate(&[2.0; 50]).half_width, 0.0);
    }

    #[test]
    fn quantiles_are_values_that_occurred() {
        let values = [5.0, 1.0, 3.0, 2.0, 4.0];
        assert_eq!(quantile(&values, 0.5), 3.0);
        assert_eq!(quantile(&values, 0.95), 5.0);
        assert_eq!(quantile(&values, 0.0), 1.0);
        assert!(quantile(&[], 0.5).is_nan());
    }
}
