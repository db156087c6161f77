//! Settings of the measurement plane.

use std::time::Duration;

/// Every setting, its unit and its bound.
#[derive(Clone, Debug)]
pub struct Config {
    /// For each level of clustering, the round trip under which two neighbours belong to one region. Above the last
    /// one there is a top level that knows the gateways of all regions. At most 7.
    pub near: Vec<Duration>,
    /// Hysteresis: neighbours in one region stay in it until their round trip is over the threshold by this share, in
    /// percent.
    pub leave_percent: u32,
    /// A measured value is reported again once it differs from the reported one by this share, in percent.
    pub change_percent: u32,
    /// A gateway gives way to a challenger that is cheaper by this share, in percent.
    pub yield_percent: u32,
    /// Time between two probes of a neighbour.
    pub probe_interval: Duration,
    /// The same for a neighbour whose link is in doubt: it has not answered, or far later than before.
    pub doubt_interval: Duration,
    /// An unanswered probe is repeated after this time or two round trips, whichever is longer.
    pub probe_timeout: Duration,
    /// Repeated probes after half that time each, until a link counts as dead.
    pub misses_max: u32,
    /// What came in is worked on after this time, together.
    pub settle: Duration,
    /// A region has to stay as it is for this time until a member becomes its gateway: what is still growing together
    /// does not trouble the whole network.
    pub hold: Duration,
    /// Reports are renewed this often, and forgotten when they are three times as old.
    pub renew_interval: Duration,
    /// Most neighbours that are probed.
    pub links_max: usize,
    /// Most reports kept, over all levels.
    pub reports_max: usize,
    /// Most edges in one report.
    pub edges_max: usize,
    /// Frames that a neighbour may send, per second over a longer time and at once.
    pub frames_per_second: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            near: vec![Duration::from_millis(10)],
            leave_percent: 50,
            change_percent: 25,
            yield_percent: 20,
            probe_interval: Duration::from_secs(1),
            doubt_interval: Duration::from_millis(250),
            probe_timeout: Duration::from_millis(500),
            misses_max: 3,
            settle: Duration::from_millis(20),
            hold: Duration::from_secs(1),
            renew_interval: Duration::from_secs(300),
            links_max: 64,
            reports_max: 16_384,
            edges_max: 256,
            frames_per_second: 500,
        }
    }
}
