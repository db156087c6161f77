//! Clocks that may be wrong. A peer knows no other time than that of its clock; what was written down, and what must hold,
//! is in true time.

use avp::Instant;

use crate::engine::START;

/// A peer's clock. It was right when the simulation began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// What it gains, in millionths.
    ppm: i64,
}

impl Clock {
    /// One that gains so many millionths, or loses them.
    #[must_use]
    pub const fn gaining(ppm: i64) -> Self {
        Self { ppm }
    }

    /// What it shows now.
    #[must_use]
    pub fn shows(self, now: Instant) -> Instant {
        if self.ppm == 0 {
            return now;
        }
        let passed = i128::from(now.0.saturating_sub(START.0));
        Instant((i128::from(now.0) + passed * i128::from(self.ppm) / 1_000_000) as u64)
    }

    /// When it will show this; never too early.
    #[must_use]
    pub fn reaches(self, shown: Instant) -> Instant {
        if self.ppm == 0 {
            return shown;
        }
        let passed = i128::from(shown.0.saturating_sub(START.0));
        let true_passed = passed * 1_000_000 / (1_000_000 + i128::from(self.ppm));
        Instant(START.0 + true_passed as u64 + 1_000)
    }

    /// How much it has gone on since a moment, in nanoseconds.
    #[must_use]
    pub fn since(self, moment: Instant, now: Instant) -> u64 {
        self.shows(now).0 - self.shows(moment).0
    }

    /// How long it takes to go on by so many nanoseconds; never less than that.
    #[must_use]
    pub fn takes(self, after: u64, now: Instant) -> u64 {
        if self.ppm == 0 {
            return after;
        }
        self.reaches(Instant(self.shows(now).0.saturating_add(after))).0 - now.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::SECOND;

    #[test]
    fn a_wrong_clock_is_asked_after_the_time_that_it_was_asked_for() {
        for ppm in [-100_000, -50, 0, 50, 100_000] {
            let clock = Clock::gaining(ppm);
            for seconds in [0, 1, 59, 3_600] {
                let shown = Instant(START.0 + seconds * SECOND + 7);
                let at = clock.reaches(shown);
                assert!(clock.shows(at) >= shown, "{ppm} {seconds}");
                assert!(clock.shows(at).0 - shown.0 < 2_000);
                let later = Instant(at.0 + clock.takes(10 * SECOND, at));
                assert!(
                    (10 * SECOND..10 * SECOND + 2_000).contains(&clock.since(at, later)),
                    "{ppm} {seconds}"
                );
            }
        }
    }

    #[test]
    fn a_clock_that_gains_comes_sooner_and_a_right_one_is_the_time() {
        let now = Instant(START.0 + 7 * SECOND);
        assert_eq!((Clock::default().shows(now), Clock::default().takes(5, now)), (now, 5));
        assert!(Clock::gaining(50_000).takes(SECOND, now) < SECOND);
        assert!(Clock::gaining(-50_000).takes(SECOND, now) > SECOND);
    }
}
