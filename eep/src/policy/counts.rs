//! Decisions, counted by what was decided.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use policies::Policy;
use policies::decide::outcome::Outcome;

/// What a count is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) chain: &'static str,
    /// The rule's id, or `default`.
    pub(crate) rule: String,
    /// The name of the action.
    pub(crate) verdict: &'static str,
    /// Whether it was only counted.
    pub(crate) shadow: bool,
}

impl Key {
    fn of(outcome: &Outcome<'_>) -> Self {
        Self {
            chain: outcome.chain.word(),
            rule: outcome.rule.unwrap_or("default").to_owned(),
            verdict: outcome.action.name(),
            shadow: outcome.shadow,
        }
    }
}

/// The counts of one service, over all generations.
#[derive(Debug, Default)]
pub(crate) struct Counts(Mutex<BTreeMap<Key, Arc<AtomicU64>>>);

impl Counts {
    /// Counts that are kept beside those of the generation in force. Beyond it the others are forgotten.
    const KEPT_MAX: usize = 4_096;

    /// The counters of a policy's outcomes, by their numbers.
    pub(crate) fn of(&self, policy: &Policy) -> Vec<Arc<AtomicU64>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() > Self::KEPT_MAX {
            all.clear();
        }
        policy.outcomes().map(|outcome| Arc::clone(all.entry(Key::of(&outcome)).or_default())).collect()
    }

    /// What has been decided at least once.
    pub(crate) fn snapshot(&self) -> Vec<(Key, u64)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(key, n)| (key.clone(), n.load(Relaxed))).filter(|(_, n)| *n > 0).collect()
    }
}
