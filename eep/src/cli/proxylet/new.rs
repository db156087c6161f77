//! `eep proxylet new`

use std::path::PathBuf;

use serde_json::json;

use crate::cli::load::one_line;
use crate::cli::output::{Outcome, json, line};
use crate::config::ServiceName;
use crate::problem::Problem;
use crate::proxylet::build::Language;
use crate::proxylet::scaffold::{Kind, ScaffoldError, scaffold};

/// Make a project for a new proxylet, with a test that passes.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  eep proxylet new hello
  eep proxylet new latency --kind probe
  eep proxylet new my-peer --kind gnutella --dir src/my-peer
  eep proxylet new hello --lang python
  eep proxylet new latency --kind probe --lang js")]
pub(super) struct Args {
    /// What to call it: lower-case letters, digits and `-`.
    #[arg(value_name = "NAME", value_parser = one_line::<ServiceName>)]
    name: ServiceName,
    /// What to begin with.
    #[arg(long, value_name = "KIND", value_enum, default_value_t = Kind::Service)]
    kind: Kind,
    /// What to write it in; the kind `gnutella` is there in Rust alone.
    #[arg(long, value_name = "LANG", value_enum, default_value_t = Language::Rust)]
    lang: Language,
    /// The folder to make; the name unless given.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Answer in JSON.
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let folder = args.dir.clone().unwrap_or_else(|| PathBuf::from(args.name.as_str()));
    scaffold(&folder, &args.name, args.kind, args.lang).map_err(|e| {
        let fix = match &e {
            ScaffoldError::Name(_) => "choose another name",
            ScaffoldError::RustOnly(_) => {
                "leave --lang out; or begin with --kind service or --kind probe, which are there in rust, c, js and python"
            }
            ScaffoldError::Exists(_) => "choose another name, or another folder with --dir",
            ScaffoldError::File { .. } => "check the folder around it",
        };
        Problem::new("no-project", 422, e.to_string()).fix(fix)
    })?;
    if args.json {
        json(&json!({"name": args.name, "folder": folder}));
        return Ok(());
    }
    let shown = folder.display();
    let first = match args.lang {
        Language::Rust | Language::C => "",
        Language::Js => "npm install && ",
        Language::Python => "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt && ",
    };
    line(&format!("{shown}/  a proxylet in {}", args.lang));
    line(&format!("  next   cd {shown} && {first}eep proxylet test"));
    line("         eep dev --watch");
    Ok(())
}
