//! Lookups in a mesh of nodes.

use std::time::Instant;

use eep_sim::measure::stats::quantile;
use eep_sim::mesh::Mesh;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Nodes of the mesh
    #[arg(long, default_value_t = 1_000_000)]
    nodes: usize,
    /// Lookups, one a second of virtual time in the mean
    #[arg(long, default_value_t = 1_000)]
    lookups: u64,
    /// Let nodes join one after the other and then come and go, and stay for so many minutes in the mean; without it all
    /// have been here for long and stay, and a node takes memory only once it is spoken to
    #[arg(long, value_name = "MINUTES")]
    churn: Option<f64>,
    /// Of all chance
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Args {
    pub(crate) fn run(self) -> Result<(), String> {
        if self.nodes == 0 || self.churn.is_some_and(|minutes| minutes.is_nan() || minutes <= 0.0) {
            return Err("--nodes: at least 1; --churn: more than 0".to_owned());
        }
        let began = Instant::now();
        let mut mesh = match self.churn {
            None => Mesh::long_lived(self.nodes, self.seed),
            Some(minutes) => {
                let mut mesh = Mesh::joined(self.nodes, self.seed);
                mesh.churn(minutes);
                mesh
            }
        };
        mesh.ask_every(1.0);
        mesh.run_for(self.lookups);
        let found: Vec<f64> = mesh.lookups.iter().filter(|l| l.found).map(|l| l.ms).collect();
        println!("nodes             {}, {} of them spoken to", mesh.len(), mesh.made());
        println!("lookups           {} over, {} found what they looked for", mesh.lookups.len(), found.len());
        let mean = found.iter().sum::<f64>() / found.len() as f64;
        println!(
            "time              {mean:.0} ms in the mean, {:.0} in the median, {:.0} for 95 of 100",
            quantile(&found, 0.5),
            quantile(&found, 0.95)
        );
        println!("bytes             {} sent", mesh.sent_bytes);
        println!("wall time         {:.1} s", began.elapsed().as_secs_f64());
        Ok(())
    }
}
