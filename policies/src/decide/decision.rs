//! What is decided, and by what.

use serde_json::{Value, json};

use crate::condition::Failure;
use crate::facts::FactSet;
use crate::model::action::Action;
use crate::model::rule::Chain;

/// A decision. It borrows its names from the policy and costs no allocation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision<'p> {
    /// The generation of the policy.
    pub generation: u64,
    /// The chain that was asked.
    pub chain: Chain,
    /// The id of the rule that decided; none where no rule did, and the default applies.
    pub rule: Option<&'p str>,
    /// What is decided.
    pub action: &'p Action,
    /// The number of this in [`Policy::outcomes`](super::policy::Policy::outcomes).
    pub outcome: u32,
    /// Whether it is to be done; not so while the whole policy is in shadow.
    pub enforced: bool,
    /// The first rule in shadow that would have decided before.
    pub shadow: Option<Shadow<'p>>,
    /// The facts that were read.
    pub facts: FactSet,
    /// The first condition that could not be evaluated.
    pub failed: Option<Failed<'p>>,
}

/// What a rule in shadow would have decided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shadow<'p> {
    /// Its id.
    pub rule: &'p str,
    /// What it would have done.
    pub action: &'p Action,
    /// The number of this in [`Policy::outcomes`](super::policy::Policy::outcomes).
    pub outcome: u32,
}

/// A condition that could not be evaluated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Failed<'p> {
    /// The id of its rule.
    pub rule: &'p str,
    /// Why.
    pub why: Failure,
}

impl Decision<'_> {
    /// The rule's id, or `default`.
    #[must_use]
    pub fn rule_or_default(&self) -> &str {
        self.rule.unwrap_or("default")
    }

    /// As JSON, for logs; the budgets' names are the policy's.
    #[must_use]
    pub fn json(&self, budgets: &[String]) -> Value {
        let facts: Vec<String> = self.facts.iter().map(|f| f.name(budgets)).collect();
        let mut out = json!({"generation": self.generation, "chain": self.chain.word(),
            "rule": self.rule_or_default(), "action": self.action.json(), "enforced": self.enforced, "facts": facts});
        if let Some(shadow) = self.shadow {
            out["shadow"] = json!({"rule": shadow.rule, "action": shadow.action.json()});
        }
        if let Some(failed) = self.failed {
            out["failed"] = json!({"rule": failed.rule, "why": failed.why.words(budgets)});
        }
        out
    }
}
