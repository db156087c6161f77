//! How many searches a session has, and when (Klemm, Lindemann, Vernon and Waldhorst, IMC 2004).
//!
//! The parameters are from memory of the paper: run them as a sweep, not as a claim.

use crate::engine::Dice;

/// Where a peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Region {
    /// North America.
    NorthAmerica,
    /// Europe.
    Europe,
    /// Asia.
    Asia,
}

/// Body of the time between two searches, log-normal, in seconds...
const BETWEEN: (f64, f64) = (3.35, 1.63);
/// ...up to this, beyond which it is Pareto with this exponent.
const BETWEEN_TAIL: (f64, f64) = (103.0, 0.90);
/// Longest time between two searches that is drawn, in seconds.
const BETWEEN_MAX_S: f64 = 86_400.0;
/// Most searches of a session.
const SEARCHES_MAX: f64 = 1_000.0;

impl Region {
    /// The region of a system, by shares of 60, 20 and 20 in a hundred.
    #[must_use]
    pub fn of_system(system: usize) -> Self {
        match crate::workload::content::mix(system as u64) % 100 {
            0..60 => Self::NorthAmerica,
            60..80 => Self::Europe,
            _ => Self::Asia,
        }
    }

    /// Share of sessions without a search.
    const fn passive(self) -> f64 {
        match self {
            Self::NorthAmerica => 0.825,
            Self::Europe => 0.775,
            Self::Asia => 0.85,
        }
    }

    const fn searches_law(self) -> (f64, f64) {
        match self {
            Self::NorthAmerica => (-0.067, 1.36),
            Self::Europe => (0.52, 1.31),
            Self::Asia => (-1.03, 1.62),
        }
    }

    /// How many searches a session has.
    pub fn searches(self, dice: &mut Dice) -> u32 {
        if dice.chance(self.passive()) {
            return 0;
        }
        let (mu, sigma) = self.searches_law();
        libm::ceil(dice.lognormal(mu, sigma)).min(SEARCHES_MAX) as u32
    }
}

/// Seconds from one search of a session to the next.
pub fn between_searches_s(dice: &mut Dice) -> f64 {
    let body = dice.lognormal(BETWEEN.0, BETWEEN.1);
    if body <= BETWEEN_TAIL.0 { body } else { dice.pareto(BETWEEN_TAIL.0, BETWEEN_TAIL.1).min(BETWEEN_MAX_S) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_sessions_are_passive_and_a_few_search_a_lot() {
        let mut dice = Dice::new(1, "klemm");
        let counts: Vec<u32> = (0..20_000).map(|_| Region::Europe.searches(&mut dice)).collect();
        let active: Vec<u32> = counts.into_iter().filter(|n| *n > 0).collect();
        assert!((4_300..4_700).contains(&active.len()), "{}", active.len());
        let mean = active.iter().sum::<u32>() as f64 / active.len() as f64;
        // The mean of the law is 3.97; whole searches are half a one more.
        assert!((4.0..4.9).contains(&mean), "{mean}");
    }
}
