//! All experiments: published results against ours.

use std::path::PathBuf;

use eep_sim::experiments::{ABSENT, ALL, Experiment, Scale};
use eep_sim::scoreboard;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only the experiment of this name, printed instead of written
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Seeds of each run
    #[arg(long, default_value_t = 5)]
    seeds: u64,
    /// Divide numbers of peers by this
    #[arg(long, default_value_t = 1)]
    smaller: usize,
    /// Worlds at the same time
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Where scoreboard.md and scoreboard/ go
    #[arg(long, value_name = "FOLDER", default_value = "docs")]
    into: PathBuf,
}

impl Args {
    pub(crate) fn run(self) -> Result<(), String> {
        let scale =
            Scale { seeds: self.seeds.max(1), smaller: self.smaller.max(1), threads: self.threads.max(1) };
        let wanted: Vec<Experiment> =
            ALL.iter().filter(|e| self.only.as_deref().is_none_or(|only| only == e.name)).copied().collect();
        if wanted.is_empty() {
            let names: Vec<&str> = ALL.iter().map(|e| e.name).collect();
            return Err(format!("--only: there are {}", names.join(", ")));
        }
        let mut results = Vec::new();
        for experiment in wanted {
            let began = std::time::Instant::now();
            let outcome = (experiment.run)(&scale)?;
            eprintln!("{:14} {:.0} s", experiment.name, began.elapsed().as_secs_f64());
            results.push((experiment, outcome));
        }
        if self.only.is_some() {
            print!("{}", scoreboard::page(&scale, &results, ABSENT));
            return Ok(());
        }
        scoreboard::write(&self.into, &scale, &results)
    }
}
