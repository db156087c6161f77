//! `eep completions`

use clap::CommandFactory as _;
use clap_complete::Shell;
use serde_json::json;

use crate::cli::output::{Outcome, json, print};

/// Print what makes a shell complete the words of this command.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  eep completions bash > /etc/bash_completion.d/eep
  eep completions zsh > ~/.zfunc/_eep
  eep completions fish > ~/.config/fish/completions/eep.fish")]
pub(super) struct Args {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
    /// Answer in JSON.
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "eep", &mut script);
    let script = String::from_utf8_lossy(&script);
    if args.json {
        json(&json!({"shell": args.shell.to_string(), "script": script}));
    } else {
        print(&script);
    }
    Ok(())
}
