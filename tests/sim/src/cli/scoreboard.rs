//! Published results against ours.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use eep_sim::experiments::{ABSENT, ALL, Experiment, Scale};
use eep_sim::scoreboard::{self, Made};

/// Of `--quick`: seeds, and by what numbers of peers are divided.
const QUICK: (u64, usize) = (2, 5);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only the experiment of this name, printed instead of written
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Two seeds and a fifth of the peers: to see that everything runs
    #[arg(long, conflicts_with_all = ["seeds", "smaller"])]
    quick: bool,
    /// Seeds of each run
    #[arg(long, default_value_t = 6)]
    seeds: u64,
    /// Divide numbers of peers by this
    #[arg(long, default_value_t = 1)]
    smaller: usize,
    /// Worlds at the same time
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// What the page says that the code's commit is
    #[arg(long, value_name = "TEXT", default_value = "unknown")]
    commit: String,
    /// Where scoreboard.md and scoreboard/ go
    #[arg(long, value_name = "FOLDER", default_value = "docs")]
    into: PathBuf,
}

/// Runs that are over.
static RUNS: AtomicUsize = AtomicUsize::new(0);

impl Args {
    pub(crate) fn run(self) -> Result<(), String> {
        let (seeds, smaller) = if self.quick { QUICK } else { (self.seeds, self.smaller) };
        let scale = Scale {
            seeds: seeds.max(1),
            smaller: smaller.max(1),
            threads: self.threads.max(1),
            progress: || {
                eprint!("\r{:4} runs ", RUNS.fetch_add(1, Ordering::Relaxed) + 1);
            },
        };
        let wanted: Vec<Experiment> =
            ALL.iter().filter(|e| self.only.as_deref().is_none_or(|only| only == e.name)).copied().collect();
        if wanted.is_empty() {
            let names: Vec<&str> = ALL.iter().map(|e| e.name).collect();
            return Err(format!("--only: there are {}", names.join(", ")));
        }
        let all = wanted.len();
        let mut results = Vec::new();
        let began = Instant::now();
        for (n, experiment) in wanted.into_iter().enumerate() {
            let experiment_began = Instant::now();
            RUNS.store(0, Ordering::Relaxed);
            let outcome = (experiment.run)(&scale)?;
            let seconds = experiment_began.elapsed().as_secs_f64();
            eprintln!("in {seconds:5.0} s: {} ({} of {all})", experiment.name, n + 1);
            results.push((experiment, outcome));
            let made = Made {
                commit: self.commit.clone(),
                machine: machine(self.threads),
                seconds: began.elapsed().as_secs(),
            };
            // What is there by now is kept if the rest is interrupted.
            match self.only {
                Some(_) => print!("{}", scoreboard::page(&scale, &made, &results, ABSENT)),
                None => scoreboard::write(&self.into, &scale, &made, &results)?,
            }
        }
        Ok(())
    }
}

/// The class of machine: what of it matters for how long this takes, and nothing that names it.
fn machine(threads: usize) -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{threads} of {cores} cores of {} with {}", std::env::consts::ARCH, std::env::consts::OS)
}
