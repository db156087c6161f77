//! `eep policy check`

use std::path::{Path, PathBuf};

use policies::check::{Holds, check};
use policies::model::rule::Chain;
use policies::text::diagnostic::Report;
use policies::text::source::Sources;
use serde_json::{Value, json};

use crate::cli::output::{self, DIM, GOOD, Outcome, WARN, line, paint};
use crate::policy::files::Folder;
use crate::policy::unenforced::{Asker, conditions, sentence, unenforced};
use crate::policy::whereabouts::Knows;
use crate::problem::Problem;

/// Check policies, the sets that they include, and their tests.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Every error is shown with its file, line and column, and what to write instead. What passes here is what a node takes.

Examples:
  eep policy check policies/isp-a.yaml
  eep policy check policies/*.yaml --strict
  eep policy check policies/*.yaml --sarif > policies.sarif     for code review tools

Exit status: 0 all can be used, 1 one cannot (with --strict: or has a warning), 2 wrong usage.")]
pub(super) struct Args {
    /// Policies, files of sets, and files of tests.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Refuse what has warnings, too.
    #[arg(long)]
    strict: bool,
    /// Answer in SARIF 2.1.0.
    #[arg(long, conflicts_with = "json")]
    sarif: bool,
    /// Answer in JSON: one entry a file.
    #[arg(long)]
    pub(super) json: bool,
}

/// Files that were checked.
#[derive(Debug, Default)]
pub(in crate::cli) struct Checks {
    /// As JSON, one entry a file.
    pub(in crate::cli) entries: Vec<Value>,
    results: Vec<Value>,
    wrong: usize,
    warned: usize,
}

impl Checks {
    /// Checks one file; `aloud` says what comes of it. Answers whether it can be used.
    pub(in crate::cli) fn file(&mut self, file: &Path, aloud: bool) -> bool {
        let checked = match Folder::of(file) {
            Ok((folder, name)) => check(&folder, &name),
            Err(e) => policies::check::Checked { holds: None, report: unread(file, e.what, e.fix) },
        };
        let report = &checked.report;
        let told = checked.holds.as_ref().map(words);
        let (missing, wanted) = match &checked.holds {
            // A file does not say whose policy it is to be, a service's or the mesh's: it is held for that which carries
            // out more of it. What nodes have differs from node to node.
            Some(Holds::Policy(policy)) => {
                let all = Knows { systems: true, regions: true };
                let of = |asker| unenforced(policy, asker, all);
                let (of_service, of_mesh) = (of(Asker::Proxylet), of(Asker::Mesh));
                match of_service.len() <= of_mesh.len() {
                    true => (of_service, conditions(policy)),
                    false => (of_mesh, Vec::new()),
                }
            }
            _ => (Vec::new(), Vec::new()),
        };
        let mut entry = report.json();
        entry["file"] = json!(file);
        entry["ok"] = checked.holds.is_some().into();
        entry["holds"] = told.as_ref().map_or(Value::Null, |t| t.as_str().into());
        if matches!(checked.holds, Some(Holds::Policy(_))) {
            entry["not_enforced"] = json!(missing);
            entry["wanted"] = json!(wanted);
        }
        self.entries.push(entry);
        self.results.extend(report.sarif_results());
        let good = checked.holds.is_some();
        self.wrong += usize::from(!good);
        self.warned += usize::from(good && !report.findings.is_empty());
        if aloud {
            output::tell(report);
            if let Some(told) = told {
                let (style, word) = if report.findings.is_empty() { (GOOD, "ok") } else { (WARN, "warned") };
                line(&format!("{} {}: {told}", paint(style, word), file.display()));
                let missing = sentence(missing.iter().map(String::as_str));
                for words in missing.iter().map(String::as_str).chain(wanted) {
                    line(&format!("  {}", paint(DIM, words)));
                }
            }
        }
        good
    }

    fn sarif(&self) -> Value {
        let mut codes: Vec<&Value> = self.results.iter().map(|r| &r["ruleId"]).collect();
        codes.sort_by_key(|c| c.as_str());
        codes.dedup();
        let rules: Vec<Value> = codes.iter().map(|code| json!({"id": code})).collect();
        json!({"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [{
            "tool": {"driver": {"name": "eep policy check", "version": env!("CARGO_PKG_VERSION"), "rules": rules}},
            "columnKind": "unicodeCodePoints", "results": self.results}]})
    }
}

pub(super) fn run(args: &Args) -> Outcome {
    let mut checks = Checks::default();
    for file in &args.files {
        checks.file(file, !args.json && !args.sarif);
    }
    if args.json {
        output::json(&checks.entries);
    } else if args.sarif {
        output::json(&checks.sarif());
    }
    let all = args.files.len();
    if checks.wrong > 0 {
        let title = format!("{} of {all} files cannot be used", checks.wrong);
        return Err(Problem::new("bad-file", 400, title).fix("correct them; nothing was changed").into());
    }
    if args.strict && checks.warned > 0 {
        let title = format!("{} of {all} files have warnings", checks.warned);
        return Err(Problem::new("warned", 400, title).fix("correct them, or check without --strict").into());
    }
    Ok(())
}

/// A file that cannot be had at all, in the form of a finding.
fn unread(file: &Path, what: String, fix: String) -> Report {
    let mut sources = Sources::default();
    let number = sources.add(file.display().to_string(), "");
    let span = policies::text::source::Span::new(number, 0, 0);
    let mut findings = policies::text::diagnostic::Findings::default();
    findings.push(policies::text::diagnostic::Diagnostic::error("unreadable", span, what, fix));
    Report::new(sources, findings)
}

/// What a file holds, in words.
fn words(holds: &Holds) -> String {
    let some = |count: usize, one: &str| match count {
        1 => format!("1 {one}"),
        n => format!("{n} {one}s"),
    };
    match holds {
        Holds::Policy(policy) => {
            let rules: usize = Chain::ALL.iter().map(|c| policy.rules(*c).count()).sum();
            let shadow = if policy.is_shadow() { ", in shadow" } else { "" };
            let alarms = some(policy.alarms().len(), "alarm");
            format!("policy {}, {}, {alarms}{shadow}", policy.name(), some(rules, "rule"))
        }
        Holds::Sets(count) => format!("{} for policies", some(*count, "set")),
        Holds::Tests { of, count } => format!("{} of {of}", some(*count, "test")),
    }
}
