//! What people are told of.

use crate::condition::{Condition, Failure};
use crate::event::Scope;

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Good to know.
    Info,
    /// Look soon.
    Warning,
    /// Look now.
    Critical,
}

/// An alarm.
#[derive(Debug)]
pub struct Alarm {
    /// Its name.
    pub id: String,
    /// The condition.
    pub when: Condition,
    /// How long it must hold, seconds.
    pub for_s: f64,
    /// How much it matters.
    pub level: Level,
    /// What it means, for people.
    pub about: String,
}

/// How an alarm stands, from one look to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum State {
    /// The condition does not hold.
    #[default]
    Quiet,
    /// The condition holds since this time, seconds, but not for long enough yet.
    Pending {
        /// Since when, seconds on the caller's clock.
        since_s: f64,
    },
    /// It is raised.
    Raised {
        /// Since when the condition holds, seconds on the caller's clock.
        since_s: f64,
    },
}

impl Level {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl Alarm {
    /// The state after a look at the facts. Where a fact is not known the state stays as it is.
    ///
    /// # Errors
    /// Where the condition cannot be evaluated, with the state unchanged.
    pub fn look(&self, state: State, now_s: f64, scope: &Scope<'_>) -> Result<State, Failure> {
        if !self.when.holds(scope)? {
            return Ok(State::Quiet);
        }
        let since_s = match state {
            State::Quiet => now_s,
            State::Pending { since_s } | State::Raised { since_s } => since_s,
        };
        let long = now_s - since_s >= self.for_s;
        Ok(if long { State::Raised { since_s } } else { State::Pending { since_s } })
    }
}
