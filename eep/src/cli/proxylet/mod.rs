//! `eep proxylet`: make proxylets, look into them, sign and publish them, replay what they did. Needs no node.

mod build;
mod inspect;
mod key_file;
mod keygen;
mod new;
mod publish;
mod replay;
mod sign;
mod test;
mod verify;

use clap::Subcommand;

use crate::cli::output::Outcome;

/// Make proxylets, look into them, sign and publish them, replay what they did.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  eep proxylet new hello                          a project with a test that passes
  eep proxylet build hello --out hello.wasm       a component of it
  eep proxylet test hello                         play its scenarios
  eep proxylet sign hello.wasm --key me.key       vouch for it
  eep proxylet replay edge.eeprec                 do again what a recording holds")]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    New(new::Args),
    Build(build::Args),
    Test(test::Args),
    Inspect(inspect::Args),
    Replay(replay::Args),
    Keygen(keygen::Args),
    Sign(sign::Args),
    Verify(verify::Args),
    Publish(publish::Args),
}

impl Args {
    pub(super) fn json(&self) -> bool {
        match &self.verb {
            Verb::New(args) => args.json,
            Verb::Build(args) => args.json,
            Verb::Test(args) => args.json,
            Verb::Inspect(args) => args.json,
            Verb::Replay(args) => args.json,
            Verb::Keygen(args) => args.json,
            Verb::Sign(args) => args.json,
            Verb::Verify(args) => args.json,
            Verb::Publish(args) => args.json,
        }
    }
}

pub(super) fn run(args: &Args) -> Outcome {
    match &args.verb {
        Verb::New(args) => new::run(args),
        Verb::Build(args) => build::run(args),
        Verb::Test(args) => test::run(args),
        Verb::Inspect(args) => inspect::run(args),
        Verb::Replay(args) => replay::run(args),
        Verb::Keygen(args) => keygen::run(args),
        Verb::Sign(args) => sign::run(args),
        Verb::Verify(args) => verify::run(args),
        Verb::Publish(args) => publish::run(args),
    }
}
