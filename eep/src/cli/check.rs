//! `eep check`

use std::path::{Path, PathBuf};

use policies::text::files::Files as _;
use serde_json::json;

use crate::cli::output::{Failure, GOOD, Outcome, json, line, paint};
use crate::cli::policy::Checks;
use crate::config::node_file::{Kind, check_file};
use crate::problem::Problem;

/// Check node files, service manifests and policies, without a node.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  eep check eep.yaml policies/isp-a.yaml\n  eep check manifests/*.yaml --json"
)]
pub(super) struct Args {
    /// Node files (eep.yaml), service manifests, policies, and tests of policies.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Answer in JSON: one entry a file.
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let mut wrong = 0;
    let mut report = Vec::new();
    for file in &args.files {
        let shown = file.display();
        if is_policy(file) {
            let mut checks = Checks::default();
            wrong += usize::from(!checks.file(file, !args.json));
            report.append(&mut checks.entries);
            continue;
        }
        match check_file(file) {
            Ok(kind) => {
                let what = match kind {
                    Kind::Node { services } => format!("node file, services: {services}"),
                    Kind::Manifest => "service manifest".to_owned(),
                    Kind::Web { services } => format!("web, services: {services}"),
                };
                report.push(json!({"file": file, "ok": true}));
                if !args.json {
                    line(&format!("{} {shown}: {what}", paint(GOOD, "ok")));
                }
            }
            Err(error) => {
                wrong += 1;
                let (line, column) = error.at.unzip();
                report.push(json!({"file": file, "ok": false, "line": line, "column": column,
                    "message": error.message, "fix": error.fix}));
                if !args.json {
                    Failure::from(error).tell(false);
                }
            }
        }
    }
    if args.json {
        json(&report);
    }
    if wrong == 0 {
        return Ok(());
    }
    let title = format!("{wrong} of {} files cannot be used", args.files.len());
    Err(Problem::new("bad-file", 400, title).fix("correct them; nothing was changed").into())
}

/// Whether a file says of itself that it is of the policy language.
fn is_policy(file: &Path) -> bool {
    let read = crate::policy::files::Folder::of(file).and_then(|(folder, name)| folder.read(&name));
    read.is_ok_and(|text| policies::check::is_of_language(&text))
}
