//! Pings by datagram: a pong for those who want to know whether we live, hosts for those who want to join (UDP host
//! caches).

use std::net::{SocketAddr, SocketAddrV4};

use rand_chacha::ChaCha12Rng;

use super::{Door, Presence};
use crate::gnutella::ping::Ping;
use crate::gnutella::pong::{Extensions, PACKED_HOSTS_MAX, Pong};
use crate::gnutella::udp::Datagram;
use crate::gnutella::{Header, Kind, uhc};
use crate::host::Instant;

impl Door {
    /// The datagram that answers a ping, if it is due one.
    pub fn ping(
        &mut self,
        now: Instant,
        from: SocketAddr,
        ping: &Datagram<'_>,
        presence: &Presence<'_>,
        rng: &mut ChaCha12Rng,
    ) -> Option<Vec<u8>> {
        let addr = presence.address?;
        let wanted = Ping::parse(&ping.payload).cached_pongs().filter(|w| w.takes_ipv4());
        let ip = from.ip().to_canonical();
        if wanted.is_some() && self.asked_hosts.pass(now, ip) {
            if !self.datagrams.pass(now) {
                return None;
            }
            let mut hosts: Vec<SocketAddrV4> = Vec::new();
            hosts.extend(presence.others(now, PACKED_HOSTS_MAX, rng).map(|(host, _)| host));
            let answer = uhc::Answer {
                addr,
                shared: (0, 0),
                vendor: presence.vendor,
                ultrapeer: Some(presence.slots),
                daily_uptime_s: presence.daily_uptime_s,
                hosts: &hosts,
                caches: &[],
            };
            return Some(answer.encode(ping.header.guid));
        }
        if !self.asked_pong.pass(now, ip) || !self.datagrams.pass(now) {
            return None;
        }
        let extensions = Extensions::new()
            .vendor(presence.vendor)
            .ultrapeer(presence.slots)
            .daily_uptime_s(presence.daily_uptime_s)
            .finish();
        let pong = Pong { addr, files: 0, kbytes: 0, extensions: &extensions }.encode();
        Some(Header { guid: ping.header.guid, kind: Kind::PONG, ttl: 1, hops: 0, len: 0 }.frame(&pong))
    }
}

impl Presence<'_> {
    /// Hosts that may have room, and seconds since they were heard of: ourselves first, if we have.
    pub(super) fn recommend(
        &self,
        now: Instant,
        n: usize,
        rng: &mut ChaCha12Rng,
    ) -> Vec<(SocketAddrV4, u32)> {
        let room = self.slots.leaf_slots > 0 || self.slots.ultra_slots > 0;
        let ourselves = self.address.filter(|_| room).map(|a| (a, 0));
        ourselves.into_iter().chain(self.others(now, n, rng)).take(n).collect()
    }

    fn others(
        &self,
        now: Instant,
        n: usize,
        rng: &mut ChaCha12Rng,
    ) -> impl Iterator<Item = (SocketAddrV4, u32)> {
        let mut known = Vec::new();
        // Twice as many, since those with IPv6 addresses have no place in these answers.
        self.hosts.recommend(now, 2 * n, rng, &mut known);
        let v4 = known.into_iter().filter_map(|(host, age)| match host {
            SocketAddr::V4(host) => Some((host, u32::try_from(age.as_secs()).unwrap_or(u32::MAX))),
            SocketAddr::V6(_) => None,
        });
        v4.filter(|(host, _)| Some(*host) != self.address).take(n)
    }
}
