//! `eep-sim`: runs of the simulator, the scoreboard, the swarm.

#![allow(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_types)]

mod cli;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static MEMORY: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;

fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("eep-sim: {problem}");
            ExitCode::from(1)
        }
    }
}
