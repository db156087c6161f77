//! `eep policy confirm`

use reqwest::Method;

use super::history::in_force;
use crate::cli::output::{Outcome, json, print};
use crate::cli::target::{Target, block_on, path_of};

/// Keep a policy that was applied with --confirm.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  eep policy confirm edge")]
pub(super) struct Args {
    /// The service.
    service: String,
    #[command(flatten)]
    pub(super) target: Target,
}

pub(super) fn run(args: &Args) -> Outcome {
    let path = format!("{}/policy/confirm", path_of(&args.service)?);
    let answer = block_on(async { args.target.client()?.send(Method::POST, &path, None).await })?;
    if args.target.json {
        json(&answer);
    } else {
        print(&in_force(&args.service, &answer));
    }
    Ok(())
}
