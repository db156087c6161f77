//! One run, and its figures.

use eep_sim::measure::ledger::Class;
use eep_sim::measure::stats::{mean_and_deviation, quantile};
use eep_sim::workload::Preset;
use eep_sim::world::{Setup, World};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// flood-2000, flood-2001, modern or seed-4
    #[arg(long, default_value = "modern")]
    preset: String,
    /// Ordinary peers that are here at a time
    #[arg(long, default_value_t = 1_000)]
    peers: usize,
    /// Virtual peers beside them
    #[arg(long, default_value_t = 0)]
    virtual_peers: usize,
    /// Their configuration, as JSON
    #[arg(long, value_name = "JSON", default_value = "{}")]
    config: String,
    /// Virtual time to run for
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    seconds: u64,
    /// Of all chance
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Threads to run on, at most one a shard; results do not depend on it [default: one a core]
    #[arg(long)]
    threads: Option<usize>,
    /// Parts of the network that may run at the same time [default: one, up to 8 for large networks]
    #[arg(long)]
    shards: Option<usize>,
    /// A whole setup as JSON instead of the above
    #[arg(long, value_name = "JSON")]
    setup: Option<String>,
    /// Look every so many seconds whether everything that must hold does
    #[arg(long, value_name = "SECONDS")]
    check: Option<u64>,
}

impl Args {
    pub(crate) fn run(self) -> Result<(), String> {
        let setup = match &self.setup {
            Some(json) => serde_json::from_str(json).map_err(|e| format!("--setup: {e}"))?,
            None => {
                let preset = Preset::named(&self.preset).ok_or(format!(
                    "--preset {}: there are flood-2000, flood-2001, modern and seed-4",
                    self.preset
                ))?;
                let config = serde_json::from_str(&self.config).map_err(|e| format!("--config: {e}"))?;
                let setup =
                    Setup::new(preset, self.peers, self.seed).with_virtual(self.virtual_peers, config);
                Setup { shards: self.shards.unwrap_or(setup.shards), ..setup }
            }
        };
        let began = std::time::Instant::now();
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let mut world = setup.build()?.on_threads(self.threads.unwrap_or_else(cores));
        match self.check {
            Some(every) => world.run_checked(self.seconds, every.max(1)),
            None => world.run_until(self.seconds),
        }
        print(&world, began.elapsed().as_secs_f64());
        match world.violations() {
            [] => Ok(()),
            found => Err(found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
        }
    }
}

/// The most memory that this process has had, where the system tells (Linux, `proc_pid_status(5)`).
fn peak_memory_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

fn print(world: &World, wall_s: f64) {
    let (ledger, records) = (&world.ledger, &world.records);
    println!(
        "virtual time      {:.0} s, of {} places in {} systems and {} shards",
        world.elapsed_s(),
        world.len(),
        world.places.systems(),
        world.shards()
    );
    println!(
        "events            {}, {:.0} a second of wall time ({wall_s:.1} s)",
        records.events,
        records.events as f64 / wall_s
    );
    if let Some(kib) = peak_memory_kib() {
        println!("memory            {} MiB at its peak", kib / 1_024);
    }
    println!("here              {} light, {} virtual", world.light().count(), world.virtual_peers().count());
    println!("lives             {}", records.lives);
    println!(
        "relations         {} made, {} refused, {} connections now",
        records.joined,
        records.refused,
        world.connections()
    );
    let degrees: Vec<f64> = world.light().map(|(_, l)| l.degree() as f64).collect();
    let (mean, deviation) = mean_and_deviation(&degrees);
    println!("degree            {mean:.2} on average, deviation {deviation:.2}");
    println!("searches          {} over, reached {} peers", records.searches.len(), records.reached);
    let first: Vec<f64> = records.searches.iter().filter_map(|s| s.first_s).collect();
    println!(
        "answered          {}, the first after {:.2} s in the median",
        first.len(),
        quantile(&first, 0.5)
    );
    for class in Class::ALL {
        let count = ledger.of(class);
        println!("{:17} {} messages, {} bytes", class.name(), count.messages, count.bytes);
    }
    println!(
        "bytes             {} sent, {} delivered, {} lost, {} late",
        ledger.sent_bytes, ledger.delivered_bytes, ledger.lost_bytes, ledger.late_bytes
    );
    println!("digest            {:016x}", world.digest());
    println!("overflowed        {} messages", ledger.overflowed.messages);
}
