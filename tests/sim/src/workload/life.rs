//! How long peers and relations last.

use serde::{Deserialize, Serialize};

use crate::engine::Dice;

/// Share of the short state.
pub const SHORT_SHARE: f64 = 0.816;
/// Mean of the short state in seconds.
pub const SHORT_MEAN_S: f64 = 27.0;
/// Mean of the stable state in seconds.
pub const STABLE_MEAN_S: f64 = 128.0 * 60.0;

/// A law of life.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Life {
    /// Nobody leaves.
    Forever,
    /// Exponential with this mean in seconds.
    Exponential(f64),
    /// Short, to exchange hosts, or stable, to search (third founding paper): a mixture of two exponentials that
    /// reproduces three published means, 24 minutes over all, 88 after one minute, 133 after five.
    TwoState,
}

/// One life.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    /// In seconds; infinite where nobody leaves.
    pub seconds: f64,
    /// Whether it is of the stable state.
    pub stable: bool,
    /// Whether it began before one looked.
    pub under_way: bool,
}

impl Life {
    /// Its mean in seconds.
    #[must_use]
    pub fn mean_s(self) -> f64 {
        match self {
            Self::Forever => f64::INFINITY,
            Self::Exponential(mean) => mean,
            Self::TwoState => SHORT_SHARE * SHORT_MEAN_S + (1.0 - SHORT_SHARE) * STABLE_MEAN_S,
        }
    }

    /// The life of somebody who comes.
    pub fn draw(self, dice: &mut Dice) -> Span {
        self.with_short_share(SHORT_SHARE, dice)
    }

    /// The rest of the life of somebody who is there when one looks: long lives are seen more often.
    pub fn draw_rest(self, dice: &mut Dice) -> Span {
        let rest = self.with_short_share(SHORT_SHARE * SHORT_MEAN_S / Self::TwoState.mean_s(), dice);
        Span { under_way: true, ..rest }
    }

    fn with_short_share(self, share: f64, dice: &mut Dice) -> Span {
        match self {
            Self::Forever => Span { seconds: f64::INFINITY, stable: true, under_way: false },
            Self::Exponential(mean) => {
                Span { seconds: dice.exponential(mean), stable: true, under_way: false }
            }
            Self::TwoState => {
                let stable = !dice.chance(share);
                let mean = if stable { STABLE_MEAN_S } else { SHORT_MEAN_S };
                Span { seconds: dice.exponential(mean), stable, under_way: false }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_at_a_moment_is_mostly_stable() {
        let mut dice = Dice::new(1, "life");
        let stable = |n: usize, draw: &mut dyn FnMut() -> Span| (0..n).filter(|_| draw().stable).count();
        let new = stable(20_000, &mut || Life::TwoState.draw(&mut dice));
        assert!((3_500..3_860).contains(&new), "{new}");
        let rest = stable(20_000, &mut || Life::TwoState.draw_rest(&mut dice));
        assert!(rest > 19_500, "{rest}");
        assert!(Life::Forever.draw(&mut dice).seconds.is_infinite());
    }
}
