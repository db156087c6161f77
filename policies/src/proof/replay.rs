//! Recorded events under two policies.
//!
//! A recording is a text with one event a line, as JSON:
//! `{"id": "…", "chain": "access", "event": {"message": "query", "peer": {"address": "192.0.2.1"}}}`.

use std::collections::BTreeMap;

use super::given::Given;
use crate::decide::decision::Decision;
use crate::decide::policy::Policy;
use crate::event::Event;
use crate::facts::Facts;
use crate::grammar::{dialect, validate::validate};
use crate::model::rule::Chain;
use crate::text::diagnostic::{Findings, Report};
use crate::text::node::{Node, parse};
use crate::text::source::Sources;

/// Most decisions of one group that are kept with their explanation.
const KEPT_MAX: usize = 20;

/// One line of a recording.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The decision's id; empty where it has none.
    pub id: String,
    /// The chain that was asked.
    pub chain: Chain,
    /// The event and the facts.
    pub given: Given,
}

/// The line of a recording that keeps a decision's event.
#[must_use]
pub fn record(id: &str, chain: Chain, event: &Event<'_>, facts: &Facts, budgets: &[String]) -> String {
    let event = Given::json(event, facts, budgets);
    serde_json::json!({"id": id, "chain": chain.word(), "event": event}).to_string()
}

impl Recorded {
    /// Reads one line of a recording; `name` and `number` are for messages.
    ///
    /// # Errors
    /// Where the line is not as it should be.
    pub fn read(name: &str, number: usize, line: &str, budgets: &[String]) -> Result<Self, Box<Report>> {
        let mut sources = Sources::default();
        let mut out = Findings::default();
        let file = sources.add_line(name, line, number);
        let recorded = match parse(line, file) {
            Ok(tree) => {
                validate(&tree.root, &dialect::RECORDED, &mut out);
                tree.root.get("event").map(|event| Self {
                    id: tree.root.get("id").map_or("", Node::text).to_owned(),
                    chain: tree.root.get("chain").and_then(|c| Chain::of(c.text())).unwrap_or(Chain::Access),
                    given: Given::read(event, budgets, &mut out),
                })
            }
            Err(finding) => {
                out.push(*finding);
                None
            }
        };
        let report = Report::new(sources, out);
        match recorded {
            Some(recorded) if report.is_ok() => Ok(recorded),
            _ => Err(Box::new(report)),
        }
    }
}

/// What changes from one policy to another over a recording.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Events that were replayed.
    pub events: u64,
    /// Events that are decided differently.
    pub changed: u64,
    /// By chain and change (`access: deny -> allow`).
    pub groups: BTreeMap<String, Group>,
}

/// Decisions that change in the same way.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// How many.
    pub count: u64,
    /// The first of them.
    pub kept: Vec<Change>,
}

/// One decision that changes.
#[derive(Clone, Debug)]
pub struct Change {
    /// The decision's id.
    pub id: String,
    /// How the first policy comes to its decision.
    pub before: String,
    /// How the second does.
    pub after: String,
}

impl Changes {
    /// Decides one event by both policies.
    pub fn replay(&mut self, before: &Policy, after: &Policy, recorded: &Recorded) {
        let event = recorded.given.event();
        let facts = recorded.given.facts();
        let (old, new) =
            (before.decide(recorded.chain, &event, facts), after.decide(recorded.chain, &event, facts));
        self.events += 1;
        let (Some(from), Some(to)) = differ(&old, &new) else { return };
        self.changed += 1;
        let group = self.groups.entry(format!("{}: {from} -> {to}", recorded.chain.word())).or_default();
        group.count += 1;
        if group.kept.len() < KEPT_MAX {
            let explain = |policy: &Policy| policy.explain(recorded.chain, &event, facts).to_string();
            group.kept.push(Change {
                id: recorded.id.clone(),
                before: explain(before),
                after: explain(after),
            });
        }
    }
}

/// What two decisions do, where it is not the same. A policy in shadow does nothing.
pub(crate) fn differ(a: &Decision<'_>, b: &Decision<'_>) -> (Option<String>, Option<String>) {
    if a.action == b.action && a.enforced == b.enforced {
        return (None, None);
    }
    let words = |d: &Decision<'_>| {
        let shadow = if d.enforced { "" } else { " (shadow)" };
        if a.action.name() == b.action.name() {
            format!("{}{shadow}", d.action)
        } else {
            format!("{}{shadow}", d.action.name())
        }
    };
    (Some(words(a)), Some(words(b)))
}
