//! Each published result against ours.
//!
//! An experiment runs small networks with several seeds and gives rows (a published number, ours with its confidence
//! interval) and curves. What it cannot show because a part of the product is missing is in [`ABSENT`].

mod crowd;
mod life;
mod locality;
mod lookup;
mod pings;
mod published;
mod relations;
mod search;
mod sensitivity;
mod tables;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Serialize;

pub use self::published::Published;

use crate::measure::{Estimate, estimate};
use crate::world::{Setup, World};

/// How large and how often.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Seeds of each run.
    pub seeds: u64,
    /// Peers are divided by this.
    pub smaller: usize,
    /// Worlds that are run at the same time.
    pub threads: usize,
    /// Called after each run.
    pub progress: fn(),
}

impl Scale {
    /// So many peers at this scale.
    #[must_use]
    pub fn peers(&self, full: usize) -> usize {
        (full / self.smaller).max(20)
    }

    /// Runs `one` for each seed and estimates each of the numbers that it gives.
    pub fn estimates(&self, one: impl Fn(u64) -> Vec<f64> + Sync) -> Vec<Estimate> {
        let seeds = usize::try_from(self.seeds).unwrap_or(usize::MAX);
        let (next, done) = (AtomicUsize::new(0), Mutex::new(vec![Vec::new(); seeds]));
        std::thread::scope(|scope| {
            for _ in 0..self.threads.clamp(1, seeds) {
                scope.spawn(|| {
                    loop {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        if n >= seeds {
                            break;
                        }
                        let run = one(n as u64 + 1);
                        (self.progress)();
                        if let Ok(mut done) = done.lock() {
                            done[n] = run;
                        }
                    }
                });
            }
        });
        let runs = done.into_inner().unwrap_or_default();
        let columns = runs.first().map_or(0, Vec::len);
        (0..columns)
            .map(|c| estimate(&runs.iter().map(|r| r[c]).filter(|x| x.is_finite()).collect::<Vec<_>>()))
            .collect()
    }
}

/// A published number and ours.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What is measured.
    pub what: String,
    /// As published.
    pub published: Published,
    /// Where.
    pub source: &'static str,
    /// Ours.
    pub ours: Estimate,
    /// Its unit.
    pub unit: &'static str,
}

/// A curve of estimates.
#[derive(Clone, Debug, Serialize)]
pub struct Curve {
    /// Its name in the legend.
    pub name: String,
    /// Its points.
    pub points: Vec<(f64, Estimate)>,
}

/// A plot.
#[derive(Clone, Debug, Serialize)]
pub struct Plot {
    /// Name of its file, without ending.
    pub name: &'static str,
    /// What stands above it.
    pub title: &'static str,
    /// What its axes are, with units.
    pub axes: (&'static str, &'static str),
    /// Whether what goes to the right goes by factors, as sizes do.
    pub log: bool,
    /// Where the axis begins that goes up.
    pub floor: f64,
    /// What nothing can be above: 100 of a hundred.
    pub ceiling: Option<f64>,
    /// A published number, and what it is, drawn as a line.
    pub published: Option<(f64, &'static str)>,
    /// What it shows.
    pub curves: Vec<Curve>,
}

/// What an experiment has given.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// How it was set up, in a sentence or two.
    pub setup: String,
    /// Numbers.
    pub rows: Vec<Row>,
    /// What the numbers say where they are not as published, or not as one may think.
    pub notes: Vec<String>,
    /// Plots.
    pub plots: Vec<Plot>,
}

/// An experiment.
#[derive(Clone, Copy, Debug)]
pub struct Experiment {
    /// Its name on the command line.
    pub name: &'static str,
    /// Its heading.
    pub title: &'static str,
    /// Runs it.
    pub run: fn(&Scale) -> Result<Outcome, String>,
}

/// All that today's code allows.
pub const ALL: &[Experiment] = &[
    Experiment {
        name: "lookup",
        title: "Lookup time and upkeep against size, with and without churn",
        run: lookup::time,
    },
    Experiment {
        name: "neighbours",
        title: "Neighbour correctness and upkeep against online time",
        run: lookup::neighbours,
    },
    Experiment { name: "life", title: "How long relations last", run: life::run },
    Experiment {
        name: "relations",
        title: "Relations over time, with and without virtual peers",
        run: relations::run,
    },
    Experiment { name: "mix", title: "What flat networks carried", run: pings::mix },
    Experiment { name: "pong-caching", title: "Pong caching", run: pings::caching },
    Experiment { name: "flood-reach", title: "How far a flood reaches", run: search::flood_reach },
    Experiment { name: "dynamic", title: "Dynamic queries against flooding", run: search::dynamic },
    Experiment {
        name: "search-time",
        title: "Search time against size, with and without churn",
        run: search::time,
    },
    Experiment { name: "locality", title: "Locality of links and bytes", run: locality::run },
    Experiment {
        name: "sensitivity",
        title: "What hangs on parameters that are not certain",
        run: sensitivity::run,
    },
    Experiment { name: "tables", title: "Sizes of the virtual peer's tables", run: tables::run },
    Experiment { name: "flash-crowd", title: "Virtual peers under a flash crowd", run: crowd::run },
];

/// What is absent, and the part that it waits for.
pub const ABSENT: &[(&str, &str)] = &[
    (
        "Query traffic with and without a cache of hits; content cache",
        "the hit and content caches of the virtual control cache layer; pongs and hosts are cached, see \"Pong caching\"",
    ),
    (
        "Locality by regions: neighbours chosen by the topology plane",
        "virtual peers that ask the topology plane for neighbours (regions are in `topology`, no virtual peer asks for them); the comparison has random, an oracle, and one virtual peer a system",
    ),
    (
        "Virtual peers that have others placed when a crowd comes",
        "a service that watches how full virtual peers are and uses `deploy`; in \"Virtual peers under a flash crowd\" the rule is the experiment's",
    ),
];

/// Builds a world whose setup cannot be wrong.
fn world(setup: Setup) -> Result<World, String> {
    setup.build()
}

/// Not a number for each column of a world that could not be built: the estimates leave it out.
fn missing(columns: usize) -> Vec<f64> {
    vec![f64::NAN; columns]
}
