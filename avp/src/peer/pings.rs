//! Pings answered, pongs kept.

use std::net::{SocketAddr, SocketAddrV4};
use std::time::Duration;

use super::VirtualPeer;
use super::queries::HOPS_HARD_MAX;
use super::strangers::VENDOR;
use crate::application::monitoring::DropReason;
use crate::cache::hosts::Report;
use crate::gnutella::ping::{self, CachedPongs, Ping};
use crate::gnutella::pong::{Extensions, Pong};
use crate::gnutella::{Guid, HEADER_LEN, Header, Kind};
use crate::link::dispatch::{Outgoing, Sent};
use crate::link::{Features, Role};

/// From one ping of a peer that is answered from the cache to the next.
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// The way of a pong, from its host to who asks, in hops (pong caching 0.1).
const PONG_WAY: u8 = 7;
/// Pongs for a crawler.
const CRAWL_PONGS_MAX: usize = 64;
/// Hosts packed into one pong.
const PACKED_HOSTS: usize = 10;

impl VirtualPeer {
    /// A ping came in.
    pub(super) fn ping(&mut self, index: u32, header: Header, payload: &[u8]) {
        let Some(relation) = self.table.get_mut(index) else { return };
        if header.ttl == 0 || header.ttl > HOPS_HARD_MAX || header.hops > HOPS_HARD_MAX {
            self.monitor.dropped(Kind::PING, DropReason::Hops);
            return;
        }
        // An alive ping is answered whatever came before it.
        let alive = header.ttl == 1 && header.hops == 0;
        if !alive {
            if relation.pongs_from > self.now {
                self.monitor.dropped(Kind::PING, DropReason::Throttled);
                return;
            }
            relation.pongs_from = self.now + PING_INTERVAL;
        }
        let extended = relation.link.terms.features.has(Features::GGEP);
        let packed = if extended { Ping::parse(payload).cached_pongs() } else { None };
        let address = relation.address;
        let own = self.own_pong(extended, packed);
        let ttl = if alive { 1 } else { PONG_WAY };
        self.send_pong(index, header.guid, ttl, 0, &own);
        match (header.ttl, header.hops) {
            (1, _) => {}
            (2, 0) => self.answer_crawler(index, header.guid),
            _ => self.answer_from_cache(index, header, address),
        }
    }

    fn answer_from_cache(&mut self, index: u32, header: Header, address: Option<SocketAddr>) {
        let asker = address.and_then(|a| match a {
            SocketAddr::V4(v4) => Some(v4),
            SocketAddr::V6(_) => None,
        });
        let Some(relation) = self.table.get_mut(index) else { return };
        let (dispatch, link) = (&mut self.dispatch, &mut relation.link);
        self.pongs.answer(self.now, header.ttl, asker, &mut self.rng, |hops, payload| {
            let ttl = PONG_WAY.saturating_sub(hops).max(1);
            let header = Header { guid: header.guid, kind: Kind::PONG, ttl, hops, len: 0 };
            dispatch.send(link, &mut Outgoing::relayed(&header, payload));
        });
    }

    /// A ping with two hops: who is connected here?
    fn answer_crawler(&mut self, index: u32, guid: Guid) {
        let neighbours = self.table.neighbours().iter().filter(|i| **i != index);
        let hosts: Vec<SocketAddrV4> = neighbours
            .filter_map(|i| match self.table.get(*i)?.address? {
                SocketAddr::V4(v4) => Some(v4),
                SocketAddr::V6(_) => None,
            })
            .take(CRAWL_PONGS_MAX)
            .collect();
        for addr in hosts {
            let pong = Pong { addr, files: 0, kbytes: 0, extensions: &[] }.encode();
            self.send_pong(index, guid, PONG_WAY - 1, 1, &pong);
        }
    }

    fn send_pong(&mut self, index: u32, guid: Guid, ttl: u8, hops: u8, payload: &[u8]) {
        let Some(relation) = self.table.get_mut(index) else { return };
        let header = Header { guid, kind: Kind::PONG, ttl, hops, len: 0 };
        self.dispatch.send(&mut relation.link, &mut Outgoing::relayed(&header, payload));
    }

    /// The pong for this peer itself.
    fn own_pong(&mut self, extended: bool, packed: Option<CachedPongs>) -> Vec<u8> {
        let own = self.own.get(self.config.advertise, self.config.listen);
        let addr = own.unwrap_or(SocketAddrV4::new([0, 0, 0, 0].into(), self.config.listen.port()));
        let extensions = if extended { self.pong_extensions(packed) } else { Vec::new() };
        Pong { addr, files: 0, kbytes: 8, extensions: &extensions }.encode()
    }

    fn pong_extensions(&mut self, packed: Option<CachedPongs>) -> Vec<u8> {
        let extensions = Extensions::new()
            .vendor(VENDOR)
            .ultrapeer(self.free_slots())
            .daily_uptime_s(self.daily_uptime_s());
        let hosts = match packed {
            Some(wanted) if wanted.takes_ipv4() => self.hosts_to_pack(),
            _ => Vec::new(),
        };
        extensions.packed_hosts(&hosts).finish()
    }

    fn hosts_to_pack(&mut self) -> Vec<SocketAddrV4> {
        let mut known = Vec::new();
        self.hosts.recommend(self.now, PACKED_HOSTS, &mut self.rng, &mut known);
        let v4 = |(host, _)| match host {
            SocketAddr::V4(v4) => Some(v4),
            SocketAddr::V6(_) => None,
        };
        known.into_iter().filter_map(v4).collect()
    }

    /// A pong came in.
    pub(super) fn pong(&mut self, index: u32, header: Header, payload: &[u8]) {
        let Some(relation) = self.table.get_mut(index) else { return };
        let role = relation.link.terms.role;
        relation.link.pong(self.now, header.guid);
        let Some(pong) = Pong::parse(payload) else {
            self.monitor.dropped(Kind::PONG, DropReason::Malformed);
            return;
        };
        for host in pong.packed_hosts() {
            self.hosts.heard(self.now, host.into(), Report::default(), &mut self.rng);
        }
        if role == Role::Leaf || !self.hosts.is_usable(pong.addr.into()) {
            return;
        }
        if let Some(up) = pong.ultrapeer() {
            let report = Report {
                daily_uptime_s: pong.daily_uptime_s().unwrap_or(0),
                free_ultrapeer_slots: Some(up.ultra_slots),
                free_leaf_slots: Some(up.leaf_slots),
            };
            self.hosts.heard(self.now, pong.addr.into(), report, &mut self.rng);
        }
        self.pongs.learn(self.now, header.hops, pong.addr, payload);
    }

    /// Asks a neighbour for pongs of others.
    pub(super) fn ask_for_pongs(&mut self, index: u32) {
        let Some(relation) = self.table.get_mut(index) else { return };
        let guid = Guid::random(&mut self.rng);
        let header = Header { guid, kind: Kind::PING, ttl: self.config.max_ttl, hops: 0, len: 0 };
        let extended = relation.link.terms.features.has(Features::GGEP);
        let payload =
            if extended { ping::asking_for_hosts(CachedPongs::new(CachedPongs::ULTRA)) } else { Vec::new() };
        let sent = self.dispatch.send(&mut relation.link, &mut Outgoing::relayed(&header, &payload));
        if matches!(sent, Sent::Now | Sent::Waits) {
            self.counters.pings_sent += 1;
            self.counters.own_bytes += (HEADER_LEN + payload.len()) as u64;
        }
    }
}
