//! Decisions on record: some of them, with what they were about. A line of the record can be replayed.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use policies::facts::Facts;
use policies::proof::given::Given;
use policies::{Decision, Event, Policy};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::broadcast;

/// A decision on record.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Record {
    /// What it is called: the generation and a number that counts up.
    pub id: String,
    /// Seconds since 1970-01-01T00:00:00Z.
    pub at_s: f64,
    /// The generation that decided.
    pub generation: u64,
    /// The chain that was asked.
    pub chain: &'static str,
    /// The rule that decided, or `default`.
    pub rule: String,
    /// What it decided.
    #[schema(value_type = Object)]
    pub action: Value,
    /// Whether it was done; not so while the whole policy is in shadow.
    pub enforced: bool,
    /// What the first rule in shadow would have decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub shadow: Option<Value>,
    /// The condition that could not be evaluated.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub failed: Option<Value>,
    /// What it was about, with the facts, as tests and recordings of policies have it.
    #[schema(value_type = Object)]
    pub event: Value,
    /// Decisions since the record before that are not on record.
    pub skipped: u64,
}

/// The records of one service.
#[derive(Debug)]
pub struct Audit {
    kept: Mutex<Kept>,
    follow: broadcast::Sender<Record>,
}

#[derive(Debug, Default)]
struct Kept {
    records: VecDeque<Record>,
    last: u64,
}

impl Default for Audit {
    fn default() -> Self {
        Self { kept: Mutex::default(), follow: broadcast::channel(Self::FOLLOW_LAG_MAX).0 }
    }
}

impl Audit {
    /// Records that are kept.
    pub const RECORDS_MAX: usize = 1_000;
    /// Records that a follower may lag behind before it loses some.
    pub const FOLLOW_LAG_MAX: usize = 256;

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a decision on record.
    pub(crate) fn write(
        &self,
        policy: &Policy,
        decision: &Decision<'_>,
        event: &Event<'_>,
        facts: &Facts,
        skipped: u64,
    ) {
        let budgets = policy.budget_names();
        let mut told = decision.json(budgets);
        let mut kept = self.lock();
        kept.last += 1;
        let record = Record {
            id: format!("{}-{}", decision.generation, kept.last),
            at_s: SystemTime::UNIX_EPOCH.elapsed().map_or(0.0, |d| d.as_secs_f64()),
            generation: decision.generation,
            chain: decision.chain.word(),
            rule: decision.rule_or_default().to_owned(),
            action: told["action"].take(),
            enforced: decision.enforced,
            shadow: told.get("shadow").cloned(),
            failed: told.get("failed").cloned(),
            event: Given::json(event, facts, budgets),
            skipped,
        };
        if kept.records.len() == Self::RECORDS_MAX {
            kept.records.pop_front();
        }
        kept.records.push_back(record.clone());
        // Sent under the lock, so that followers see the records in order. Without a follower it is thrown away.
        let _ = self.follow.send(record);
    }

    /// The record with this id, where it is still kept.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<Record> {
        self.lock().records.iter().rev().find(|record| record.id == id).cloned()
    }

    /// The last `max` records, oldest first, and those that follow.
    #[must_use]
    pub fn tail_and_follow(&self, max: usize) -> (Vec<Record>, broadcast::Receiver<Record>) {
        let kept = self.lock();
        let skip = kept.records.len().saturating_sub(max);
        (kept.records.iter().skip(skip).cloned().collect(), self.follow.subscribe())
    }
}

/// Which decisions go on record: so many a second, refusals and what rules in shadow would have decided first.
#[derive(Debug, Default)]
pub(crate) struct Sampler {
    second: u64,
    notable: u32,
    others: u32,
    skipped: u64,
}

impl Sampler {
    /// Refusals, shadow verdicts and failures a second.
    const NOTABLE_MAX: u32 = 20;
    /// Other decisions a second.
    const OTHERS_MAX: u32 = 5;

    /// Whether a decision goes on record; if so, how many before it did not.
    pub(crate) fn take(&mut self, now_ns: u64, decision: &Decision<'_>) -> Option<u64> {
        let second = now_ns / 1_000_000_000;
        if second != self.second {
            (self.second, self.notable, self.others) = (second, 0, 0);
        }
        let notable = decision.shadow.is_some()
            || decision.failed.is_some()
            || matches!(decision.action.name(), "deny" | "drop");
        let (used, max) = if notable {
            (&mut self.notable, Self::NOTABLE_MAX)
        } else {
            (&mut self.others, Self::OTHERS_MAX)
        };
        if *used == max {
            self.skipped += 1;
            return None;
        }
        *used += 1;
        Some(std::mem::take(&mut self.skipped))
    }
}
