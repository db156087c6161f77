//! `eep proxylet`: make proxylets, and look into them. Needs no node.

mod build;
mod inspect;

use clap::Subcommand;

use crate::cli::output::Outcome;

/// Make proxylets, and look into them.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Build(build::Args),
    Inspect(inspect::Args),
}

impl Args {
    pub(super) fn json(&self) -> bool {
        match &self.verb {
            Verb::Build(args) => args.json,
            Verb::Inspect(args) => args.json,
        }
    }
}

pub(super) fn run(args: &Args) -> Outcome {
    match &args.verb {
        Verb::Build(args) => build::run(args),
        Verb::Inspect(args) => inspect::run(args),
    }
}
