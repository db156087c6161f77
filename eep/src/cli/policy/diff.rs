//! `eep policy diff`

use std::path::PathBuf;

use policies::proof::diff::diff;
use serde_json::{Value, json};

use super::read::policy;
use crate::cli::output::{BOLD, DIM, Outcome, json, line, paint, printable};
use crate::problem::Problem;

/// Find events on which two policies differ: one for each pair of rules that decide differently.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
What is shown is true: both policies have decided the event. Where conditions are involved, something may be missed.

Examples:
  eep policy diff isp-a.yaml isp-a-new.yaml
  eep policy diff old/isp-a.yaml isp-a.yaml --json --exit-code

Exit status: 0 done, 1 refused, or they differ and --exit-code was given, 2 wrong usage.")]
pub(super) struct Args {
    /// One policy.
    #[arg(value_name = "OLD")]
    before: PathBuf,
    /// The other.
    #[arg(value_name = "NEW")]
    after: PathBuf,
    /// End with status 1 where they differ.
    #[arg(long)]
    exit_code: bool,
    /// Answer in JSON.
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let (before, after) = (policy(&args.before)?, policy(&args.after)?);
    let found = diff(&before, &after);
    if args.json {
        let all: Vec<Value> = found
            .iter()
            .map(|w| {
                json!({"chain": w.chain.word(), "event": w.event,
                    "before": {"does": w.before, "rule": w.rule_before},
                    "after": {"does": w.after, "rule": w.rule_after}})
            })
            .collect();
        json(&all);
    } else if found.is_empty() {
        line("no event was found on which they differ");
    } else {
        for w in &found {
            let title = format!("{}: {} -> {}", w.chain.word(), w.before, w.after);
            line(&paint(BOLD, &printable(&title)));
            line(&format!("  rule   {} -> {}", w.rule_before, w.rule_after));
            line(&format!("  event  {}", paint(DIM, &printable(&w.event.to_string()))));
        }
    }
    if args.exit_code && !found.is_empty() {
        return Err(Problem::new("differ", 409, "the policies differ").into());
    }
    Ok(())
}
