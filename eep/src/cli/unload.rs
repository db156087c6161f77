//! `eep unload`

use serde_json::json;

use crate::cli::output::{Outcome, json, line};
use crate::cli::target::{Target, block_on, path_of};

/// Stop a service and forget it, with all that it stored; or all services of a web.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  eep unload edge")]
pub(super) struct Args {
    /// The service, or the web.
    name: String,
    #[command(flatten)]
    pub(super) target: Target,
}

pub(super) fn run(args: &Args) -> Outcome {
    let path = path_of(&args.name)?;
    block_on(async { args.target.client()?.send(reqwest::Method::DELETE, &path, None).await })?;
    if args.target.json {
        json(&json!({"name": args.name, "unloaded": true}));
    } else {
        line(&format!("{} is unloaded", args.name));
    }
    Ok(())
}
