//! What is done to the ultrapeer.

mod compose;
pub(crate) mod fanout;
pub(crate) mod idle;
pub(crate) mod join;
pub(crate) mod load;
mod meter;
mod pace;
pub(crate) mod proxylets;
pub(crate) mod relay;
pub(crate) mod swap;

use std::time::Duration;

/// Words that every sharing leaf has, so that texts can differ.
const COMMON_WORDS: usize = 4_096;
/// Words that an idle leaf has besides its own: some tens of files.
const IDLE_WORDS: usize = 200;

/// How long and how fast to send.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Load {
    /// Queries a second in all; without it, each sender keeps its window full
    #[arg(long, value_name = "QUERIES_PER_S")]
    pub(crate) rate: Option<u32>,
    /// Unanswered queries a sender may have where no rate is given
    #[arg(long, default_value_t = 64)]
    pub(crate) window: u32,
    /// Queries in a row from one sender where a rate is given
    #[arg(long, default_value_t = 16)]
    pub(crate) batch: u32,
    /// Seconds to measure
    #[arg(long, default_value_t = 10.0)]
    pub(crate) seconds: f64,
    /// Seconds of the same load before measuring
    #[arg(long, default_value_t = 2.0)]
    pub(crate) warmup: f64,
    /// Words in a query besides the one that selects its leaf, to make texts differ. From three words on, some
    /// ultrapeers forward to leaves that have most of them
    #[arg(long, default_value_t = 1)]
    pub(crate) more_words: usize,
}

impl Load {
    pub(crate) fn warmup(&self) -> Duration {
        Duration::from_secs_f64(self.warmup.max(0.0))
    }

    pub(crate) fn measured(&self) -> Duration {
        Duration::from_secs_f64(self.seconds.max(0.1))
    }
}
