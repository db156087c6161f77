//! `eep-sim`: runs of the simulator, the scoreboard, the swarm.

#![allow(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_types)]

mod cli;

use std::process::ExitCode;

use clap::Parser;

/// Millions of small messages and tables: a third of a run's time would go to the system's own.
#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("eep-sim: {problem}");
            ExitCode::from(1)
        }
    }
}
