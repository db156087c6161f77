//! Settings of the distributed hash table. The founding papers leave k, alpha, refresh and timeouts open; these are
//! ours, chosen with the runs of `examples/lookup.rs` and `examples/churn.rs`.

use std::time::Duration;

use super::message::FRAME_CONTACTS_MAX;

/// Every setting, its unit and its bound. [`Config::default`] suits a mesh of 10 to 1,000,000 nodes.
#[derive(Clone, Debug)]
pub struct Config {
    /// Kademlia's k: contacts in a bucket and in an answer, 1 to 32. More costs bytes in every answer.
    pub k: usize,
    /// Kademlia's alpha: questions that one lookup has open at a time, 1 to 16.
    pub alpha: usize,
    /// Contacts waiting to take a dead one's place, for each bucket.
    pub replacements_max: usize,
    /// After this time without an answer a lookup asks somebody else as well; the answer is still welcome.
    pub stall: Duration,
    /// After this time a question counts as unanswered.
    pub timeout: Duration,
    /// Unanswered questions in a row until a contact is thrown out.
    pub failures_max: u8,
    /// How many of the nearest nodes are watched closely.
    pub neighbours: usize,
    /// A watched neighbour that was silent for this long is asked whether it is still there.
    pub neighbour_interval: Duration,
    /// A bucket through which no lookup went for this long gets one.
    pub refresh_interval: Duration,
    /// After joining, the first refreshes are spread over this time.
    pub join_spread: Duration,
    /// Where no seed answered: time until the next attempt.
    pub join_retry: Duration,
    /// A bucket lets a clearly nearer (by round trip) contact in this often, no more: old contacts are good ones.
    pub swap_interval: Duration,
    /// Lookups at a time, those for upkeep included.
    pub lookups_max: usize,
    /// Nodes that a record is stored on.
    pub replicas: usize,
    /// How long a record is kept after it was last published.
    pub record_ttl: Duration,
    /// How often own records are published again; well under [`Self::record_ttl`].
    pub republish_interval: Duration,
    /// Records of own that are kept published.
    pub published_max: usize,
    /// Points that records of others are kept for.
    pub points_max: usize,
    /// Holders kept for one point.
    pub holders_max: usize,
    /// Points under which one other node may be kept as a holder.
    pub points_per_node_max: usize,
    /// Questions that one peer may ask, per second, over a longer time.
    pub questions_per_second: u32,
    /// Questions that one peer may ask at once.
    pub questions_burst: u32,
    /// Peers whose rates and offences are watched one by one; the others share one allowance.
    pub watched_max: usize,
    /// How long a misbehaving peer is not listened to.
    pub ban: Duration,
    /// Banned peers remembered; the ban that ends first makes room.
    pub banned_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            k: 16,
            alpha: 4,
            replacements_max: 8,
            stall: Duration::from_millis(250),
            timeout: Duration::from_secs(2),
            failures_max: 2,
            neighbours: 8,
            neighbour_interval: Duration::from_secs(30),
            refresh_interval: Duration::from_secs(15 * 60),
            join_spread: Duration::from_secs(30),
            join_retry: Duration::from_secs(5),
            swap_interval: Duration::from_secs(60),
            lookups_max: 256,
            replicas: 8,
            record_ttl: Duration::from_secs(25 * 60),
            republish_interval: Duration::from_secs(10 * 60),
            published_max: 1024,
            points_max: 8192,
            holders_max: 64,
            points_per_node_max: 256,
            questions_per_second: 50,
            questions_burst: 200,
            watched_max: 4096,
            ban: Duration::from_secs(10 * 60),
            banned_max: 1024,
        }
    }
}

/// A setting that cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} must be {rule}")]
pub struct BadConfig {
    /// Which.
    pub field: &'static str,
    /// What it has to be.
    pub rule: &'static str,
}

impl Config {
    /// Whether the settings fit together.
    ///
    /// # Errors
    /// Names the first setting that does not.
    pub fn check(&self) -> Result<(), BadConfig> {
        let rules = [
            ("k", (1..=32).contains(&self.k) && self.k <= FRAME_CONTACTS_MAX, "1 to 32"),
            ("alpha", (1..=16).contains(&self.alpha), "1 to 16"),
            ("stall", self.stall <= self.timeout && !self.stall.is_zero(), "over 0 and at most timeout"),
            ("failures_max", self.failures_max > 0, "at least 1"),
            ("neighbours", self.neighbours > 0, "at least 1"),
            ("neighbour_interval", self.neighbour_interval >= self.timeout, "at least timeout"),
            (
                "refresh_interval",
                self.refresh_interval >= self.neighbour_interval,
                "at least neighbour_interval",
            ),
            ("join_retry", !self.join_retry.is_zero(), "over 0"),
            ("lookups_max", self.lookups_max > 0, "at least 1"),
            ("replicas", self.replicas > 0 && self.replicas <= self.k, "1 to k"),
            ("record_ttl", self.record_ttl > self.republish_interval, "longer than republish_interval"),
            ("republish_interval", !self.republish_interval.is_zero(), "over 0"),
            ("holders_max", (1..=FRAME_CONTACTS_MAX).contains(&self.holders_max), "1 to 64"),
            ("questions_per_second", self.questions_per_second > 0, "at least 1"),
            ("questions_burst", self.questions_burst > 0, "at least 1"),
        ];
        match rules.iter().find(|(_, holds, _)| !holds) {
            Some(&(field, _, rule)) => Err(BadConfig { field, rule }),
            None => Ok(()),
        }
    }
}
