//! `eep policy`: what a policy does, before it does it. Needs no node.

mod check;
mod diff;
mod explain;
mod fmt;
mod read;
mod replay;
mod schema;
mod test;

use clap::Subcommand;

use crate::cli::output::Outcome;

pub(super) use check::Checks;

/// Check, test, explain, compare and format policies.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Check(check::Args),
    Test(test::Args),
    Explain(explain::Args),
    Replay(replay::Args),
    Diff(diff::Args),
    Fmt(fmt::Args),
    Schema(schema::Args),
}

impl Args {
    pub(super) fn json(&self) -> bool {
        match &self.verb {
            Verb::Check(args) => args.json,
            Verb::Test(args) => args.json,
            Verb::Explain(args) => args.json,
            Verb::Replay(args) => args.json,
            Verb::Diff(args) => args.json,
            Verb::Fmt(args) => args.json,
            Verb::Schema(args) => args.json,
        }
    }
}

pub(super) fn run(args: &Args) -> Outcome {
    match &args.verb {
        Verb::Check(args) => check::run(args),
        Verb::Test(args) => test::run(args),
        Verb::Explain(args) => explain::run(args),
        Verb::Replay(args) => replay::run(args),
        Verb::Diff(args) => diff::run(args),
        Verb::Fmt(args) => fmt::run(args),
        Verb::Schema(args) => schema::run(args),
    }
}
