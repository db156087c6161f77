//! `eep stop`

use crate::cli::output::{Outcome, json, print};
use crate::cli::status::introduce;
use crate::cli::target::{Target, block_on, path_of};

/// Stop a service, or all those of a web, also where they were placed elsewhere from here. It stays stopped until it is started, also when the node starts again.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  eep stop edge\n  eep stop pair          each service of a web")]
pub(super) struct Args {
    /// The service or the web.
    name: String,
    #[command(flatten)]
    pub(super) target: Target,
}

pub(super) fn run(args: &Args) -> Outcome {
    let path = format!("{}/stop", path_of(&args.name)?);
    let answer = block_on(async { args.target.client()?.send(reqwest::Method::POST, &path, None).await })?;
    if args.target.json {
        json(&answer);
    } else {
        print(&introduce(&answer)?);
    }
    Ok(())
}
