//! What an ultrapeer, or a peer of a flat network, needs beyond a leaf. Pong cache and the steps of dynamic queries are
//! the product's own; which searches it has seen is in [`crate::world::floods`].

use std::time::Duration;

use avp::Instant;
use avp::application::dynamic_query::DynamicQuery;
use avp::application::routes::{QueryRoute, Routes};
use avp::cache::pong::PongCache;
use avp::gnutella::qrp::Table;
use avp::tables::GuidHasher;

use super::Link;
use super::tables::{LOG2, Tables};
use crate::engine::{Dice, SECOND};
use crate::world::Shard;
use crate::world::floods::{Flood, Route};

/// Entries in one of the two generations of routes of pings.
const ROUTES_MAX: usize = 20_000;
/// Age of a generation.
const ROUTES_AGE: Duration = Duration::from_secs(300);
/// Dynamic queries under way.
const DYNAMIC_MAX: usize = 200;
/// From one look whether the table has changed to the next, in nanoseconds.
pub(super) const PUBLISH_INTERVAL: u64 = 240 * SECOND;

#[derive(Debug)]
pub(super) struct Router {
    /// Its number among routers.
    pub(super) number: u32,
    /// How many links there were when its life began.
    pub(super) born: u32,
    /// Where pongs go, where they are not cached.
    pub(super) pings: Routes<QueryRoute>,
    pub(super) pongs: PongCache,
    /// What relations have told that they have.
    pub(super) tables: Tables,
    /// What neighbours were told.
    pub(super) published: Table,
    pub(super) dynamic: Vec<DynamicQuery>,
    /// When the next step of one is due, as far as a timer was asked for.
    pub(super) dynamic_timer: Option<Instant>,
}

impl Router {
    pub(super) fn new(world: &Shard, number: u32) -> Self {
        // A stream of its own: how many keys a hasher takes changes nothing else.
        let preset = &world.setup.preset;
        let hasher = GuidHasher::new(Dice::new(world.setup.seed, "hash keys").rng());
        Self {
            number,
            born: world.links,
            pings: Routes::new(hasher, ROUTES_MAX, ROUTES_AGE, world.now()),
            pongs: PongCache::default(),
            tables: Tables::new(preset.leaves.into(), (preset.neighbours + preset.neighbours_spare).into()),
            published: Table::new(LOG2),
            dynamic: Vec::new(),
            dynamic_timer: None,
        }
    }

    pub(super) fn tick(&mut self, now: Instant) {
        self.pings.tick(now);
    }

    pub(super) fn has_room_for_dynamic(&self) -> bool {
        self.dynamic.len() < DYNAMIC_MAX
    }

    /// A link is gone.
    pub(super) fn forget(&mut self, link: &Link) {
        if let Some(lane) = link.lane {
            self.tables.remove(lane, &link.told);
        } else if link.is_up() {
            self.tables.part(link.end);
        }
    }

    /// What it remembers of a search.
    pub(super) fn route(&self, flood: &Flood) -> Option<Route> {
        flood.route(self.number, self.born)
    }

    /// Reads what a search needs.
    pub(super) fn glance(&self) -> u32 {
        self.number ^ self.born ^ self.tables.glance()
    }

    pub(super) fn overfull(&self) -> Option<String> {
        let tables = [
            ("ping routes", self.pings.len(), 2 * ROUTES_MAX),
            ("dynamic queries", self.dynamic.len(), DYNAMIC_MAX),
        ];
        let over = tables.into_iter().find(|(_, len, max)| len > max);
        over.map(|(name, len, max)| format!("{name}: {len} of {max}"))
    }
}
