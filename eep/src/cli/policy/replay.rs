//! `eep policy replay`

use std::path::PathBuf;

use policies::proof::replay::{Changes, Recorded};
use serde_json::{Value, json};

use super::read::{Recording, policy};
use crate::cli::output::{BOLD, DIM, Outcome, json, line, paint, printable, tell};
use crate::problem::Problem;

/// Most broken lines of a recording that are told.
const TOLD_MAX: u64 = 10;

/// Decide recorded traffic by two policies, and show what changes from one to the other.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
A recording has one event a line, as JSON, in the form of tests: {\"id\": \"17\", \"chain\": \"access\", \"event\": {…}}.

Examples:
  eep policy replay isp-a.yaml isp-a-new.yaml decisions.jsonl
  eep policy replay isp-a.yaml isp-a-new.yaml decisions.jsonl --show 1 --exit-code
  zcat decisions.jsonl.gz | eep policy replay isp-a.yaml isp-a-new.yaml -

Exit status: 0 done, 1 refused, or something changes and --exit-code was given, 2 wrong usage.")]
pub(super) struct Args {
    /// The policy in force.
    #[arg(value_name = "OLD")]
    before: PathBuf,
    /// The policy that would follow.
    #[arg(value_name = "NEW")]
    after: PathBuf,
    /// The recording; `-` reads it from stdin.
    #[arg(value_name = "RECORDING")]
    recording: PathBuf,
    /// How many decisions of each kind of change are shown with both explanations, at most 20.
    #[arg(long, value_name = "N", default_value_t = 3)]
    show: usize,
    /// End with status 1 where a decision changes.
    #[arg(long)]
    exit_code: bool,
    /// Answer in JSON.
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let (before, after) = (policy(&args.before)?, policy(&args.after)?);
    let name = args.recording.display().to_string();
    let mut recording = Recording::open(&args.recording)?;
    let (mut changes, mut broken) = (Changes::default(), 0);
    while let Some((number, text)) = recording.next()? {
        match Recorded::read(&name, number, text, after.budget_names()) {
            Ok(recorded) => changes.replay(&before, &after, &recorded),
            Err(report) => {
                broken += 1;
                if broken <= TOLD_MAX {
                    tell(&report);
                }
            }
        }
    }
    if args.json {
        let mut told = told(&changes, args.show);
        told["broken"] = broken.into();
        json(&told);
    } else {
        show(&changes, args.show);
    }
    if broken > 0 {
        let title = format!("{broken} lines of {name} cannot be read; the others were replayed");
        return Err(Problem::new("bad-file", 400, title).into());
    }
    if args.exit_code && changes.changed > 0 {
        return Err(Problem::new("changed", 409, format!("{} decisions change", changes.changed)).into());
    }
    Ok(())
}

fn told(changes: &Changes, shown: usize) -> Value {
    let groups: Vec<Value> = changes
        .groups
        .iter()
        .map(|(change, group)| {
            let kept = group.kept.iter().take(shown);
            let kept: Vec<Value> =
                kept.map(|c| json!({"id": c.id, "before": c.before, "after": c.after})).collect();
            json!({"change": change, "count": group.count, "examples": kept})
        })
        .collect();
    json!({"events": changes.events, "changed": changes.changed, "groups": groups})
}

fn show(changes: &Changes, shown: usize) {
    line(&format!("{} events, {} decided differently", changes.events, changes.changed));
    for (change, group) in &changes.groups {
        line(&format!("\n{}", paint(BOLD, &format!("{}: {}", printable(change), group.count))));
        for example in group.kept.iter().take(shown) {
            for (when, told) in [("before", &example.before), ("after", &example.after)] {
                let id = if example.id.is_empty() { String::new() } else { format!("{} ", example.id) };
                line(&format!("  {}{when}", printable(&id)));
                told.lines().for_each(|l| {
                    line(&format!("    {}", paint(DIM, &printable(l))));
                });
            }
        }
    }
}
