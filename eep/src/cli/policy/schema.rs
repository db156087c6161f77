//! `eep policy schema`

use clap::ValueEnum;
use policies::grammar::schema;

use crate::cli::output::{Outcome, json};

/// Print the JSON Schema of policies, with which editors complete and check.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
In a policy, an editor's YAML language server finds it by the first line:
  # yaml-language-server: $schema=policy-v1.json

Examples:
  eep policy schema > policy-v1.json
  eep policy schema tests > policy-test-v1.json")]
pub(super) struct Args {
    /// Of which files.
    #[arg(value_enum, default_value_t = Of::Policy)]
    of: Of,
    /// Answer in JSON, which it is in any case.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Of {
    /// Policies.
    Policy,
    /// Files of tests.
    Tests,
}

pub(super) fn run(args: &Args) -> Outcome {
    json(&match args.of {
        Of::Policy => schema::policy(),
        Of::Tests => schema::tests(),
    });
    Ok(())
}
