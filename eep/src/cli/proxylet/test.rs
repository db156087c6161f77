//! `eep proxylet test`

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::output::{BAD, DIM, GOOD, Outcome, json, line, paint, printable};
use crate::node::refusals;
use crate::problem::Problem;
use crate::proxylet::build::build;
use crate::proxylet::harness::scenario::Scenario;
use crate::proxylet::harness::{Harness, Report};

/// The most scenarios of a project.
const SCENARIOS_MAX: usize = 1_000;

/// Build a project's proxylet and play its scenarios against it: tests/*.yaml.
///
/// There is no network and no node: peers say what the scenario tells them, the clock goes where it is put, and
/// randomness is the same in each run. Without scenarios it is tried whether the proxylet starts, saves its state, takes
/// it up again and stops.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  eep proxylet test
  eep proxylet test proxylets/examples/directed-search
  eep proxylet test hello --wasm hello/target/proxylets/hello.wasm

A scenario:
  name: each line is answered
  steps:
    - connect: client
    - send: [client, \"hello\\n\"]
    - hear-next: [client, \"HELLO\\n\"]")]
pub(super) struct Args {
    /// The project's folder.
    #[arg(value_name = "DIR", default_value = ".")]
    project: PathBuf,
    /// Test this component, and build none.
    #[arg(long, value_name = "FILE")]
    wasm: Option<PathBuf>,
    /// Show what the proxylet logs where a scenario passes too.
    #[arg(long)]
    log: bool,
    /// Answer in JSON.
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let wasm = match &args.wasm {
        Some(file) => file.clone(),
        None => {
            let built = build(&args.project, None);
            built.map_err(|e| Problem::new("build-failed", 422, e.to_string()))?.path
        }
    };
    let scenarios = scenarios(&args.project)?;
    let bytes = std::fs::read(&wasm).map_err(|e| {
        Problem::new("unreadable-file", 422, e.to_string())
            .at(wasm.display().to_string())
            .fix("name a component with --wasm, or leave it out to build one")
    })?;
    let source = crate::config::Source::File(wasm.clone());
    let harness = Harness::of(&bytes).map_err(|e| refusals::load(&source, &e))?;
    let mut reports = Vec::new();
    let mut play = |report: Report| {
        if !args.json {
            show(&report, args.log);
        }
        reports.push(report);
    };
    if !args.json {
        line(&format!("{}  {} bytes  sha256 {}", wasm.display(), bytes.len(), harness.digest()));
    }
    if scenarios.is_empty() {
        play(harness.lifecycle());
    }
    scenarios.iter().for_each(|scenario| play(harness.play(scenario)));
    let failed = reports.iter().filter(|report| report.failure.is_some()).count();
    if args.json {
        json(&json!({"wasm": wasm, "sha256": harness.digest(), "failed": failed, "scenarios": reports}));
    } else {
        line(&format!("{} passed, {failed} failed", reports.len() - failed));
    }
    if failed == 0 {
        return Ok(());
    }
    let title = format!("{failed} of {} scenarios failed", reports.len());
    let place = reports.iter().find(|r| r.failure.is_some()).map_or_else(String::new, |r| r.place.clone());
    Err(Problem::new("test-failed", 422, title).at(place).fix("see what was heard above").into())
}

/// The scenarios of a project, by name of their files.
fn scenarios(project: &Path) -> Result<Vec<Scenario>, crate::cli::output::Failure> {
    // Without a `./` in front of what is shown.
    let folder = project.strip_prefix(".").unwrap_or(project).join("tests");
    let Ok(entries) = std::fs::read_dir(&folder) else { return Ok(Vec::new()) };
    let is_scenario = |path: &PathBuf| path.extension().is_some_and(|e| e == "yaml" || e == "yml");
    let mut files: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_scenario).collect();
    files.sort();
    if files.len() > SCENARIOS_MAX {
        return Err(Problem::new("too-many", 422, format!("more than {SCENARIOS_MAX} scenarios"))
            .at(folder.display().to_string())
            .fix("test with several projects")
            .into());
    }
    files.iter().map(|file| Ok(Scenario::read(file)?)).collect()
}

fn show(report: &Report, with_log: bool) {
    let (mark, style) = if report.failure.is_some() { ("FAILED", BAD) } else { ("ok", GOOD) };
    let (name, gap) = (printable(&report.name), " ".repeat(8 - mark.len()));
    let place = match report.place.as_str() {
        "" => String::new(),
        place => format!("  {}", paint(DIM, place)),
    };
    line(&format!("{}{gap}{name}{place}", paint(style, mark)));
    let under = |text: &str| {
        for row in text.lines() {
            line(&format!("        {}", printable(row)));
        }
    };
    if let Some(failure) = &report.failure {
        under(failure);
    }
    if with_log || report.failure.is_some() {
        report.log.iter().for_each(|entry| under(&format!("log: {entry}")));
    }
}
