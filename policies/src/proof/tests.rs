//! Files of tests, and how much of the policy they reach.

use std::collections::BTreeSet;

use serde_json::Value;

use super::given::Given;
use crate::decide::policy::Policy;
use crate::grammar::dialect;
use crate::model::action::Action;
use crate::model::document::tree;
use crate::model::rule::Chain;
use crate::text::diagnostic::{Diagnostic, Findings, Report};
use crate::text::files::{Files, inside};
use crate::text::node::{Node, Style, Value as Yaml};
use crate::text::source::{Sources, Span};

/// What came of a file of tests.
#[derive(Clone, Debug, Default)]
pub struct Tested {
    /// Each test in its order.
    pub results: Vec<TestResult>,
    /// Rules and defaults that decided in some test, as `CHAIN/RULE`.
    pub reached: BTreeSet<String>,
    /// Rules and defaults that decided in none.
    pub missed: BTreeSet<String>,
}

/// What came of one test.
#[derive(Clone, Debug)]
pub struct TestResult {
    /// Its name.
    pub name: String,
    /// `FILE:LINE:COLUMN`.
    pub place: String,
    /// What is not as expected; empty where all is.
    pub wrong: Vec<String>,
    /// How the decision came about.
    pub explanation: String,
}

impl Tested {
    /// How many tests failed.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.results.iter().filter(|r| !r.wrong.is_empty()).count()
    }
}

/// The policy that a file of tests is about: what it names, else the file with the same name beside it.
///
/// # Errors
/// Where the file cannot be read, or is no file of tests.
pub fn subject(files: &dyn Files, path: &str) -> Result<String, Box<Report>> {
    let mut sources = Sources::default();
    let mut out = Findings::default();
    let root = tree(files, path, Span::default(), &dialect::TESTS, &mut sources, &mut out);
    let Some(root) = root else { return Err(Box::new(Report::new(sources, out))) };
    let beside = || path.strip_suffix(".test.yaml").unwrap_or(path).to_owned() + ".yaml";
    Ok(match root.get("policy") {
        Some(node) => {
            let folder = path.rsplit_once('/').map_or(String::new(), |(f, _)| format!("{f}/"));
            inside(&format!("{folder}{}", node.text())).unwrap_or_else(|_| beside())
        }
        None => beside(),
    })
}

/// Runs a file of tests against a policy.
///
/// # Errors
/// Where the file is not as it should be: everything that is wrong with it.
pub fn run(policy: &Policy, files: &dyn Files, path: &str) -> Result<Tested, Box<Report>> {
    let mut sources = Sources::default();
    let mut out = Findings::default();
    let Some(root) = tree(files, path, Span::default(), &dialect::TESTS, &mut sources, &mut out) else {
        return Err(Box::new(Report::new(sources, out)));
    };
    let mut tested = Tested::default();
    for chain in Chain::ALL.into_iter().filter(|c| policy.speaks_of(*c)) {
        tested.missed.extend(policy.rules(chain).map(|rule| format!("{}/{rule}", chain.word())));
        tested.missed.insert(format!("{}/default", chain.word()));
    }
    for node in root.get("tests").map(Node::items).unwrap_or_default() {
        test(policy, node, &sources, &mut tested, &mut out);
    }
    let report = Report::new(sources, out);
    if report.is_ok() { Ok(tested) } else { Err(Box::new(report)) }
}

fn test(policy: &Policy, node: &Node, sources: &Sources, tested: &mut Tested, out: &mut Findings) {
    let (Some(given), Some(expect)) = (node.get("given"), node.get("expect")) else { return };
    let event = Given::read(given, policy.budget_names(), out);
    let chain = expect.get("chain").and_then(|c| Chain::of(c.text())).unwrap_or(Chain::Access);
    let name = node.get("name").unwrap_or(node);
    let explanation = policy.explain(chain, &event.event(), event.facts());
    let decision = explanation.decision;
    let mut wrong = Vec::new();
    if let Some(rule) = expect.get("rule") {
        let known = rule.text() == "default" || policy.rules(chain).any(|r| r == rule.text());
        if !known {
            let what = format!("the chain `{}` has no rule `{}`", chain.word(), rule.text());
            let all = policy.rules(chain).chain(["default"]);
            let fix = crate::text::nearest::choose(rule.text(), all);
            out.push(Diagnostic::error("unknown-rule", rule.span, what, fix));
        }
        if rule.text() != decision.rule_or_default() {
            wrong.push(format!("expected rule {}, got {}", rule.text(), decision.rule_or_default()));
        }
    }
    if let Some(action) = expect.get("action")
        && !is_action(action, decision.action)
    {
        wrong.push(format!("expected action {}, got {}", plain(action), decision.action.json()));
    }
    let shadow = decision.shadow.map(|s| s.rule);
    if let Some(expected) = expect.get("shadow")
        && Some(expected.text()) != shadow
    {
        let got = shadow.unwrap_or("none");
        wrong.push(format!("expected rule {} in shadow, got {got}", expected.text()));
    }
    for rule in [Some(decision.rule_or_default()), shadow].into_iter().flatten() {
        let key = format!("{}/{rule}", chain.word());
        tested.missed.remove(&key);
        tested.reached.insert(key);
    }
    tested.results.push(TestResult {
        name: name.text().to_owned(),
        place: sources.place(name.span),
        wrong,
        explanation: explanation.to_string(),
    });
}

/// Whether an action is the one that is written: its name, or all of it as a rule would write it.
fn is_action(written: &Node, action: &Action) -> bool {
    match &written.value {
        Yaml::Map(_) => Action::read(written, "") == *action,
        _ => written.text() == action.name(),
    }
}

/// A tree as JSON, for messages.
pub(crate) fn plain(node: &Node) -> Value {
    match &node.value {
        Yaml::Scalar(text, Style::Plain) => {
            serde_json::from_str(text).unwrap_or_else(|_| text.as_str().into())
        }
        Yaml::Scalar(text, Style::Quoted) => text.as_str().into(),
        Yaml::List(items) => items.iter().map(plain).collect(),
        Yaml::Map(entries) => entries.iter().map(|(k, v)| (k.text().to_owned(), plain(v))).collect(),
    }
}
