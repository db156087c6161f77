//! The command line: one file a verb. Verbs that act on a running node use its HTTP API and nothing else.
//!
//! Exit status: 0 done, 1 refused or failed, 2 wrong usage.

mod client;
mod dev;
mod format;
mod output;
mod progress;
mod record;
mod service;
mod target;

mod check;
mod completions;
mod init;
mod list;
mod load;
mod logs;
mod modify;
mod policy;
mod proxylet;
mod run;
mod start;
mod status;
mod stop;
mod topology;
mod unload;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::cli::output::Failure;

/// An execution environment for proxylets: fetches WebAssembly by URL, verifies it, runs it in a sandbox.
#[derive(Debug, Parser)]
#[command(name = "eep", version, max_term_width = 100, disable_help_subcommand = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "\
Examples:
  eep run                                      start a node here, with no configuration
  eep load ./echo.wasm --sha256 HEX            run a proxylet on it
  eep list                                     what runs
  eep logs echo -f                             what it says

Exit status: 0 done, 1 refused or failed, 2 wrong usage.";

#[derive(Debug, Subcommand)]
enum Verb {
    Run(run::Args),
    Dev(dev::Args),
    Check(check::Args),
    Init(init::Args),
    Load(load::Args),
    List(list::Args),
    Status(status::Args),
    Logs(logs::Args),
    Start(start::Args),
    Stop(stop::Args),
    Modify(modify::Args),
    Unload(unload::Args),
    Policy(policy::Args),
    Topology(topology::Args),
    Proxylet(proxylet::Args),
    Completions(completions::Args),
}

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let (json, done) = match Cli::parse().verb {
        Verb::Run(args) => (args.json, run::run(&args)),
        Verb::Dev(args) => (args.json, dev::run(&args)),
        Verb::Check(args) => (args.json, check::run(&args)),
        Verb::Init(args) => (args.json, init::run(&args)),
        Verb::Load(args) => (args.target.json, load::run(&args)),
        Verb::List(args) => (args.target.json, list::run(&args)),
        Verb::Status(args) => (args.target.json, status::run(&args)),
        Verb::Logs(args) => (args.target.json, logs::run(&args)),
        Verb::Start(args) => (args.target.json, start::run(&args)),
        Verb::Stop(args) => (args.target.json, stop::run(&args)),
        Verb::Modify(args) => (args.target.json, modify::run(&args)),
        Verb::Unload(args) => (args.target.json, unload::run(&args)),
        Verb::Policy(args) => (args.json(), policy::run(&args)),
        Verb::Topology(args) => (args.json(), topology::run(&args)),
        Verb::Proxylet(args) => (args.json(), proxylet::run(&args)),
        Verb::Completions(args) => (args.json, completions::run(&args)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.tell(json);
            ExitCode::from(Failure::STATUS)
        }
    }
}
