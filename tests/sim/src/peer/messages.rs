//! Pings, pongs, routing tables, and who gets what.

use std::net::SocketAddrV4;

use avp::application::routes::LinkId;
use avp::gnutella::ping::{self, CachedPongs, Ping};
use avp::gnutella::pong::{Extensions, Pong, Ultrapeer};
use avp::gnutella::qrp::{Table, sender};
use avp::gnutella::{Guid, HEADER_LEN, Header, Kind};

use super::links::Other;
use super::router::PUBLISH_INTERVAL;
use super::tables::LOG2;
use super::{Light, Role, Timer};
use crate::engine::SECOND;
use crate::internet::place::{address, node_at};
use crate::world::{Bytes, Shard};

/// TTL of a pong from a cache.
const PONG_TTL: u8 = 7;
/// Hosts in a pong.
const PACKED_MAX: usize = 10;
/// Longest payload that is read.
const PAYLOAD_MAX: u32 = 64 * 1024;

/// A message as it is sent. Most are short: they are put together where no memory is to be asked for.
pub(super) fn message(header: Header, payload: &[u8]) -> Bytes {
    let len = HEADER_LEN + payload.len();
    let mut short = [0; 256];
    let Some(short) = short.get_mut(..len) else { return header.frame(payload).into() };
    let (head, rest) = short.split_at_mut(HEADER_LEN);
    head.copy_from_slice(&Header { len: payload.len() as u32, ..header }.encode());
    rest.copy_from_slice(payload);
    Bytes::from(&*short)
}

impl Light {
    /// The name under which routes know a link: its serial number, since its place may change.
    pub(super) fn link_id(&self, n: usize) -> LinkId {
        LinkId { index: self.links[n].serial, serial: 0 }
    }

    pub(super) fn by_id(&self, id: LinkId) -> Option<usize> {
        self.links.iter().position(|l| l.serial == id.index && l.is_up())
    }

    /// Takes messages: what `bytes` has from `from` on.
    pub(super) fn messages(&mut self, world: &mut Shard, n: usize, bytes: &Bytes, from: usize) {
        let mut rest = &bytes[from..];
        let serial = self.links[n].serial;
        while !rest.is_empty() {
            let whole = Header::parse(rest)
                .filter(|h| h.len <= PAYLOAD_MAX)
                .and_then(|h| Some((h, rest.split_at_checked(HEADER_LEN + h.len as usize)?)));
            // A link that a message has ended is not there any more, and another may have its place.
            let here = self.links.get(n).is_some_and(|l| l.serial == serial);
            let Some((header, (message, next))) = whole.filter(|_| here) else {
                if here {
                    self.end_link(world, n);
                }
                return;
            };
            rest = next;
            self.message(world, n, header, bytes, &message[HEADER_LEN..]);
        }
    }

    fn message(&mut self, world: &mut Shard, n: usize, header: Header, bytes: &Bytes, payload: &[u8]) {
        match header.kind {
            Kind::QUERY => self.query(world, n, header, payload),
            Kind::QUERY_HIT => self.hit(world, n, header, payload),
            Kind::PING => self.ping(world, n, header, payload),
            Kind::PONG => self.pong(world, n, header, payload),
            Kind::QRP => self.table_update(world, n, bytes, payload),
            Kind::BYE => self.end_link(world, n),
            _ => {}
        }
    }

    /// Sends one message to some links.
    pub(super) fn send_to(&self, world: &mut Shard, to: impl Iterator<Item = usize>, bytes: &Bytes) {
        to.for_each(|n| {
            world.send(self.links[n].end, bytes);
        });
    }

    fn own_message(&self, world: &mut Shard, kind: Kind, ttl: u8, payload: &[u8]) -> Bytes {
        let guid = Guid::random(world.dice.rng());
        message(Header { guid, kind, ttl, hops: 0, len: 0 }, payload)
    }

    /// What a new relation begins with.
    pub(super) fn introduce(&mut self, world: &mut Shard, n: usize) {
        let end = self.links[n].end;
        match self.links[n].what {
            Other::Parent => {
                for bytes in self.table_messages(world) {
                    world.send(end, &bytes);
                }
                self.ask_for_pongs(world, Some(n));
            }
            Other::Neighbour => {
                for bytes in self.published_messages(world) {
                    world.send(end, &bytes);
                }
                self.ask_for_pongs(world, Some(n));
            }
            Other::Leaf | Other::Unknown => {}
        }
    }

    /// Asks one neighbour, or all of them, for hosts: with one hop where pongs have many, with all where they come one
    /// by one.
    fn ask_for_pongs(&mut self, world: &mut Shard, whom: Option<usize>) {
        let now = world.now();
        let flat = self.role == Role::Flat;
        let payload =
            if flat { Vec::new() } else { ping::asking_for_hosts(CachedPongs::new(CachedPongs::ULTRA)) };
        let ttl = if self.role == Role::Leaf { 1 } else { world.setup.preset.ttl };
        let bytes = self.own_message(world, Kind::PING, ttl, &payload);
        for n in (0..self.links.len()).filter(|n| whom.is_none_or(|w| w == *n)) {
            if self.links[n].is_up() {
                self.links[n].pinged = now;
                world.send(self.links[n].end, &bytes);
            }
        }
    }

    /// Pings who was silent, and asks neighbours for pongs where it is time.
    pub(super) fn ping_silent(&mut self, world: &mut Shard, silent: u64) {
        let (clock, now) = (world.clock(self.node), world.now());
        let every = u64::from(world.setup.preset.ping_s) * SECOND;
        for n in 0..self.links.len() {
            let link = &self.links[n];
            if !link.is_up() {
                continue;
            }
            if link.what == Other::Neighbour && clock.since(link.pinged, now) > every {
                self.ask_for_pongs(world, if self.role == Role::Flat { None } else { Some(n) });
            } else if clock.since(link.heard(world), now) > silent {
                let bytes = self.own_message(world, Kind::PING, 1, &[]);
                world.send(self.links[n].end, &bytes);
            }
        }
    }

    fn own_pong(&self, world: &Shard, wanted: Option<CachedPongs>) -> Vec<u8> {
        let mut extensions = Vec::new();
        if self.role == Role::Ultrapeer {
            let preset = &world.setup.preset;
            let free = |what, most: u16| usize::from(most).saturating_sub(self.count(what)).min(255) as u8;
            let up = Ultrapeer {
                version: 1,
                leaf_slots: free(Other::Leaf, preset.leaves),
                ultra_slots: free(Other::Neighbour, self.want + preset.neighbours_spare),
            };
            let packed = if wanted.is_some() { PACKED_MAX } else { 0 };
            let hosts: Vec<SocketAddrV4> =
                self.hosts.iter().rev().take(packed).map(|h| address(*h)).collect();
            extensions = Extensions::new().ultrapeer(up).packed_hosts(&hosts).finish();
        }
        let files = self.files().len() as u32;
        Pong { addr: address(self.node), files, kbytes: files * 4_096, extensions: &extensions }.encode()
    }

    fn ping(&mut self, world: &mut Shard, n: usize, header: Header, payload: &[u8]) {
        let preset_caching = world.setup.preset.pong_caching;
        let id = self.link_id(n);
        let now = self.time(world);
        if let Some(router) = &mut self.router
            && !preset_caching
            && header.ttl > 1
            && router.pings.learn_query(now, header.guid, id, header.ttl).is_some()
        {
            return;
        }
        let wanted = Ping::parse(payload).cached_pongs();
        let own = self.own_pong(world, wanted);
        let ttl = if preset_caching { PONG_TTL } else { header.hops + 1 };
        let pong = Header { guid: header.guid, kind: Kind::PONG, ttl, hops: 0, len: 0 };
        world.send(self.links[n].end, &message(pong, &own));
        if header.ttl <= 1 {
            return;
        }
        let Some(router) = &mut self.router else { return };
        if preset_caching {
            let mut answers = Vec::new();
            let asker = Some(address(self.links[n].other));
            router.pongs.answer(now, header.ttl, asker, world.dice.rng(), |hops, payload| {
                let ttl = PONG_TTL.saturating_sub(hops).max(1);
                answers.push(message(Header { ttl, hops, ..pong }, payload));
            });
            for answer in answers {
                world.send(self.links[n].end, &answer);
            }
        } else if let Some(next) = header.forwarded() {
            let bytes = message(next, payload);
            let others = (0..self.links.len()).filter(|m| *m != n && self.links[*m].is_up());
            self.send_to(world, others, &bytes);
        }
    }

    fn pong(&mut self, world: &mut Shard, n: usize, header: Header, payload: &[u8]) {
        let Some(pong) = Pong::parse(payload) else { return };
        let now = self.time(world);
        let places = world.len();
        for host in pong.packed_hosts() {
            if let Some(node) = node_at(host.into(), places) {
                self.hear_of(world, node);
            }
        }
        let takes_relations = self.role == Role::Flat || pong.ultrapeer().is_some();
        if let Some(node) = node_at(pong.addr.into(), places).filter(|_| takes_relations) {
            self.hear_of(world, node);
        }
        let Some(router) = &mut self.router else { return };
        if world.setup.preset.pong_caching {
            router.pongs.learn(now, header.hops, pong.addr, payload);
            return;
        }
        let back = router.pings.get(header.guid).map(|r| r.link);
        if let (Some(to), Some(next)) = (back.and_then(|id| self.by_id(id)), header.forwarded())
            && to != n
        {
            world.send(self.links[to].end, &message(next, payload));
        }
    }

    fn table_update(&mut self, world: &mut Shard, n: usize, bytes: &Bytes, payload: &[u8]) {
        let Some(router) = &mut self.router else { return };
        let link = &mut self.links[n];
        if self.role != Role::Ultrapeer || link.what == Other::Parent {
            return;
        }
        let received = if let Some(lane) = link.lane {
            world.told.receive(&link.told, bytes, payload).map(|after| {
                let before = link.told.replace(after);
                router.tables.update(lane, &before, &link.told);
            })
        } else if let Some(near) = router.tables.near(link.end) {
            let after = world.told.receive(near.told(), bytes, payload);
            after.map(|after| router.tables.tells(link.end, Some(after)))
        } else {
            return;
        };
        if received.is_err() {
            self.end_link(world, n);
        }
    }

    /// A leaf's own table, computed for the first who asks.
    fn table_messages(&mut self, world: &mut Shard) -> Vec<Bytes> {
        if let Some(known) = &self.table {
            return known.clone();
        }
        let mut table = Table::new(LOG2);
        self.files.iter().for_each(|f| table.add_name(world.catalogue.name(*f).as_bytes()));
        let messages = self.updates(world, None, &table);
        self.table = Some(messages.clone());
        messages
    }

    fn updates(&self, world: &mut Shard, old: Option<&Table>, new: &Table) -> Vec<Bytes> {
        let updates = sender::updates_by(&mut world.deflater, old, new);
        updates.iter().map(|p| self.own_message(world, Kind::QRP, 1, p)).collect()
    }

    /// What neighbours know by now, for a new one.
    fn published_messages(&mut self, world: &mut Shard) -> Vec<Bytes> {
        if self.role != Role::Ultrapeer {
            return Vec::new();
        }
        if self.table.is_none()
            && let Some(router) = &self.router
        {
            self.table = Some(self.updates(world, None, &router.published));
        }
        self.table.clone().unwrap_or_default()
    }

    /// Tells all neighbours what has changed.
    pub(super) fn publish(&mut self, world: &mut Shard) {
        world.timer(self.node, PUBLISH_INTERVAL, Timer::Publish);
        let Some(router) = &self.router else { return };
        let names: Vec<String> = self.files.iter().map(|f| world.catalogue.name(*f)).collect();
        let new = router.tables.of_leaves(names.into_iter());
        for bytes in self.updates(world, Some(&router.published), &new) {
            let neighbours = (0..self.links.len())
                .filter(|n| self.links[*n].is_up() && self.links[*n].what == Other::Neighbour);
            self.send_to(world, neighbours, &bytes);
        }
        if let Some(router) = &mut self.router
            && router.published != new
        {
            router.published = new;
            self.table = None;
        }
    }
}
