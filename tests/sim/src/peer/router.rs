//! What an ultrapeer, or a peer of a flat network, needs beyond a leaf. Routes, pong cache and the steps of dynamic
//! queries are the product's own.

use std::time::Duration;

use avp::Instant;
use avp::application::dynamic_query::DynamicQuery;
use avp::application::routes::{QueryRoute, Routes};
use avp::cache::pong::PongCache;
use avp::gnutella::qrp::Table;
use avp::tables::GuidHasher;

use super::Link;
use super::links::Other;
use super::tables::{LOG2, Together};
use crate::engine::SECOND;
use crate::world::World;

/// Entries in one of the two generations of routes.
const ROUTES_MAX: usize = 20_000;
/// Age of a generation.
const ROUTES_AGE: Duration = Duration::from_secs(300);
/// Dynamic queries under way.
const DYNAMIC_MAX: usize = 200;
/// From one look whether the table has changed to the next, in nanoseconds.
pub(super) const PUBLISH_INTERVAL: u64 = 240 * SECOND;

#[derive(Debug)]
pub(super) struct Router {
    /// Where answers to searches go.
    pub(super) queries: Routes<QueryRoute>,
    /// Where pongs go, where they are not cached.
    pub(super) pings: Routes<QueryRoute>,
    pub(super) pongs: PongCache,
    pub(super) leaves: Together,
    /// What neighbours were told.
    pub(super) published: Table,
    pub(super) dynamic: Vec<DynamicQuery>,
    /// When the next step of one is due, as far as a timer was asked for.
    pub(super) dynamic_timer: Option<Instant>,
}

impl Router {
    pub(super) fn new(world: &mut World) -> Self {
        let now = world.now();
        let hasher = GuidHasher::new(world.dice.rng());
        let routes = || Routes::new(hasher, ROUTES_MAX, ROUTES_AGE, now);
        Self {
            queries: routes(),
            pings: routes(),
            pongs: PongCache::default(),
            leaves: Together::new(),
            published: Table::new(LOG2),
            dynamic: Vec::new(),
            dynamic_timer: None,
        }
    }

    pub(super) fn tick(&mut self, now: Instant) {
        self.queries.tick(now);
        self.pings.tick(now);
    }

    pub(super) fn has_room_for_dynamic(&self) -> bool {
        self.dynamic.len() < DYNAMIC_MAX
    }

    /// A link is gone.
    pub(super) fn forget(&mut self, link: &Link) {
        if let (Other::Leaf, Some(table)) = (link.what, &link.table) {
            self.leaves.remove(table);
        }
    }

    pub(super) fn overfull(&self) -> Option<String> {
        let tables = [
            ("query routes", self.queries.len(), 2 * ROUTES_MAX),
            ("ping routes", self.pings.len(), 2 * ROUTES_MAX),
            ("dynamic queries", self.dynamic.len(), DYNAMIC_MAX),
        ];
        let over = tables.into_iter().find(|(_, len, max)| len > max);
        over.map(|(name, len, max)| format!("{name}: {len} of {max}"))
    }
}
