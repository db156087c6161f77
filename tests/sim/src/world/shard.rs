//! A part of the world: some peers, what is to happen to them, and what they know. Other shards hear of it by
//! [`mail`](super::mail) alone, so that it may run beside them.

use std::sync::Arc;

use avp::gnutella::qrp::sender::Deflater;
use avp::{Config, Instant};

use super::faults::Weather;
use super::hosts::Hosts;
use super::mail::Parcel;
use super::virtual_peer::Avp;
use super::{Checks, Clock, Conns, Event, Floods, Records, Setup};
use crate::engine::{Dice, Queue};
use crate::internet::Places;
use crate::internet::place::NodeId;
use crate::measure::Ledger;
use crate::peer::told::Memory;
use crate::peer::{Light, Timer};
use crate::workload::Catalogue;
use crate::workload::life::Span;

/// A peer that is here.
#[derive(Debug)]
pub enum Peer {
    /// One of many.
    Light(Box<Light>),
    /// The product.
    Virtual(Box<Avp>),
}

/// A place for a peer.
#[derive(Debug)]
pub struct Slot {
    /// Who is here now.
    pub peer: Option<Peer>,
    /// Whether somebody is here; true as well while that peer is at work.
    pub online: bool,
    /// Counts its lives.
    pub epoch: u32,
    /// Upstream rate in kbit/s.
    pub uplink_kbit_s: u32,
    /// When its uplink will have sent what it was given.
    pub uplink_free: Instant,
    /// The virtual peer's configuration, where this is a virtual peer's place.
    pub config: Option<Box<Config>>,
}

/// What is fixed when a world is made, and all shards know.
#[derive(Debug)]
pub(super) struct Atlas {
    /// The first node of each shard, and the end.
    pub(super) starts: Vec<NodeId>,
    /// Numbers of the places whose peers pass searches on, by node.
    pub(super) routers: Vec<Option<u32>>,
    /// Virtual peers, by system.
    pub(super) domain_peers: Vec<(usize, NodeId)>,
}

impl Atlas {
    /// The shard of a node.
    pub(super) fn shard(&self, node: NodeId) -> usize {
        self.starts.partition_point(|start| *start <= node) - 1
    }
}

/// Some of a world's peers.
#[derive(Debug)]
pub struct Shard {
    /// How the world was made.
    pub setup: Arc<Setup>,
    /// Where everybody is.
    pub places: Arc<Places>,
    /// Which files there are.
    pub catalogue: Arc<Catalogue>,
    pub(super) atlas: Arc<Atlas>,
    /// Its number.
    pub(super) index: usize,
    /// Its first node; the others follow.
    pub(super) first: NodeId,
    pub(super) slots: Vec<Slot>,
    pub(super) queue: Queue<Event>,
    pub(super) conns: Conns,
    /// What it has for each shard.
    pub(super) out: Vec<Parcel>,
    /// Every byte that was sent or received here, since somebody looked.
    pub ledger: Ledger,
    /// What must hold.
    pub checks: Checks,
    /// What was written down since somebody looked.
    pub records: Records,
    pub(super) weather: Weather,
    /// Who has seen which search.
    pub floods: Floods,
    /// What has become of routing tables.
    pub told: Arc<Memory>,
    /// Compresses those that are sent.
    pub deflater: Deflater,
    /// Counts the links of light peers: each has a number of its own.
    pub links: u32,
    /// Hosts that newcomers are told of; those of other shards as far as one has heard.
    pub(super) hosts: Hosts,
    /// Chance of comings and goings.
    pub(super) crowd_dice: Dice,
    /// Chance of the transport: losses, disorder.
    pub(super) transport_dice: Dice,
    /// Chance of what peers do.
    pub dice: Dice,
}

impl Shard {
    /// The present.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.queue.now()
    }

    /// Places for peers in the whole world, whether somebody is there or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether this is a virtual peer's place.
    #[must_use]
    pub fn is_virtual(&self, node: NodeId) -> bool {
        self.atlas.domain_peers.iter().any(|(_, n)| *n == node)
    }

    /// The number of a place's peer among those who pass searches on.
    #[must_use]
    pub fn router_number(&self, node: NodeId) -> Option<u32> {
        self.atlas.routers[node as usize]
    }

    /// Its nodes.
    pub(super) fn nodes(&self) -> std::ops::Range<NodeId> {
        self.first..self.first + self.slots.len() as NodeId
    }

    /// The place of one of its nodes.
    pub(super) fn slot(&mut self, node: NodeId) -> &mut Slot {
        &mut self.slots[(node - self.first) as usize]
    }

    /// Everybody who is here.
    pub fn peers(&self) -> impl Iterator<Item = (NodeId, &Peer)> {
        self.nodes().zip(&self.slots).filter_map(|(n, s)| Some((n, s.peer.as_ref()?)))
    }

    /// All light peers that are here.
    pub fn light(&self) -> impl Iterator<Item = (NodeId, &Light)> {
        self.peers().filter_map(|(n, p)| match p {
            Peer::Light(light) => Some((n, &**light)),
            Peer::Virtual(_) => None,
        })
    }

    /// All virtual peers that are here.
    pub fn virtual_peers(&self) -> impl Iterator<Item = (NodeId, &Avp)> {
        self.peers().filter_map(|(n, p)| match p {
            Peer::Virtual(avp) => Some((n, &**avp)),
            Peer::Light(_) => None,
        })
    }

    /// Lets everything happen up to a time, included.
    pub(super) fn run_until(&mut self, until: Instant) {
        loop {
            if self.queue.turn(until) {
                self.read_ahead();
            }
            let Some(event) = self.queue.pop(until) else { return };
            self.records.events += 1;
            self.happen(event);
        }
    }

    /// Lets time pass up to here, when everything has happened.
    pub(super) fn rest_until(&mut self, until: Instant) {
        self.queue.rest_until(until);
    }

    /// A peer's clock.
    #[must_use]
    pub fn clock(&self, node: NodeId) -> Clock {
        self.weather.clock(node)
    }

    /// Asks for a timer in so many nanoseconds: of the peer's clock, but for [`Timer::Wake`], which a virtual peer has
    /// worked out from its own.
    pub fn timer(&mut self, node: NodeId, after: u64, timer: Timer) {
        let after = match timer {
            Timer::Wake => after,
            _ => self.clock(node).takes(after, self.now()),
        };
        let after = self.weather.stretch(node, after);
        let epoch = self.slot(node).epoch;
        self.queue.push(Instant(self.now().0.saturating_add(after)), Event::Timer { node, epoch, timer });
    }

    /// Lets something happen to a node, of this shard or another.
    pub(super) fn post(&mut self, node: NodeId, at: Instant, event: Event) {
        match self.atlas.shard(node) {
            shard if shard == self.index => self.queue.push(at, event),
            shard => self.out[shard].event(at, event),
        }
    }

    /// What all other shards are to hear.
    pub(super) fn tell_all(&mut self, tell: impl Fn(&mut Parcel)) {
        let own = self.index;
        self.out.iter_mut().enumerate().filter(|(n, _)| *n != own).for_each(|(_, parcel)| tell(parcel));
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver { to, bytes, search } => self.deliver(to, &bytes, search),
            Event::Timer { node, epoch, timer } => {
                if self.slot(node).epoch == epoch {
                    self.with(node, |shard, peer| match peer {
                        Peer::Light(light) => light.timer(shard, timer),
                        Peer::Virtual(avp) => avp.timer(shard, timer),
                    });
                }
            }
            Event::Arrive { to, from, far } => self.arrive(to, from, far),
            Event::Established { to, far } => self.established(to, far),
            Event::Closed { to, reason, failed } => self.learn_closed(to, reason, failed),
            Event::Writable { to } => {
                if let Some(node) = self.conns.open_at(to) {
                    self.with(node, |shard, peer| {
                        if let Peer::Virtual(avp) = peer {
                            avp.writable(shard, to);
                        }
                    });
                }
            }
            Event::Datagram { to, from, bytes } => self.with(to, |shard, peer| {
                if let Peer::Virtual(avp) = peer {
                    avp.datagram(shard, from, &bytes);
                }
            }),
            Event::Come(node) => self.come(node, None),
            Event::Go(node, epoch) => {
                if self.slot(node).epoch == epoch {
                    self.go(node);
                }
            }
            Event::Fault(index, begins) => self.fault(index, begins),
        }
    }

    /// Lets a peer do something with the shard that it is taken out of for as long.
    pub(super) fn with(&mut self, node: NodeId, act: impl FnOnce(&mut Self, &mut Peer)) {
        let Some(mut peer) = self.slot(node).peer.take() else { return };
        act(self, &mut peer);
        // It may have left by what it did.
        let slot = self.slot(node);
        if slot.online {
            slot.peer = Some(peer);
        }
    }

    /// Brings a peer here now, as a life of this length, or one that the preset draws.
    pub fn bring(&mut self, node: NodeId, span: Option<Span>) {
        self.come(node, span);
    }
}
