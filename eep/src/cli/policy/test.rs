//! `eep policy test`

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use policies::Policy;
use policies::proof::tests::{Tested, run as run_tests, subject};
use serde_json::{Value, json};

use super::read::unreadable;
use crate::cli::output::{BAD, BOLD, DIM, Failure, GOOD, Outcome, WARN, json, line, paint};
use crate::policy::files::Folder;
use crate::problem::Problem;

/// How the name of a file of tests ends.
const TESTS: &str = ".test.yaml";

/// Run the tests of policies: what is expected of an event, against what is decided.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
A file of tests lies beside its policy: isp-a.test.yaml beside isp-a.yaml. A test that fails is shown with its explanation.

Examples:
  eep policy test                                  every *.test.yaml here
  eep policy test policies/isp-a.yaml --coverage   which rules no test reaches
  eep policy test policies --coverage-min 100      refuse to leave a rule untested

Exit status: 0 all pass, 1 one does not, or too few rules are reached, 2 wrong usage.")]
pub(super) struct Args {
    /// Files of tests, policies whose tests lie beside them, or folders of them.
    #[arg(value_name = "FILE", default_value = ".")]
    files: Vec<PathBuf>,
    /// Show how many rules and defaults some test reaches, and which none does.
    #[arg(long)]
    coverage: bool,
    /// Refuse where tests reach a smaller share of the rules and defaults of a policy.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    coverage_min: Option<u8>,
    /// Answer in JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Which rules and defaults of a policy the tests of all its files reach.
#[derive(Default)]
struct Coverage {
    reached: BTreeSet<String>,
    missed: BTreeSet<String>,
}

impl Coverage {
    fn add(&mut self, tested: &Tested) {
        self.reached.extend(tested.reached.iter().cloned());
        self.missed.extend(tested.missed.iter().cloned());
        self.missed.retain(|rule| !self.reached.contains(rule));
    }

    fn all(&self) -> usize {
        self.reached.len() + self.missed.len()
    }

    /// The share that is reached, in whole percent.
    fn percent(&self) -> usize {
        (self.reached.len() * 100).checked_div(self.all()).unwrap_or(100)
    }
}

pub(super) fn run(args: &Args) -> Outcome {
    let mut coverage: BTreeMap<PathBuf, Coverage> = BTreeMap::new();
    let (mut passed, mut failed) = (0, 0);
    let mut report = Vec::new();
    for file in found(&args.files)? {
        let (of, tested) = test(&file)?;
        failed += tested.failed();
        passed += tested.results.len() - tested.failed();
        coverage.entry(of.clone()).or_default().add(&tested);
        if args.json {
            report.push(entry(&file, &of, &tested));
        } else {
            show(&file, &tested);
        }
    }
    let short: Vec<&Path> = coverage
        .iter()
        .filter(|(_, c)| args.coverage_min.is_some_and(|min| c.percent() < usize::from(min)))
        .map(|(policy, _)| policy.as_path())
        .collect();
    if args.json {
        let covered: Vec<Value> = coverage
            .iter()
            .map(|(policy, c)| {
                json!({"policy": policy, "percent": c.percent(), "reached": c.reached, "missed": c.missed})
            })
            .collect();
        json(&json!({"passed": passed, "failed": failed, "files": report, "coverage": covered}));
    } else {
        for (policy, c) in &coverage {
            if args.coverage || short.contains(&policy.as_path()) {
                show_coverage(policy, c);
            }
        }
        let failed = format!("{failed} failed");
        let failed = if failed.starts_with("0 ") { failed } else { paint(BAD, &failed) };
        line(&format!("{}, {failed}", paint(GOOD, &format!("{passed} passed"))));
    }
    if failed > 0 {
        let title = format!("{failed} of {} tests failed", passed + failed);
        return Err(Problem::new("tests-failed", 422, title).into());
    }
    if let (Some(policy), Some(min)) = (short.first(), args.coverage_min) {
        let title = format!("tests reach fewer than {min} % of the rules of {}", policy.display());
        return Err(Problem::new("coverage", 422, title)
            .fix("add a test for each rule that is listed")
            .into());
    }
    Ok(())
}

/// The files of tests that are meant.
fn found(given: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut out = Vec::new();
    for path in given {
        let name = path.to_string_lossy();
        if path.is_dir() {
            let shown = path.display();
            let wrong = |e: std::io::Error| Problem::new("bad-file", 400, format!("{shown}: {e}"));
            let mut here = Vec::new();
            for file in std::fs::read_dir(path).map_err(wrong)? {
                let name = file.map_err(wrong)?.file_name();
                if name.to_string_lossy().ends_with(TESTS) {
                    here.push(if path == Path::new(".") { name.into() } else { path.join(name) });
                }
            }
            if here.is_empty() {
                let title = format!("there are no tests in {shown}: no file ends with {TESTS}");
                let fix = format!("give the path of a file of tests, or write NAME{TESTS} beside NAME.yaml");
                return Err(Problem::new("no-tests", 400, title).fix(fix).into());
            }
            here.sort();
            out.extend(here);
        } else if name.ends_with(TESTS) {
            out.push(path.clone());
        } else {
            let beside = format!("{}{TESTS}", name.trim_end_matches(".yaml").trim_end_matches(".yml"));
            if path.exists() && !Path::new(&beside).exists() {
                let title = format!("{name} has no tests: there is no {beside}");
                return Err(Problem::new("no-tests", 400, title).fix("write one").into());
            }
            out.push(beside.into());
        }
    }
    Ok(out)
}

/// Runs one file; the policy that it is about and what came of it.
fn test(file: &Path) -> Result<(PathBuf, Tested), Failure> {
    let (folder, name) = Folder::of(file).map_err(unreadable)?;
    let found = |report| Failure::found(file, report);
    let of = subject(&folder, &name).map_err(found)?;
    let path = folder.path().join(&of);
    let loaded = Policy::load(&folder, &of, 0).map_err(|report| Failure::found(&path, report))?;
    Ok((path, run_tests(&loaded.policy, &folder, &name).map_err(found)?))
}

fn entry(file: &Path, of: &Path, tested: &Tested) -> Value {
    let results: Vec<Value> = tested
        .results
        .iter()
        .map(|r| {
            json!({"name": r.name, "place": r.place, "ok": r.wrong.is_empty(), "wrong": r.wrong,
                "explanation": r.explanation})
        })
        .collect();
    json!({"file": file, "policy": of, "tests": results})
}

fn show(file: &Path, tested: &Tested) {
    line(&paint(BOLD, &file.display().to_string()));
    for result in &tested.results {
        if result.wrong.is_empty() {
            line(&format!("  {}    {}", paint(GOOD, "ok"), result.name));
            continue;
        }
        line(&format!("  {}  {} {}", paint(BAD, "FAIL"), result.name, paint(DIM, &result.place)));
        for wrong in &result.wrong {
            line(&format!("        {wrong}"));
        }
        for told in result.explanation.lines() {
            line(&format!("        {}", paint(DIM, told)));
        }
    }
}

fn show_coverage(policy: &Path, coverage: &Coverage) {
    let (reached, all) = (coverage.reached.len(), coverage.all());
    let words = format!("{reached} of {all} rules and defaults ({} %)", coverage.percent());
    let style = if coverage.missed.is_empty() { GOOD } else { WARN };
    line(&format!("tests of {} reach {}", policy.display(), paint(style, &words)));
    for rule in &coverage.missed {
        line(&format!("  never  {rule}"));
    }
}
