//! Volumes of budgets that are used: bytes by budget, in windows of the budget's own length. Time comes from outside.

use std::collections::BTreeMap;

use policies::model::traffic::Budget;
use serde::{Deserialize, Serialize};

/// What a service has used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Usage(BTreeMap<String, Used>);

/// What was used of one budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Used {
    /// Whole windows since 1970-01-01T00:00:00Z.
    window: u64,
    bytes: u64,
}

/// The window that a time lies in. Windows are counted from 1970, so that they are the same on all nodes.
fn window(budget: &Budget, now_s: u64) -> u64 {
    now_s / (budget.per_s as u64).max(1)
}

impl Usage {
    /// Budgets that are remembered after their policy has gone. Beyond it, those of other policies are forgotten.
    const BUDGETS_MAX: usize = 256;

    /// Counts bytes.
    pub(crate) fn add(&mut self, budget: &Budget, now_s: u64, bytes: u64) {
        if self.0.len() >= Self::BUDGETS_MAX && !self.0.contains_key(&budget.name.value) {
            self.0.clear();
        }
        let used = self.0.entry(budget.name.value.clone()).or_default();
        let window = window(budget, now_s);
        if used.window != window {
            *used = Used { window, bytes: 0 };
        }
        used.bytes = used.bytes.saturating_add(bytes);
    }

    /// The share of a budget that is used, 1 and more where it is used up.
    pub(crate) fn share(&self, budget: &Budget, now_s: u64) -> f64 {
        let used = self.0.get(&budget.name.value).filter(|used| used.window == window(budget, now_s));
        used.map_or(0, |used| used.bytes) as f64 / budget.volume_bytes.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use policies::Policy;

    #[test]
    fn a_window_begins_anew() {
        let text = "policy: eep/v1\nname: p\nsets:\n  far: {cidr: [192.0.2.0/24]}\ntraffic:\n  classes: {bulk: {dscp: le, \
                    rate: 1mbit, ceil: 2mbit}}\n  budgets: {day: {peers: far, volume: 1000B, per: 1d, then: {class: bulk}}}\n";
        let files = BTreeMap::from([("p.yaml".to_owned(), text.to_owned())]);
        let policy = Policy::load(&files, "p.yaml", 1).unwrap().policy;
        let day = &policy.budgets()[0];
        let mut usage = Usage::default();
        usage.add(day, 86_400, 400);
        usage.add(day, 86_400 + 50_000, 200);
        assert_eq!(usage.share(day, 2 * 86_400 - 1), 0.6);
        assert_eq!(usage.share(day, 2 * 86_400), 0.0);
        usage.add(day, 2 * 86_400, 1_500);
        assert_eq!(usage.share(day, 2 * 86_400), 1.5);
        let json = serde_json::to_string(&usage).unwrap();
        assert_eq!(serde_json::from_str::<Usage>(&json).unwrap(), usage);
    }
}
