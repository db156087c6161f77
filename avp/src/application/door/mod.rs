//! The door: what strangers get from us on the Gnutella port who do not want to become neighbours.
//!
//! | module | who knocks |
//! | --- | --- |
//! | [`http`] | clients of web caches, askers for a push, browsers |
//! | [`host_cache`] | pings by datagram: is somebody there, and who else? |
//!
//! Everything is answered from memory in a few hundred bytes, and only so often.

pub mod host_cache;
pub mod http;

use std::net::{IpAddr, SocketAddrV4};
use std::time::Duration;

use crate::cache::hosts::HostCache;
use crate::gnutella::pong::{Ultrapeer, Vendor};
use crate::network::rate::{Bucket, OncePer};
use crate::state::{Damaged, Reader, Writer};
use crate::tables::Hasher;

/// HTTP requests answered in a second, in the mean.
pub const HTTP_PER_SECOND: u32 = 50;
/// And at once, after silence.
pub const HTTP_BURST: u32 = 200;
/// Datagrams answered in a second, in the mean.
pub const DATAGRAMS_PER_SECOND: u32 = 200;
/// And at once, after silence.
pub const DATAGRAMS_BURST: u32 = 400;
/// One address gets hosts by datagram once in so long.
pub const HOSTS_INTERVAL: Duration = Duration::from_secs(60);
/// One address gets a plain pong by datagram once in so long. The sender of a datagram may be forged, and a pong is
/// longer than a ping.
pub const PONG_INTERVAL: Duration = Duration::from_secs(5);
/// Addresses that are remembered for each of the two, 40 bytes each.
pub const ADDRESSES_MAX: usize = 4_096;

/// Who we are at the moment, for those who ask.
#[derive(Debug)]
pub struct Presence<'a> {
    /// What we call ourselves (`Server`).
    pub server: &'a str,
    /// Our software in pongs.
    pub vendor: Vendor,
    /// Where we can be reached; as long as nobody knows, no pong is sent.
    pub address: Option<SocketAddrV4>,
    /// Our free slots.
    pub slots: Ultrapeer,
    /// Our average daily uptime, in seconds.
    pub daily_uptime_s: u32,
    /// Whom else we know.
    pub hosts: &'a mut HostCache,
}

/// Answers strangers.
#[derive(Debug)]
pub struct Door {
    http: Bucket,
    datagrams: Bucket,
    asked_hosts: OncePer<IpAddr>,
    asked_pong: OncePer<IpAddr>,
}

impl Door {
    /// Nobody has knocked yet.
    #[must_use]
    pub fn new(hasher: &Hasher) -> Self {
        Self {
            http: Bucket::new(HTTP_PER_SECOND, HTTP_BURST),
            datagrams: Bucket::new(DATAGRAMS_PER_SECOND, DATAGRAMS_BURST),
            asked_hosts: OncePer::new(HOSTS_INTERVAL, ADDRESSES_MAX, hasher.clone()),
            asked_pong: OncePer::new(PONG_INTERVAL, ADDRESSES_MAX, hasher.clone()),
        }
    }
}

impl Door {
    pub(crate) fn save(&self, to: &mut Writer) {
        self.http.save(to);
        self.datagrams.save(to);
        self.asked_hosts.save(to);
        self.asked_pong.save(to);
    }

    /// Takes over who has knocked and when.
    pub(crate) fn load(&mut self, from: &mut Reader<'_>) -> Result<(), Damaged> {
        self.http.load(from)?;
        self.datagrams.load(from)?;
        self.asked_hosts.load(from)?;
        self.asked_pong.load(from)
    }
}

#[cfg(test)]
mod tests;
