//! How long a service may go on without being told so again.
//!
//! Two clocks measure it, and the one that has gone further counts: the machine's, which goes on while a process is
//! stopped and while the machine sleeps, and the wall clock, which is set right when a virtual machine goes on after a
//! pause. A clock that is wrongly set forward stops a service that might have gone on; none lets one go on too long.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};

/// A moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    machine: Duration,
    wall: SystemTime,
}

impl Moment {
    /// The present one.
    #[must_use]
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::Boottime);
        let seconds = Duration::from_secs(u64::try_from(now.tv_sec).unwrap_or(0));
        let machine = seconds + Duration::from_nanos(u64::try_from(now.tv_nsec).unwrap_or(0));
        Self { machine, wall: SystemTime::now() }
    }

    /// The time that has passed between this moment and a later one.
    #[must_use]
    pub fn until(self, later: Self) -> Duration {
        let machine = later.machine.saturating_sub(self.machine);
        machine.max(later.wall.duration_since(self.wall).unwrap_or_default())
    }

    /// The time that has passed since.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        self.until(Self::now())
    }
}

/// The right to go on for some time, which can be given again. All clones are the same one.
#[derive(Clone, Debug)]
pub struct Permit {
    given: Arc<Mutex<Option<Moment>>>,
    holds: Duration,
}

impl Permit {
    /// One that has not been given yet, and that holds so long when it is.
    #[must_use]
    pub fn new(holds: Duration) -> Self {
        Self { given: Arc::default(), holds }
    }

    /// Gives it, as of a moment.
    pub fn give(&self, at: Moment) {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        if given.is_none_or(|before| before.until(at) > Duration::ZERO) {
            *given = Some(at);
        }
    }

    /// How long ago it was given; none where it never was.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner).map(Moment::elapsed)
    }

    /// Whether it holds now.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.age().is_some_and(|age| age < self.holds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_that_has_gone_further_counts() {
        let begin = Moment { machine: Duration::from_secs(100), wall: SystemTime::UNIX_EPOCH };
        let at = |machine, wall| Moment {
            machine: Duration::from_secs(machine),
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs(wall),
        };
        assert_eq!(begin.until(at(105, 5)), Duration::from_secs(5));
        // A paused virtual machine, whose own clock has stood still.
        assert_eq!(begin.until(at(101, 60)), Duration::from_secs(60));
        // A wall clock that was set back.
        assert_eq!(at(100, 500).until(at(107, 3)), Duration::from_secs(7));
    }

    #[test]
    fn it_holds_from_when_it_was_given_last() {
        let permit = Permit::new(Duration::from_secs(3_600));
        assert!(!permit.holds());
        let before = Moment::now();
        permit.give(before);
        assert!(permit.holds());
        let long_ago = Moment { machine: Duration::ZERO, wall: SystemTime::UNIX_EPOCH };
        permit.give(long_ago);
        assert!(permit.holds(), "a former one takes nothing away");
        let over = Permit::new(Duration::from_secs(3_600));
        over.give(long_ago);
        assert!(!over.holds());
    }
}
