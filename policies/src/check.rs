//! A file of the language, whatever it holds: a policy, sets that policies include, or tests.

use crate::decide::policy::Policy;
use crate::grammar::dialect;
use crate::model::document;
use crate::proof::tests;
use crate::text::diagnostic::{Diagnostic, Findings, Report};
use crate::text::files::Files;
use crate::text::node::{Node, parse};
use crate::text::source::{Sources, Span};

/// What a checked file holds.
#[derive(Debug)]
pub enum Holds {
    /// A policy.
    Policy(Box<Policy>),
    /// Sets that policies include: so many.
    Sets(usize),
    /// Tests of a policy.
    Tests {
        /// The policy's path in the folder.
        of: String,
        /// How many.
        count: usize,
    },
}

/// What came of checking a file.
#[derive(Debug)]
pub struct Checked {
    /// What it holds; nothing where it cannot be used.
    pub holds: Option<Holds>,
    /// What is to be said about it.
    pub report: Report,
}

impl Checked {
    fn refused(report: Report) -> Self {
        Self { holds: None, report }
    }
}

/// Whether a text says of itself that it is of this language: it has `policy: eep/…` or `policy-test: eep/…` at its top.
#[must_use]
pub fn is_of_language(text: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim_start_matches(['{', '"', '\u{feff}']);
        let rest = line.strip_prefix("policy-test").or_else(|| line.strip_prefix("policy"));
        rest.and_then(|r| r.trim_start_matches('"').trim_start().strip_prefix(':'))
            .is_some_and(|value| value.trim_start().trim_start_matches(['"', '\'']).starts_with("eep/"))
    })
}

/// Checks a file. A policy is loaded as it would be to decide; tests are checked against their policy, but what they
/// expect is not.
#[must_use]
pub fn check(files: &dyn Files, path: &str) -> Checked {
    // What cannot be read at all is told by whoever reads it next.
    let text = files.read(path).ok();
    let tree = text.and_then(|text| parse(&text, 0).ok());
    let root = tree.as_ref().map(|tree| &tree.root);
    if root.is_some_and(|r| r.get("policy-test").is_some()) {
        return check_tests(files, path);
    }
    if root.is_some_and(is_sets) {
        let mut sources = Sources::default();
        let mut out = Findings::default();
        let count = document::sets(files, path, &mut sources, &mut out);
        let report = Report::new(sources, out);
        return Checked { holds: count.filter(|_| report.is_ok()).map(Holds::Sets), report };
    }
    match Policy::load(files, path, 0) {
        Ok(loaded) => Checked { holds: Some(Holds::Policy(Box::new(loaded.policy))), report: loaded.report },
        Err(report) => Checked::refused(*report),
    }
}

/// Sets alone, as a policy includes them: no name, no rules.
fn is_sets(root: &Node) -> bool {
    let own = |key: &str| matches!(key, "policy" | "about" | "include" | "sets");
    root.get("sets").is_some() && root.entries().iter().all(|(key, _)| own(key.text()))
}

fn check_tests(files: &dyn Files, path: &str) -> Checked {
    let of = match tests::subject(files, path) {
        Ok(of) => of,
        Err(report) => return Checked::refused(*report),
    };
    match Policy::load(files, &of, 0) {
        Ok(loaded) => match tests::run(&loaded.policy, files, path) {
            Ok(tested) => {
                let holds = Some(Holds::Tests { of, count: tested.results.len() });
                Checked { holds, report: Report::default() }
            }
            Err(report) => Checked::refused(*report),
        },
        Err(broken) => {
            let mut sources = Sources::default();
            let mut out = Findings::default();
            let root = document::tree(files, path, Span::default(), &dialect::TESTS, &mut sources, &mut out);
            let place = root.as_ref().and_then(|r| r.get("policy").or(r.get("policy-test")));
            let what = format!("the policy `{of}` cannot be used: {} errors", broken.errors);
            let fix = format!("correct it first: `eep policy check {}`", files.name(&of));
            let span = place.map_or(Span::default(), |p| p.span);
            out.push(Diagnostic::error("broken-policy", span, what, fix));
            Checked::refused(Report::new(sources, out))
        }
    }
}

#[cfg(test)]
mod tests_of_check {
    use std::collections::BTreeMap;

    use super::*;

    fn checked(name: &str, files: &[(&str, &str)]) -> Checked {
        let files: BTreeMap<String, String> =
            files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        check(&files, name)
    }

    const POLICY: (&str, &str) = ("p.yaml", "policy: eep/v1\nname: p\naccess: {default: allow}\n");

    #[test]
    fn each_kind_is_checked_as_what_it_is() {
        assert!(matches!(checked("p.yaml", &[POLICY]).holds, Some(Holds::Policy(p)) if p.name() == "p"));
        let sets = ("s.yaml", "policy: eep/v1\nsets:\n  a: {asn: [1]}\n  b: {asn: [2]}\n");
        assert!(matches!(checked("s.yaml", &[sets]).holds, Some(Holds::Sets(2))));
        let broken = ("s.yaml", "policy: eep/v1\nsets:\n  a: {cidr: [10.0.0.1/8]}\n");
        let told = checked("s.yaml", &[broken]);
        assert!(told.holds.is_none() && told.report.render(false).contains("s.yaml:3:14"));
        let tests = (
            "p.test.yaml",
            "policy-test: eep/v1\ntests:\n  - {name: a, given: {message: ping}, expect: {rule: default}}\n",
        );
        let held = checked("p.test.yaml", &[POLICY, tests]).holds;
        assert!(matches!(held, Some(Holds::Tests { of, count: 1 }) if of == "p.yaml"));
        let told = checked("p.test.yaml", &[tests]).report.render(false);
        assert!(
            told.contains("the policy `p.yaml` cannot be used") && told.contains("p.test.yaml:1"),
            "{told}"
        );
        let unknown = (
            "p.test.yaml",
            "policy-test: eep/v1\ntests:\n  - {name: a, given: {message: ping}, expect: {rule: x}}\n",
        );
        assert_eq!(checked("p.test.yaml", &[POLICY, unknown]).report.findings[0].code, "unknown-rule");
        assert!(checked("none.yaml", &[]).report.render(false).contains("there is no file `none.yaml`"));
    }

    #[test]
    fn files_of_the_language_are_told_from_others() {
        for text in
            ["# c\npolicy: eep/v1\n", "policy-test: \"eep/v1\"", "{\"policy\": \"eep/v1\"}", "policy: eep/v9"]
        {
            assert!(is_of_language(text), "{text}");
        }
        for text in ["policy: policies/isp-a.yaml\n", "  policy: eep/v1\n", "services: []\n", ""] {
            assert!(!is_of_language(text), "{text}");
        }
    }
}
