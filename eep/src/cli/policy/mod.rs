//! `eep policy`: what a policy does, before it does it and while it does it. The former needs no node.

mod apply;
mod check;
mod confirm;
mod diff;
mod explain;
mod fmt;
mod history;
mod read;
mod replay;
mod rollback;
mod schema;
mod tap;
mod test;

use clap::Subcommand;

use crate::cli::output::Outcome;

pub(super) use check::Checks;
pub(super) use history::trial;

/// Check, test, explain, compare and format policies; roll them out and back, and watch them decide.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  eep policy check isp-a.yaml                     what is wrong with it, without a node
  eep policy test isp-a.yaml                      its tests, in isp-a.test.yaml beside it
  eep policy apply edge isp-a.yaml --confirm 5m   in force; taken back unless it is confirmed
  eep policy confirm edge                         keep it
  eep policy tap edge -f                          decisions as they are made")]
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
    Apply(apply::Args),
    Confirm(confirm::Args),
    Rollback(rollback::Args),
    History(history::Args),
    Tap(tap::Args),
}

impl Args {
    pub(super) fn json(&self) -> bool {
        match &self.verb {
            Verb::Check(args) => args.json,
            Verb::Test(args) => args.json,
            Verb::Explain(args) => args.target.json,
            Verb::Replay(args) => args.json,
            Verb::Diff(args) => args.json,
            Verb::Fmt(args) => args.json,
            Verb::Schema(args) => args.json,
            Verb::Apply(args) => args.target.json,
            Verb::Confirm(args) => args.target.json,
            Verb::Rollback(args) => args.target.json,
            Verb::History(args) => args.target.json,
            Verb::Tap(args) => args.target.json,
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
        Verb::Apply(args) => apply::run(args),
        Verb::Confirm(args) => confirm::run(args),
        Verb::Rollback(args) => rollback::run(args),
        Verb::History(args) => history::run(args),
        Verb::Tap(args) => tap::run(args),
    }
}
