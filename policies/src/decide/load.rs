//! From text to a policy.

use super::domain::Domain;
use super::index::Index;
use super::policy::{Compiled, CompiledRule, Policy, facts_of};
use super::region::{Row, rows};
use crate::analysis;
use crate::condition::{Condition, Formula};
use crate::event::Message;
use crate::facts::{FactSet, budget_fact};
use crate::model::action::Action;
use crate::model::alarm::{Alarm, Level};
use crate::model::document::{self, Document, Rules};
use crate::model::rule::{Chain, Fail, Match, Rule};
use crate::text::diagnostic::{Findings, Report};
use crate::text::files::Files;
use crate::text::node::{Node, Style, Value};
use crate::text::source::{Placed, Sources, Span};

/// A policy and what is to be said about it.
#[derive(Debug)]
pub struct Loaded {
    /// The policy.
    pub policy: Policy,
    /// Warnings.
    pub report: Report,
}

impl Policy {
    /// Reads, checks and compiles a policy. This is all that there is: what loads has passed every check.
    ///
    /// # Errors
    /// Where anything is wrong with it, or with a file that it includes or takes sets from: everything that is.
    pub fn load(files: &dyn Files, path: &str, generation: u64) -> Result<Loaded, Box<Report>> {
        let mut sources = Sources::default();
        let mut out = Findings::default();
        let policy = document::read(files, path, &mut sources, &mut out)
            .and_then(|document| compile(document, generation, &sources, &mut out));
        let report = Report::new(sources, out);
        match policy {
            Some(policy) if report.is_ok() => Ok(Loaded { policy, report }),
            _ => Err(Box::new(report)),
        }
    }
}

fn compile(mut document: Document, generation: u64, sources: &Sources, out: &mut Findings) -> Option<Policy> {
    let budget_names: Vec<String> = document.budgets.iter().map(|b| b.name.value.clone()).collect();
    let budget_rules = document.budgets.iter().map(budget_rule).collect::<Vec<_>>();
    document.chains[Chain::Traffic as usize].rules.splice(0..0, budget_rules);
    let conditions: Vec<Vec<Option<Condition>>> =
        document.chains.iter().map(|c| conditions(c, sources, &budget_names, out)).collect();
    let link_cost = document
        .link_cost
        .as_ref()
        .and_then(|node| Formula::new(node, sources, &budget_names).map_err(|e| out.push(*e)).ok());
    let alarms: Vec<Alarm> =
        document.alarms.iter().filter_map(|node| alarm(node, sources, &budget_names, out)).collect();
    if out.errors() > 0 {
        return None;
    }
    let domain = Domain::new(&mut document);
    let regions: Vec<Vec<Vec<Row>>> = document
        .chains
        .iter()
        .map(|chain| chain.rules.iter().map(|rule| rows(&rule.matching, &domain)).collect())
        .collect();
    for (chain, regions) in document.chains.iter().zip(&regions) {
        analysis::shadow::check(&chain.rules, regions, &domain, out);
    }
    if out.errors() > 0 {
        return None;
    }
    let mut compiled = Chain::ALL.iter().zip(conditions).zip(document.chains).zip(&regions).map(
        |(((chain, conditions), rules), regions)| {
            chain_of(*chain, rules, conditions, regions, &domain, sources)
        },
    );
    let mut chains = [compiled.next()?, compiled.next()?, compiled.next()?, compiled.next()?];
    drop(compiled);
    let mut outcomes = 0;
    for chain in &mut chains {
        chain.first_outcome = outcomes;
        outcomes += 2 * chain.rules.len() as u32 + 1;
    }
    Some(Policy {
        generation,
        name: document.name,
        shadow: document.shadow,
        chains,
        degree: document.degree,
        path_length_max: document.path_length_max.map(|p| p.value),
        link_cost,
        classes: document.classes,
        budgets: document.budgets,
        budget_names,
        alarms,
        files: document.files,
        domain,
    })
}

fn chain_of(
    chain: Chain,
    rules: Rules,
    conditions: Vec<Option<Condition>>,
    regions: &[Vec<Row>],
    domain: &Domain,
    sources: &Sources,
) -> Compiled {
    let mut reads = FactSet::default();
    let mut needs = [FactSet::default(); Message::ALL.len()];
    let list = rules.rules.into_iter().zip(conditions).zip(regions);
    let compiled = list.map(|((rule, when), rows)| {
        let dimensions = rows.iter().fold(0, |all, row| all | row.dimensions());
        reads = reads.and(facts_of(dimensions));
        let conditions = when.as_ref().map(Condition::facts).unwrap_or_default();
        for message in Message::ALL {
            if rule.matching.messages.is_empty() || rule.matching.messages.contains(&message) {
                let need = &mut needs[message as usize];
                *need = need.and(facts_of(dimensions)).and(conditions);
            }
        }
        CompiledRule {
            place: sources.place(rule.id.span),
            id: rule.id.value,
            shadow: rule.shadow,
            when,
            fail: rule.fail,
            then: rule.then,
            matching: rule.matching,
            reads,
        }
    });
    let reason = "condition-failed".to_owned();
    let compiled: Vec<CompiledRule> = compiled.collect();
    Compiled {
        rules: compiled,
        default: rules.default,
        refusal: match chain {
            Chain::Access => Action::Deny { reason },
            Chain::Routing => Action::Drop { reason },
            Chain::Cache => Action::Pass,
            Chain::Traffic => Action::Unclassed,
        },
        index: Index::new(regions, domain),
        reads,
        needs,
        first_outcome: 0,
        written: rules.written,
    }
}

fn conditions(
    chain: &Rules,
    sources: &Sources,
    budgets: &[String],
    out: &mut Findings,
) -> Vec<Option<Condition>> {
    let compile = |rule: &Rule| {
        let when = rule.when.as_ref()?;
        Condition::new(when, sources, budgets).map_err(|e| out.push(*e)).ok()
    };
    chain.rules.iter().map(compile).collect()
}

/// A budget as the rule that it is: while it is used up, its action holds for its peers.
fn budget_rule(budget: &crate::model::traffic::Budget) -> Rule {
    let span = budget.name.span;
    let when = format!("{} >= 1.0", budget_fact(&budget.name.value));
    Rule {
        id: Placed { value: format!("budget:{}", budget.name.value), span },
        shadow: false,
        matching: Match { span, peer_in: vec![budget.peers.clone()], ..Match::default() },
        when: Some(Node { span, value: Value::Scalar(when, Style::Quoted) }),
        fail: Fail::Open,
        then: budget.then.clone(),
        then_span: budget.then_span,
    }
}

fn alarm(node: &Node, sources: &Sources, budgets: &[String], out: &mut Findings) -> Option<Alarm> {
    let text = |key: &str| node.get(key).map_or("", Node::text);
    let when = Condition::new(node.get("when")?, sources, budgets).map_err(|e| out.push(*e)).ok()?;
    if let Some(fact) = when.facts().iter().find(|f| is_of_events(*f)) {
        let what = format!(
            "`{}` is a fact of single events; alarms look at the node as a whole",
            fact.name(budgets)
        );
        let fix = "use facts of `node`, `now` and `budget`";
        let span = node.get("when").map_or(Span::default(), |w| w.span);
        out.push(crate::text::diagnostic::Diagnostic::error("condition", span, what, fix));
    }
    Some(Alarm {
        id: text("id").to_owned(),
        when,
        for_s: crate::grammar::lexical::duration_s(text("for")).unwrap_or(0.0),
        level: match text("severity") {
            "critical" => Level::Critical,
            "warning" => Level::Warning,
            _ => Level::Info,
        },
        about: text("about").to_owned(),
    })
}

fn is_of_events(fact: crate::facts::Fact) -> bool {
    let name = fact.name(&[]);
    ["message.", "peer.", "content.", "link."].iter().any(|p| name.starts_with(p))
}
