//! Random scenarios, until one fails.

use std::time::{Duration, Instant};

use eep_sim::swarm;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The first seed; the next ones follow
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Most scenarios
    #[arg(long, default_value_t = u64::MAX)]
    scenarios: u64,
    /// Wall time after which no scenario is begun
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    seconds: u64,
    /// Most peers of a scenario
    #[arg(long, default_value_t = 300)]
    peers: usize,
}

impl Args {
    pub(crate) fn run(self) -> Result<(), String> {
        let until = Instant::now() + Duration::from_secs(self.seconds);
        let mut done = 0;
        let seeds =
            (self.seed..self.seed.saturating_add(self.scenarios)).take_while(|_| Instant::now() < until);
        swarm::run(seeds, self.peers, |seed| {
            done += 1;
            eprint!("\rseed {seed} holds ");
        })?;
        eprintln!();
        println!("{done} scenarios from seed {} hold", self.seed);
        Ok(())
    }
}
