//! `eep check`

use std::path::PathBuf;

use serde_json::json;

use crate::cli::output::{Failure, GOOD, Outcome, json, line, paint};
use crate::config::node_file::{Kind, check_file};
use crate::problem::Problem;

/// Check node files and service manifests, without a node.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  eep check eep.yaml\n  eep check manifests/*.yaml --json")]
pub(super) struct Args {
    /// Node files (eep.yaml) and service manifests.
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
        match check_file(file) {
            Ok(kind) => {
                let what = match kind {
                    Kind::Node { services } => format!("node file, services: {services}"),
                    Kind::Manifest => "service manifest".to_owned(),
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
