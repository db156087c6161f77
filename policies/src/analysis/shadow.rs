//! Rules that never decide: what they ask contradicts itself, or earlier rules decide everything they match.

use super::space::{Covered, Part, covered};
use crate::decide::domain::Domain;
use crate::decide::region::Row;
use crate::model::rule::Rule;
use crate::text::diagnostic::{Diagnostic, Findings};

/// Most steps of the search for one rule.
const RULE_STEPS_MAX: u32 = 2_000;
/// Most steps of the search for one chain.
const CHAIN_STEPS_MAX: u32 = 50_000;
/// Most rules that are pointed at as the cause.
const CAUSES_MAX: usize = 4;

/// Says which rules of a chain never decide.
pub(crate) fn check(rules: &[Rule], regions: &[Vec<Row>], domain: &Domain, out: &mut Findings) {
    let whole = Part::whole(domain);
    let mut before: Vec<(usize, &Row)> = Vec::new();
    let mut left = CHAIN_STEPS_MAX;
    for (number, (rule, rows)) in rules.iter().zip(regions).enumerate() {
        match decides(&whole, rows, &before, &mut left) {
            None => {}
            Some(causes) if causes.is_empty() => {
                let what = format!("`{}` can never match: what it asks contradicts itself", rule.id.value);
                let span = rule.matching.span;
                out.push(Diagnostic::error("contradiction", span, what, contradiction(rule)));
            }
            Some(causes) => {
                let names: Vec<String> =
                    causes.iter().take(CAUSES_MAX).map(|c| format!("`{}`", rules[*c].id.value)).collect();
                let more = if causes.len() > CAUSES_MAX { " and others" } else { "" };
                let what = format!(
                    "`{}` never decides: {}{more} above decide everything that it matches",
                    rule.id.value,
                    names.join(", ")
                );
                let fix = "move it up, narrow those above, or remove it";
                let mut finding = Diagnostic::error("dead-rule", rule.id.span, what, fix);
                for cause in causes.iter().take(CAUSES_MAX) {
                    finding = finding.with(rules[*cause].id.span, "decides first");
                }
                out.push(finding);
            }
        }
        // A condition may not hold, and a rule in shadow does not decide.
        if rule.when.is_none() && !rule.shadow {
            before.extend(rows.iter().map(|row| (number, row)));
        }
    }
}

/// Nothing where a rule may decide, else the rules that keep it from it; none where it cannot match at all.
fn decides(whole: &Part, rows: &[Row], before: &[(usize, &Row)], left: &mut u32) -> Option<Vec<usize>> {
    let mut causes = Vec::new();
    for row in rows {
        let part = whole.and(row);
        if part.is_empty() {
            continue;
        }
        let mut steps = RULE_STEPS_MAX.min(*left);
        let given = steps;
        let answer = covered(&part, before, &mut steps);
        *left -= given - steps;
        match answer {
            Covered::By(by) => causes.extend(by),
            Covered::Not(_) | Covered::Unknown => return None,
        }
    }
    causes.sort_unstable();
    causes.dedup();
    Some(causes)
}

fn contradiction(rule: &Rule) -> &'static str {
    let m = &rule.matching;
    if m.asks_content() && !m.messages.is_empty() && !m.messages.iter().any(|k| k.has_content()) {
        "only `query`, `query-hit`, `push`, `download` and `upload` have content: match one of these"
    } else {
        "look for a set under `in` all of which is under `not-in`"
    }
}
