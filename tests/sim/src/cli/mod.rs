//! The command line: one file a verb.

mod lookup;
mod run;
mod scoreboard;
mod swarm;

#[derive(Debug, clap::Parser)]
#[command(name = "eep-sim", about = "Networks of peers under virtual time", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// One run, and its figures
    Run(run::Args),
    /// Lookups in a mesh of the product's distributed hash table
    Lookup(lookup::Args),
    /// All experiments: published results against ours
    Scoreboard(scoreboard::Args),
    /// Random scenarios, until one fails; it is shrunk and printed as a command
    Swarm(swarm::Args),
}

impl Cli {
    pub(crate) fn run(self) -> Result<(), String> {
        match self.verb {
            Verb::Run(args) => args.run(),
            Verb::Lookup(args) => args.run(),
            Verb::Scoreboard(args) => args.run(),
            Verb::Swarm(args) => args.run(),
        }
    }
}
