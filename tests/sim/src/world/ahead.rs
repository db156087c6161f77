//! Reads what the events of the next millisecond will read, before they happen.
//!
//! What peers and connections know lies far apart in memory, and an event goes from one thing to the next: to an end, the
//! peer whose it is, its link. Each time the processor would wait for memory, an event after the other. Here all events of a
//! slot of the queue go each step together, so that it waits for all of them at once; when they happen, everything is in its
//! cache. Nothing is changed, and nothing but time depends on it.

use std::hint::black_box;

use avp::gnutella::Guid;

use super::floods::Flood;
use super::shard::Peer;
use super::{Event, Shard};
use crate::internet::place::NodeId;
use crate::peer::Light;

/// Events that are read for at most: what they read fits into the caches.
const EVENTS_MAX: usize = 256;

/// Where an event happens.
struct Place<'a> {
    node: NodeId,
    /// The link that bytes arrive on, as [`super::Keep`] has it.
    index: u32,
    router: u32,
    bytes: &'a [u8],
}

/// What is there.
struct Found<'a> {
    light: Option<&'a Light>,
    flood: Option<&'a Flood>,
}

impl Shard {
    /// Reads for all that is in the slot at hand.
    pub(super) fn read_ahead(&self) {
        let places: Vec<Place<'_>> =
            self.queue.upcoming().take(EVENTS_MAX).filter_map(|event| self.place(event)).collect();
        let found: Vec<Found<'_>> = places.iter().map(|place| self.find(place)).collect();
        // Whatever is read must be used for something.
        let lights = found.iter().filter_map(|found| found.light);
        black_box(lights.fold(0, |sum, light| sum ^ light.glance()));
        let links = found.iter().zip(&places).filter_map(|(found, place)| Some((found.light?, place)));
        black_box(links.fold(0, |sum, (light, place)| sum ^ light.glance_at(place.index)));
        // Of searches that are new to a router, what it will look up.
        let new = |(found, place): (&Found<'_>, &Place<'_>)| {
            let hashes = found.flood.filter(|flood| flood.glance(place.router) == 0)?.first_hashes()?;
            Some(found.light?.glance_for(hashes))
        };
        black_box(found.iter().zip(&places).filter_map(new).fold(0, |sum, rows| sum ^ rows));
    }

    fn place<'a>(&'a self, event: &'a Event) -> Option<Place<'a>> {
        match event {
            Event::Deliver { to, bytes, .. } => {
                let half = self.conns.get(*to)?;
                Some(Place { node: half.node, index: half.keep.index, router: half.keep.router, bytes })
            }
            Event::Timer { node, .. } => {
                Some(Place { node: *node, index: u32::MAX, router: u32::MAX, bytes: &[] })
            }
            _ => None,
        }
    }

    fn find(&self, place: &Place<'_>) -> Found<'_> {
        let slot = &self.slots[(place.node - self.first) as usize];
        let light = match &slot.peer {
            Some(Peer::Light(light)) => Some(&**light),
            _ => None,
        };
        let guid = place.bytes.first_chunk().copied().map(Guid);
        let flood = guid.filter(|_| place.router != u32::MAX).and_then(|guid| self.floods.get(guid));
        Found { light, flood }
    }
}
