//! `eep policy apply`

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::history::{in_force, warn_of_sections};
use crate::cli::load::absolute;
use crate::cli::output::{Outcome, json, note, print, printable};
use crate::cli::target::{Target, block_on, path_of};

/// Put a policy in force. It is read and checked first; where anything is wrong with it, what was in force still is.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  eep policy apply edge policies/isp-a.yaml
  eep policy apply edge                          read the file that is in force anew
  eep policy apply edge new.yaml --confirm 5m    go back in five minutes, unless confirmed")]
pub(super) struct Args {
    /// The service.
    service: String,
    /// The policy's file, on the node's machine; the one that is in force unless given.
    file: Option<PathBuf>,
    /// Go back by itself after so long, unless `eep policy confirm` comes first; at most a week.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    confirm: Option<Duration>,
    #[command(flatten)]
    pub(super) target: Target,
}

pub(super) fn run(args: &Args) -> Outcome {
    let file = args.file.as_deref().map(absolute).transpose()?;
    let body = json!({"file": file, "confirm_s": args.confirm.map(|d| d.as_secs())});
    let path = format!("{}/policy", path_of(&args.service)?);
    let answer = block_on(async { args.target.client()?.send(Method::POST, &path, Some(&body)).await })?;
    if args.target.json {
        json(&answer);
        return Ok(());
    }
    print(&in_force(&args.service, &answer));
    let warnings = answer["warnings"].as_str().unwrap_or_default();
    if !warnings.is_empty() {
        note(printable(warnings).trim_end());
    }
    warn_of_sections(&answer);
    if !matches!(answer["trial"], Value::Null) {
        print(&format!("  next       eep policy confirm {0}   eep policy rollback {0}\n", args.service));
    }
    Ok(())
}
