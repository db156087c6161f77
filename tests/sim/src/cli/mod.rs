//! The command line: one file a verb.

mod lookup;
mod run;
mod scoreboard;
mod swarm;

const EXAMPLES: &str = "Examples:
  eep-sim run --peers 1000 --virtual-peers 4        a thousand peers below four virtual peers, ten minutes
  eep-sim run --peers 100000 --seconds 3600         a hundred thousand, an hour, on all cores: some 4 GiB
  eep-sim swarm --seconds 600                       random scenarios for ten minutes
  eep-sim scoreboard --only locality                one experiment";

#[derive(Debug, clap::Parser)]
#[command(name = "eep-sim", about = "Networks of peers under virtual time", version, after_help = EXAMPLES)]
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
