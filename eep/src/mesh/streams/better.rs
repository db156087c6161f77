//! When a stream that is open takes another way; see [`crate::mesh::ways`] for which one.

use std::time::Duration;

use tokio::time::{Instant as Clock, sleep, timeout};
use topology::NodeId;

use crate::mesh::streams::{Carried, Streams};
use crate::mesh::ways::InUse;

/// A stream that is open looks for a better way when the map changes, and takes one that is better again after this time:
/// both ends' measurements have come by then, and those of the other links, which are made at the same time.
const LOOK_PAUSE: Duration = Duration::from_millis(100);
/// How much it carries is looked at so often...
const RATE_EVERY: Duration = Duration::from_secs(1);
/// ...and after so many times it looks for a better way where no change of the map was heard of: a way that was left may
/// have rested.
const RATES: usize = 5;

impl Streams {
    /// Comes back when a stream that leaves by this neighbour is to take a better way, which leads over none of those to
    /// avoid. A better way has to be there twice in turn.
    pub(in crate::mesh) async fn better(&self, to: NodeId, via: NodeId, avoid: &[NodeId], carried: &Carried) {
        let mut map = self.map.clone();
        let (mut seen, mut least_us) = (false, u64::MAX);
        let mut rate = carried.rate(Clock::now());
        loop {
            map.mark_unchanged();
            let carries_kbps = rate.look(Clock::now());
            let (in_use, avoid) = (InUse { via, least_us, carries_kbps }, avoid.to_vec());
            let looked = self.ask.core(move |core, _| {
                let way = core.compare_way(Clock::now(), to, in_use, &avoid);
                if let Some(next) = way.next.filter(|_| seen) {
                    core.leave_way(Clock::now(), to, in_use, way, next);
                }
                way
            });
            // Where the core has gone, so has the mesh.
            let Some(way) = looked.await else { return std::future::pending().await };
            if seen && way.next.is_some() {
                return;
            }
            seen = way.next.is_some();
            least_us = least_us.min(way.cost_us.unwrap_or(u64::MAX));
            sleep(LOOK_PAUSE).await;
            let mut rates = if seen { 0 } else { RATES };
            while rates > 0 && timeout(RATE_EVERY, map.changed()).await.is_err() {
                rate.look(Clock::now());
                rates -= 1;
            }
        }
    }
}
