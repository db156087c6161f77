//! What a node does for its place in the mesh without being asked: it joins through seeds, dials lost neighbours again,
//! looks for near ones, publishes what it offers, and renews its certificate.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use tokio::time::Instant as Clock;
use topology::dht::Key;
use topology::{Contact, Instant, NodeId};

use crate::mesh::core::Core;
use crate::mesh::identity::shown;
use crate::mesh::link::{Close, Link};

/// How often all of this is looked at.
pub(super) const EVERY: Duration = Duration::from_secs(1);
/// A node looks for further neighbours until it has so many.
const LINKS_WANTED: usize = 24;
/// Dials for that, each time.
const DIALS_AT_A_TIME: usize = 2;
/// Lost neighbours that are dialled again.
const LOST_MAX: usize = 64;
/// Of them so many each time, who was tried longest ago first: nobody says that a way has healed, only trying finds out.
const LOST_AT_A_TIME: usize = 32;
/// For so long a lost neighbour is dialled each time, and whenever the map shows that others reach it...
const LOST_QUICKLY_FOR: Duration = Duration::from_secs(3600);
/// ...then with this pause...
const LOST_SLOWLY: Duration = Duration::from_secs(15);
/// ...and after this time no more.
const LOST_FOR: Duration = Duration::from_secs(86_400);
/// A connection whose link is dead for longer is given up, so that the neighbour is dialled anew: the old connection
/// repeats what was lost with growing pauses, and the longer the way was cut the later it would notice that it is not.
const DEAD_FOR: Duration = Duration::from_secs(1);

/// A neighbour that was lost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lost {
    contact: Contact,
    since: Clock,
    tried: Option<Clock>,
}

impl Lost {
    fn is_due(&self, on_map: bool) -> bool {
        on_map
            || self.since.elapsed() < LOST_QUICKLY_FOR
            || self.tried.is_none_or(|at| at.elapsed() >= LOST_SLOWLY)
    }
}

impl Core {
    /// Notes a neighbour that is to be dialled again.
    pub(super) fn lost_neighbour(&mut self, contact: Contact) {
        if self.lost.len() >= LOST_MAX
            && let Some(oldest) = self.lost.values().min_by_key(|lost| lost.since).map(|lost| lost.contact.id)
        {
            self.lost.remove(&oldest);
        }
        self.lost.insert(contact.id, Lost { contact, since: Clock::now(), tried: None });
    }

    /// Looks after the neighbours.
    pub(super) fn tend_links(&mut self, now: Instant) {
        self.drop_dead(now);
        self.dial_lost();
        self.drop_expired(now);
        self.drop_distrusted(now);
        if self.links.len() < LINKS_WANTED {
            for contact in self.candidates() {
                self.connect(contact);
            }
        }
    }

    fn dial_lost(&mut self) {
        self.lost.retain(|_, lost| lost.since.elapsed() < LOST_FOR);
        if self.lost.is_empty() {
            return;
        }
        let on_map: BTreeSet<NodeId> = self.soar.map().nodes().collect();
        let due = self.lost.values().filter(|lost| lost.is_due(on_map.contains(&lost.contact.id)));
        let mut due: Vec<Lost> = due.copied().collect();
        due.sort_by_key(|lost| lost.tried);
        for Lost { contact, .. } in due.into_iter().take(LOST_AT_A_TIME) {
            if let Some(lost) = self.lost.get_mut(&contact.id) {
                lost.tried = Some(Clock::now());
            }
            self.connect(contact);
        }
    }

    /// Gives up connections whose links are dead.
    fn drop_dead(&mut self, now: Instant) {
        let mut over = Vec::new();
        for (id, link) in &mut self.links {
            let dead = self.soar.links().get(id).is_some_and(|link| link.dead);
            link.dead_since = if dead { link.dead_since.or(Some(Clock::now())) } else { None };
            if link.dead_since.is_some_and(|since| since.elapsed() >= DEAD_FOR) {
                over.push(*id);
            }
        }
        over.into_iter().for_each(|id| self.drop_link(now, id, Close::Dead));
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

    /// Where who is trusted has changed, nodes are judged anew.
    fn drop_distrusted(&mut self, now: Instant) {
        let changes = self.domains.changes();
        if std::mem::replace(&mut self.judged_after, changes) == changes {
            return;
        }
        let clock = SystemTime::now();
        let is_trusted = |link: &&Link| {
            let chain = shown(link.connection.peer_identity());
            self.domains.judge(&chain, clock).is_ok()
        };
        let distrusted = self.links.values().filter(|link| !is_trusted(link));
        let distrusted: Vec<NodeId> = distrusted.map(|link| link.peer.id).collect();
        for id in distrusted {
            tracing::warn!(peer = %id, "no trusted domain vouches for a neighbour any more");
            self.drop_link(now, id, Close::Distrusted);
        }
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
