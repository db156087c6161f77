//! The routing table: for each number of leading bits in common with our own id, a bucket of at most k contacts.
//!
//! Only nodes that were heard under their own id get in; hearsay does not.

use std::time::Duration;

use crate::id::{Contact, ID_BITS, NodeId};
use crate::time::Instant;

/// A node that we have heard.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Who and where.
    pub contact: Contact,
    /// When it was last heard.
    pub heard: Instant,
    /// Smoothed round trip in microseconds, where one was measured.
    pub rtt_us: Option<u32>,
    /// Questions in a row that it left unanswered.
    pub failures: u8,
}

impl Entry {
    fn hear(&mut self, now: Instant, contact: Contact, rtt_us: Option<u32>) {
        self.contact = contact;
        self.heard = now;
        self.failures = 0;
        self.rtt_us = match (self.rtt_us, rtt_us) {
            // The smoothing of RFC 6298: an eighth of the new sample.
            (Some(old), Some(new)) => Some(((u64::from(old) * 7 + u64::from(new)) / 8) as u32),
            (old, new) => new.or(old),
        };
    }
}

#[derive(Clone, Debug, Default)]
struct Bucket {
    entries: Vec<Entry>,
    replacements: Vec<Entry>,
    used: Instant,
    swapped: Option<Instant>,
}

/// The bounds of a table; see [`super::Config`].
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Contacts in a bucket.
    pub k: usize,
    /// Contacts waiting for a place in a bucket.
    pub replacements_max: usize,
    /// Unanswered questions until a contact goes.
    pub failures_max: u8,
    /// How often a bucket may let in a nearer contact.
    pub swap_interval: Duration,
}

/// All buckets. See the module's text.
#[derive(Clone, Debug)]
pub struct Table {
    me: NodeId,
    bounds: Bounds,
    buckets: Vec<Bucket>,
}

impl Table {
    /// An empty table around our own id.
    #[must_use]
    pub fn new(me: NodeId, bounds: Bounds) -> Self {
        Self { me, bounds, buckets: Vec::new() }
    }

    fn index(&self, id: NodeId) -> Option<usize> {
        let bits = self.me.common_bits(id);
        (bits < ID_BITS).then_some(bits as usize)
    }

    /// A node was heard under its own id; `rtt_us` where it answered a question of ours. Gives the contact of its
    /// bucket that was silent for longest where the bucket is full.
    pub fn hear(&mut self, now: Instant, contact: Contact, rtt_us: Option<u32>) -> Option<Contact> {
        let bounds = self.bounds;
        let index = self.index(contact.id)?;
        if self.buckets.len() <= index {
            self.buckets.resize_with(index + 1, || Bucket { used: now, ..Bucket::default() });
        }
        let bucket = &mut self.buckets[index];
        if let Some(entry) = bucket.entries.iter_mut().find(|e| e.contact.id == contact.id) {
            entry.hear(now, contact, rtt_us);
            return None;
        }
        let known = bucket.replacements.iter().position(|e| e.contact.id == contact.id);
        let mut entry = match known {
            Some(i) => bucket.replacements.remove(i),
            None => Entry { contact, heard: now, rtt_us: None, failures: 0 },
        };
        entry.hear(now, contact, rtt_us);
        if bucket.entries.len() < bounds.k {
            bucket.entries.push(entry);
            return None;
        }
        let failing = bucket.entries.iter().position(|e| e.failures > 0);
        if let Some(at) = failing.or_else(|| bucket.slower_than(&entry, now, bounds.swap_interval)) {
            if failing.is_none() {
                bucket.swapped = Some(now);
            }
            entry = std::mem::replace(&mut bucket.entries[at], entry);
        }
        if entry.failures == 0 {
            bucket.replacements.push(entry);
            if bucket.replacements.len() > bounds.replacements_max {
                bucket.replacements.remove(0);
            }
        }
        bucket.entries.iter().min_by_key(|e| e.heard).map(|e| e.contact)
    }

    /// A question to this node was left unanswered. True where it was thrown out for that.
    pub fn fail(&mut self, id: NodeId) -> bool {
        let failures_max = self.bounds.failures_max;
        let Some(bucket) = self.index(id).and_then(|i| self.buckets.get_mut(i)) else { return false };
        let Some(at) = bucket.entries.iter().position(|e| e.contact.id == id) else {
            bucket.replacements.retain(|e| e.contact.id != id);
            return false;
        };
        let entry = &mut bucket.entries[at];
        entry.failures = entry.failures.saturating_add(1);
        if entry.failures >= failures_max || !bucket.replacements.is_empty() {
            bucket.take_out(at);
            return true;
        }
        false
    }

    /// Throws a node out. True where it was in a bucket.
    pub fn remove(&mut self, id: NodeId) -> bool {
        let Some(bucket) = self.index(id).and_then(|i| self.buckets.get_mut(i)) else { return false };
        bucket.replacements.retain(|e| e.contact.id != id);
        match bucket.entries.iter().position(|e| e.contact.id == id) {
            Some(at) => {
                bucket.take_out(at);
                true
            }
            None => false,
        }
    }

    /// What is known of a node that is in a bucket.
    #[must_use]
    pub fn get(&self, id: NodeId) -> Option<&Entry> {
        self.buckets.get(self.index(id)?)?.entries.iter().find(|e| e.contact.id == id)
    }

    /// The nodes nearest to a point that leave no question unanswered, nearest first.
    #[must_use]
    pub fn closest(&self, point: NodeId, count: usize) -> Vec<&Entry> {
        let mut found: Vec<&Entry> = Vec::with_capacity(count * 2);
        let at = (self.me.common_bits(point) as usize).min(self.buckets.len());
        // Nodes of bucket `at` and of those behind it are nearer than all of the buckets before it; from there on
        // each bucket is farther than the one after it.
        let mut from = found.len();
        found.extend(self.buckets.get(at).into_iter().flat_map(Bucket::sound));
        sort(&mut found[from..], point);
        if found.len() < count {
            from = found.len();
            found.extend(self.buckets.iter().skip(at + 1).flat_map(Bucket::sound));
            sort(&mut found[from..], point);
        }
        for bucket in self.buckets[..at].iter().rev() {
            if found.len() >= count {
                break;
            }
            from = found.len();
            found.extend(bucket.sound());
            sort(&mut found[from..], point);
        }
        found.truncate(count);
        found
    }

    /// A lookup went through the bucket of this point.
    pub fn touch(&mut self, now: Instant, point: NodeId) {
        let Some(last) = self.buckets.len().checked_sub(1) else { return };
        let index = self.index(point).unwrap_or(last).min(last);
        self.buckets[index].used = now;
    }

    /// When a lookup last went through each bucket, from the farthest bucket to the nearest.
    pub fn used(&self) -> impl Iterator<Item = Instant> + '_ {
        self.buckets.iter().map(|b| b.used)
    }

    /// All contacts, from the farthest bucket to the nearest.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.buckets.iter().flat_map(|b| &b.entries)
    }

    /// Leading bits that nodes nearer than the bucket's share of neighbours have in common with us at least: a rough
    /// logarithm to base 2 of the number of nodes. None where too few are known to say.
    #[must_use]
    pub fn size_bits(&self) -> Option<u32> {
        const SAMPLE: usize = 8;
        let nearest = self.closest(self.me, SAMPLE);
        let farthest = nearest.get(SAMPLE - 1)?;
        Some(self.me.common_bits(farthest.contact.id) + SAMPLE.ilog2())
    }
}

fn sort(entries: &mut [&Entry], point: NodeId) {
    entries.sort_unstable_by_key(|e| e.contact.id.distance(point));
}

impl Bucket {
    fn sound(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|e| e.failures == 0)
    }

    fn take_out(&mut self, at: usize) {
        self.entries.remove(at);
        // The one that was heard last is the likeliest to be there.
        let freshest = (0..self.replacements.len()).max_by_key(|&i| self.replacements[i].heard);
        if let Some(i) = freshest {
            self.entries.push(self.replacements.remove(i));
        }
    }

    /// The slowest entry, where it takes more than twice the newcomer's time. Rarely, so that a stranger who is near
    /// cannot drive out the old and proven ones one after the other.
    fn slower_than(&self, newcomer: &Entry, now: Instant, interval: Duration) -> Option<usize> {
        let rtt = newcomer.rtt_us?;
        if self.swapped.is_some_and(|at| now.since(at) < interval) {
            return None;
        }
        let measured = (0..self.entries.len()).filter_map(|i| Some((self.entries[i].rtt_us?, i)));
        measured.max().filter(|(slowest, _)| *slowest / 2 > rtt).map(|(_, i)| i)
    }
}
