//! `eep policy rollback`

use reqwest::Method;
use serde_json::json;

use super::history::in_force;
use crate::cli::output::{Outcome, json, print};
use crate::cli::target::{Target, block_on, path_of};

/// Put an earlier policy in force again, with the sets that it had.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  eep policy rollback edge            the one before
  eep policy rollback edge --to 3     generation 3
  eep policy rollback edge --to 0     no policy")]
pub(super) struct Args {
    /// The service.
    service: String,
    /// The generation, as `eep policy history` shows it; the one before unless given.
    #[arg(long, value_name = "GENERATION")]
    to: Option<u64>,
    #[command(flatten)]
    pub(super) target: Target,
}

pub(super) fn run(args: &Args) -> Outcome {
    let path = format!("{}/policy/rollback", path_of(&args.service)?);
    let body = json!({"to": args.to});
    let answer = block_on(async { args.target.client()?.send(Method::POST, &path, Some(&body)).await })?;
    if args.target.json {
        json(&answer);
    } else {
        print(&in_force(&args.service, &answer));
    }
    Ok(())
}
