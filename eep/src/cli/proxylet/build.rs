//! `eep proxylet build`

use std::path::PathBuf;

use crate::cli::output::{Outcome, json, line};
use crate::problem::Problem;
use crate::proxylet::build::build;

/// Build a guest crate into a component.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  eep proxylet build proxylets/echo\n  eep proxylet build . --out echo.wasm"
)]
pub(super) struct Args {
    /// The folder of the crate.
    #[arg(value_name = "DIR", default_value = ".")]
    crate_dir: PathBuf,
    /// Where to write the component; `target/proxylets/NAME.wasm` of its workspace unless given.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Answer in JSON.
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let built = build(&args.crate_dir, args.out.as_deref())
        .map_err(|e| Problem::new("build-failed", 422, e.to_string()))?;
    if args.json {
        json(&built);
    } else {
        line(&format!("{}  {} bytes  sha256 {}", built.path.display(), built.bytes, built.sha256));
    }
    Ok(())
}
