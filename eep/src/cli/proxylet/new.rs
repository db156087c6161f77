//! `eep proxylet new`

use std::path::PathBuf;

use serde_json::json;

use crate::cli::load::one_line;
use crate::cli::output::{Outcome, json, line};
use crate::config::ServiceName;
use crate::problem::Problem;
use crate::proxylet::scaffold::{Kind, ScaffoldError, scaffold};

/// Make a project for a new proxylet, with a test that passes.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  eep proxylet new hello
  eep proxylet new latency --kind probe
  eep proxylet new my-peer --kind gnutella --dir src/my-peer")]
pub(super) struct Args {
    /// What to call it: lower-case letters, digits and `-`.
    #[arg(value_name = "NAME", value_parser = one_line::<ServiceName>)]
    name: ServiceName,
    /// What to begin with.
    #[arg(long, value_name = "KIND", value_enum, default_value_t = Kind::Service)]
    kind: Kind,
    /// The folder to make; the name unless given.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Answer in JSON.
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let folder = args.dir.clone().unwrap_or_else(|| PathBuf::from(args.name.as_str()));
    scaffold(&folder, &args.name, args.kind).map_err(|e| {
        let fix = match &e {
            ScaffoldError::Name(_) => "choose another name",
            ScaffoldError::Exists(_) => "choose another name, or another folder with --dir",
            ScaffoldError::File { .. } => "check the folder around it",
        };
        Problem::new("no-project", 422, e.to_string()).fix(fix)
    })?;
    if args.json {
        json(&json!({"name": args.name, "folder": folder}));
        return Ok(());
    }
    let (shown, name) = (folder.display(), &args.name);
    line(&format!("{shown}/  a proxylet in Rust"));
    line(&format!("  next   cd {shown} && cargo test && eep proxylet build"));
    line(&format!("         eep run --dev --service target/proxylets/{name}.wasm"));
    Ok(())
}
