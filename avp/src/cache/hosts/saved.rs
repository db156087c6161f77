//! The host cache at rest. Its indexes are made anew, and hosts that this cache may not hold are left out.

use super::{HOSTS_MAX, HostCache, Known, Report, network};
use crate::state::{Damaged, Reader, Writer, saved};

saved!(Report { daily_uptime_s, free_ultrapeer_slots, free_leaf_slots });
saved!(Known { address, report, seen_at, rests_until, failures, proven });

impl HostCache {
    pub(crate) fn save(&self, to: &mut Writer) {
        to.list(self.hosts.iter());
    }

    /// Takes over what is known.
    pub(crate) fn load(&mut self, from: &mut Reader<'_>) -> Result<(), Damaged> {
        for known in from.list::<Known, Vec<_>>(HOSTS_MAX)? {
            if !self.is_usable(known.address) {
                continue;
            }
            let twin = self.index.insert(known.address, self.hosts.len() as u32);
            from.ensure(twin.is_none())?;
            if let Some(network) = network(known.address.ip()) {
                *self.networks.entry(network).or_insert(0) += 1;
            }
            self.hosts.push(known);
        }
        Ok(())
    }
}
