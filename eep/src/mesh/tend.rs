//! What a node does for its place in the mesh without being asked: it joins through seeds, dials lost neighbours again,
//! looks for near ones, publishes what it offers, and renews its certificate.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use tokio::time::Instant as Clock;
use topology::dht::Key;
use topology::{Contact, Instant, NodeId};

use crate::mesh::core::Core;
use crate::mesh::link::Close;

/// How often all of this is looked at.
pub(super) const EVERY: Duration = Duration::from_secs(1);
/// A node looks for further neighbours until it has so many.
const LINKS_WANTED: usize = 24;
/// Dials for that, each time.
const DIALS_AT_A_TIME: usize = 2;
/// Lost neighbours that are dialled again.
const LOST_MAX: usize = 64;
/// Dials of a lost neighbour at [`EVERY`], and then at [`LOST_SLOWLY`], until it is given up.
const LOST_QUICKLY_TIMES: u32 = 120;
const LOST_SLOWLY: Duration = Duration::from_secs(15);
const LOST_TIMES_MAX: u32 = 400;

/// A neighbour that was lost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lost {
    contact: Contact,
    times: u32,
    next: Clock,
}

impl Core {
    /// Notes a neighbour that is to be dialled again.
    pub(super) fn lost_neighbour(&mut self, contact: Contact) {
        if self.lost.len() < LOST_MAX {
            self.lost.insert(contact.id, Lost { contact, times: 0, next: Clock::now() });
        }
    }

    /// Looks after the neighbours.
    pub(super) fn tend_links(&mut self, now: Instant) {
        let mut again = Vec::new();
        self.lost.retain(|_, lost| {
            if lost.next <= Clock::now() {
                lost.times += 1;
                let pause = if lost.times < LOST_QUICKLY_TIMES { EVERY } else { LOST_SLOWLY };
                lost.next = Clock::now() + pause;
                again.push(lost.contact);
            }
            lost.times < LOST_TIMES_MAX
        });
        again.into_iter().for_each(|contact| self.connect(contact));
        self.drop_expired(now);
        if self.links.len() < LINKS_WANTED {
            for contact in self.candidates() {
                self.connect(contact);
            }
        }
    }

    /// Who is worth a connection: the neighbours in the space of ids, who is likely near, and who was near when it was
    /// last heard.
    fn candidates(&self) -> Vec<Contact> {
        let near = self.soar.worth_measuring(DIALS_AT_A_TIME).into_iter();
        let near = near.filter_map(|(id, _)| self.contact(id));
        let mut by_rtt: Vec<(Option<u32>, Contact)> = self.dht.contacts().map(|(c, rtt)| (rtt, c)).collect();
        // Those that were never measured come last.
        by_rtt.sort_by_key(|(rtt, _)| rtt.unwrap_or(u32::MAX));
        let known = self.dht.neighbours(DIALS_AT_A_TIME * 4).into_iter();
        let all = near.chain(known).chain(by_rtt.into_iter().map(|(_, c)| c));
        let mut seen = BTreeSet::from([self.me()]);
        let fresh = all.filter(|c| !self.links.contains_key(&c.id) && !self.lost.contains_key(&c.id));
        fresh.filter(|c| seen.insert(c.id)).take(DIALS_AT_A_TIME).collect()
    }

    /// A connection lives no longer than the certificate that it was made with; it is made again with the new one.
    fn drop_expired(&mut self, now: Instant) {
        let clock = SystemTime::now();
        let ended = self.links.values().filter(|link| link.peer.expires <= clock);
        let ended: Vec<NodeId> = ended.map(|link| link.peer.id).collect();
        ended.into_iter().for_each(|id| self.drop_link(now, id, Close::Expired));
    }

    /// Publishes what is offered here, and takes back what is not any more.
    pub(super) fn publish(&mut self, now: Instant, keys: &BTreeSet<Key>) {
        for gone in self.published.difference(keys).copied().collect::<Vec<_>>() {
            self.dht.withdraw(now, gone);
            self.published.remove(&gone);
        }
        for new in keys.difference(&self.published).copied().collect::<Vec<_>>() {
            // Where there is no room now, there may be the next time.
            if self.dht.publish(now, new).is_ok() {
                self.published.insert(new);
            }
        }
    }

    /// Takes up where others see us.
    pub(super) fn settle_address(&mut self, now: Instant, fixed: bool) {
        let seen: Option<SocketAddr> = self.seen_at().filter(|seen| !fixed && *seen != self.dht.me().addr);
        if let Some(seen) = seen {
            self.dht.moved(now, seen);
        }
    }
}

/// How busy this machine is, in thousandths: processes that want to run, by processor.
pub(super) fn load_milli() -> Option<u32> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    let load: f64 = text.split(' ').next()?.parse().ok()?;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    Some((load * 1000.0 / processors as f64).clamp(0.0, 1_000_000.0) as u32)
}
