//! `eep start`

use crate::cli::output::{Outcome, json, print};
use crate::cli::service::{Service, read};
use crate::cli::target::{Target, block_on, path_of};

/// Start a stopped service, also one that was placed elsewhere from here.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  eep start edge")]
pub(super) struct Args {
    /// The service.
    name: String,
    #[command(flatten)]
    pub(super) target: Target,
}

pub(super) fn run(args: &Args) -> Outcome {
    let path = format!("{}/start", path_of(&args.name)?);
    let answer = block_on(async { args.target.client()?.send(reqwest::Method::POST, &path, None).await })?;
    if args.target.json {
        json(&answer);
    } else {
        print(&read::<Service>(&answer)?.introduce());
    }
    Ok(())
}
