//! Joining, watching the neighbours, refreshing the table, keeping records alive.

use std::time::Duration;

use rand_chacha::rand_core::Rng;

use super::lookup::{Goal, LookupId};
use super::message::Body;
use super::{Busy, Dht, Key, Purpose, SEEDS_MAX, Timer};
use crate::id::{Contact, NodeId};
use crate::time::Instant;

/// Every so many rounds of watching the neighbours we look for ourselves, to hear of neighbours unknown to us.
const SELF_LOOKUP_ROUNDS: u32 = 8;
/// Refreshes are spread over the interval in so many steps.
const REFRESH_STEPS: u32 = 32;
/// How often records that have run out are thrown away.
const EXPIRE_INTERVAL: Duration = Duration::from_secs(60);

impl Dht {
    /// Joins the network through nodes that are in it. Their identities must be known: connect first. Repeated by
    /// itself until one of them answers; at most 64 are remembered.
    pub fn join(&mut self, now: Instant, seeds: &[Contact]) {
        self.seeds = seeds.iter().filter(|s| s.id != self.me.id).take(SEEDS_MAX).copied().collect();
        self.look_for_self(now);
    }

    /// Publishes that we hold what `key` stands for, and again every `republish_interval` until [`Self::withdraw`].
    /// [`super::Outcome::Published`] follows each time, under a new id after the first.
    ///
    /// # Errors
    /// Where `published_max` records are published or `lookups_max` lookups under way.
    pub fn publish(&mut self, now: Instant, key: Key) -> Result<LookupId, Busy> {
        let max = self.config.published_max;
        if self.published.len() >= max && !self.published.contains(&key) {
            return Err(Busy { what: "published_max", max });
        }
        let lookup = self.publish_once(now, key)?;
        if self.published.insert(key) {
            let again = self.jittered(self.config.republish_interval);
            self.timers.insert((now + again, Timer::Republish(key)));
        }
        Ok(lookup)
    }

    /// Stops publishing a record. Copies elsewhere are taken back where they are likely to be.
    pub fn withdraw(&mut self, now: Instant, key: Key) {
        if self.published.remove(&key) {
            self.timers.retain(|(_, timer)| *timer != Timer::Republish(key));
            self.records.withdraw(key.point(), self.me.id);
            for node in self.closest(key.point(), self.config.replicas) {
                self.ask(now, node, Body::Store { point: key.point(), seconds: 0 }, Purpose::Store);
            }
        }
    }

    /// Does what is due by now.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(at, timer)) = self.timers.first() {
            if at > now {
                break;
            }
            self.timers.pop_first();
            match timer {
                Timer::Question(transaction) => self.question_due(now, transaction),
                Timer::Join => self.look_for_self(now),
                Timer::Neighbours => self.watch_neighbours(now),
                Timer::FirstRefresh(bucket) => self.refresh(now, bucket),
                Timer::Refresh => self.refresh_oldest(now),
                Timer::Republish(key) => self.republish(now, key),
                Timer::Expire => {
                    self.records.expire(now);
                    self.timers.insert((now + EXPIRE_INTERVAL, Timer::Expire));
                }
            }
        }
    }

    pub(super) fn start_timers(&mut self, now: Instant) {
        let neighbours = self.jittered(self.config.neighbour_interval / 2);
        let refresh = self.jittered(self.config.refresh_interval / REFRESH_STEPS);
        self.timers.insert((now + neighbours, Timer::Neighbours));
        self.timers.insert((now + refresh, Timer::Refresh));
        self.timers.insert((now + EXPIRE_INTERVAL, Timer::Expire));
    }

    /// Three quarters to five quarters of a time, so that nodes that started together do not act together.
    fn jittered(&mut self, time: Duration) -> Duration {
        let share = self.rng.next_u32() % 512;
        time * 3 / 4 + time * share / 1024
    }

    fn look_for_self(&mut self, now: Instant) {
        let running = self.lookups.values().any(|l| l.goal == Goal::Join);
        if !running && self.start(now, Goal::Join, self.me.id, self.config.k).is_err() {
            self.timers.insert((now + self.config.join_retry, Timer::Join));
        }
    }

    /// A lookup for ourselves is over.
    pub(super) fn joined(&mut self, now: Instant, answered: bool) {
        if !answered {
            if !self.seeds.is_empty() {
                self.timers.insert((now + self.config.join_retry, Timer::Join));
            }
            return;
        }
        self.size_bits = self.table.size_bits();
        if !self.joined {
            self.joined = true;
            for bucket in 0..self.refreshed_buckets() {
                let spread = self.config.join_spread * (self.rng.next_u32() % 1024) / 1024;
                self.timers.insert((now + spread, Timer::FirstRefresh(bucket)));
            }
        }
    }

    /// Buckets that looking for ourselves does not fill: those with more nodes than one answer holds.
    fn refreshed_buckets(&self) -> u32 {
        let all = self.table.used().count() as u32;
        let own = self.config.k.ilog2();
        self.size_bits.map_or(all, |bits| all.min((bits + 1).saturating_sub(own)))
    }

    fn refresh(&mut self, now: Instant, bucket: u32) {
        let noise = *self.random_point().as_bytes();
        let point = self.me.id.branch(bucket, noise);
        // Where too many lookups are under way, those do the same service.
        if self.start(now, Goal::Refresh, point, self.config.alpha).is_err() {
            self.table.touch(now, point);
        }
    }

    fn refresh_oldest(&mut self, now: Instant) {
        let step = self.jittered(self.config.refresh_interval / REFRESH_STEPS);
        self.timers.insert((now + step, Timer::Refresh));
        let among = self.refreshed_buckets() as usize;
        let oldest = self.table.used().take(among).zip(0..).min();
        if let Some((used, bucket)) = oldest
            && now.since(used) > self.config.refresh_interval
        {
            self.refresh(now, bucket);
        }
    }

    fn watch_neighbours(&mut self, now: Instant) {
        let round = self.jittered(self.config.neighbour_interval / 2);
        self.timers.insert((now + round, Timer::Neighbours));
        self.size_bits = self.table.size_bits();
        let quiet = self.config.neighbour_interval * 3 / 4;
        let nearest = self.table.closest(self.me.id, self.config.neighbours);
        let silent: Vec<Contact> =
            nearest.into_iter().filter(|e| now.since(e.heard) > quiet).map(|e| e.contact).collect();
        for node in silent {
            self.ping(now, node);
        }
        self.rounds = self.rounds.wrapping_add(1);
        if self.rounds.is_multiple_of(SELF_LOOKUP_ROUNDS) && self.joined {
            self.look_for_self(now);
        }
    }

    /// A node did not answer or cannot be reached.
    pub(super) fn lost(&mut self, now: Instant, id: NodeId) {
        let near = self.table.closest(self.me.id, self.config.neighbours);
        let farthest = near.last().map(|e| e.contact.id.distance(self.me.id));
        let was_near = farthest.is_none_or(|far| id.distance(self.me.id) <= far);
        if self.table.fail(id) && was_near && self.joined {
            self.look_for_self(now);
        }
    }

    fn publish_once(&mut self, now: Instant, key: Key) -> Result<LookupId, Busy> {
        let lookup = self.start(now, Goal::Publish(key), key.point(), self.config.replicas)?;
        self.records.store(now, key.point(), self.me, self.config.record_ttl);
        Ok(lookup)
    }

    fn republish(&mut self, now: Instant, key: Key) {
        let again = match self.publish_once(now, key) {
            Ok(_) => self.config.republish_interval,
            Err(Busy { .. }) => self.config.join_retry,
        };
        let again = self.jittered(again);
        self.timers.insert((now + again, Timer::Republish(key)));
    }

    /// Sends our record to the nodes that are to keep it. Gives how many.
    pub(super) fn spread(&mut self, now: Instant, key: Key, nodes: &[Contact]) -> usize {
        let seconds = u32::try_from(self.config.record_ttl.as_secs()).unwrap_or(u32::MAX);
        for node in nodes {
            self.ask(now, *node, Body::Store { point: key.point(), seconds }, Purpose::Store);
        }
        nodes.len()
    }
}
