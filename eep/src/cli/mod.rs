//! The command line: one file a verb. Verbs that act on a running node use its HTTP API and nothing else.
//!
//! Exit status: 0 done, 1 refused or failed, 2 wrong usage.

mod check;
mod output;
mod proxylet;

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
  eep check eep.yaml
  eep proxylet build proxylets/echo

Exit status: 0 done, 1 refused or failed, 2 wrong usage.";

#[derive(Debug, Subcommand)]
enum Verb {
    Check(check::Args),
    Proxylet(proxylet::Args),
}

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let (json, done) = match Cli::parse().verb {
        Verb::Check(args) => (args.json, check::run(&args)),
        Verb::Proxylet(args) => (args.json(), proxylet::run(&args)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.tell(json);
            ExitCode::from(Failure::STATUS)
        }
    }
}
