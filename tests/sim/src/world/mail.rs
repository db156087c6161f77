//! What one shard has for another until the next time that they meet.
//!
//! Within a shard most copies of a flood are thrown away when they are sent, since their receiver knows the search by
//! then. Those for another shard are thrown away when they are taken in.

use std::sync::Arc;

use avp::Instant;
use avp::gnutella::Guid;

use super::{Bytes, End, Event, Shard};
use crate::internet::place::NodeId;

/// Bytes for an end.
#[derive(Debug)]
struct Delivery {
    at: Instant,
    to: End,
    /// Which of the parcel's payloads.
    payload: u32,
    /// Whether it is a search that was not sent on this connection before.
    search: bool,
}

/// Everything that a shard has for another.
#[derive(Debug, Default)]
pub(super) struct Parcel {
    payloads: Vec<Bytes>,
    deliveries: Vec<Delivery>,
    events: Vec<(Instant, Event)>,
    /// Hosts that were announced (true) or withdrawn.
    hosts: Vec<(NodeId, bool)>,
    /// Searches that nobody is expected to treat as the rules say.
    tainted: Vec<u64>,
}

impl Parcel {
    /// Bytes that arrive at an end.
    pub(super) fn deliver(&mut self, at: Instant, to: End, bytes: &Bytes, search: bool) {
        // A message to many is one payload.
        if self.payloads.last().is_none_or(|last| !Arc::ptr_eq(last, bytes)) {
            self.payloads.push(bytes.clone());
        }
        let payload = self.payloads.len() as u32 - 1;
        self.deliveries.push(Delivery { at, to, payload, search });
    }

    /// Something else that happens.
    pub(super) fn event(&mut self, at: Instant, event: Event) {
        self.events.push((at, event));
    }

    /// A host is announced or withdrawn.
    pub(super) fn host(&mut self, node: NodeId, here: bool) {
        self.hosts.push((node, here));
    }

    /// A search is from somebody who keeps to no rule.
    pub(super) fn taint(&mut self, search: u64) {
        self.tainted.push(search);
    }
}

impl Shard {
    /// Takes in what another shard has sent, which happens from now on. Data comes before what else there is, so that a
    /// connection's end comes after what was sent on it.
    pub(super) fn take_in(&mut self, parcel: &mut Parcel) {
        self.conns.read_ahead(parcel.deliveries.iter().map(|delivery| delivery.to));
        let mut flood = (u32::MAX, None);
        for Delivery { at, to, payload, search } in parcel.deliveries.drain(..) {
            let bytes = &parcel.payloads[payload as usize];
            if search && flood.0 != payload {
                let guid = bytes.first_chunk().copied().map(Guid);
                flood = (payload, guid.and_then(|guid| self.floods.get(guid)));
            }
            if let Some(flood) = flood.1.filter(|_| search)
                && let Some(half) = self.conns.get_open(to)
                && flood.route(half.keep.router, half.keep.born).is_some()
            {
                half.heard = half.heard.max(at);
                self.ledger.delivered_bytes += bytes.len() as u64;
                continue;
            }
            self.queue.push(at, Event::Deliver { to, bytes: bytes.clone(), search });
        }
        parcel.payloads.clear();
        for (at, event) in parcel.events.drain(..) {
            self.queue.push(at, event);
        }
        for (node, here) in parcel.hosts.drain(..) {
            if here {
                self.hosts.insert(node)
            } else {
                self.hosts.remove(node)
            };
        }
        for search in parcel.tainted.drain(..) {
            self.checks.taint(self.queue.now(), search);
        }
    }
}
