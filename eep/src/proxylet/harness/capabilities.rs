//! The contract's interfaces on a host without a network.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use crate::host::address::{from_wit, to_wit};
use crate::host::bindings::eep::proxylet::deploy::Launched;
use crate::host::bindings::eep::proxylet::types::SocketAddress;
use crate::host::bindings::eep::proxylet::{clock, datagram, kv, log, metrics, net, random, types};
use crate::host::clock::Timers;
use crate::host::grant::Grants;
use crate::host::wasi::{Stdio, Wasi};
use crate::observe::series::{Series, SeriesKind, SeriesTable};
use crate::proxylet::harness::figures;
use crate::proxylet::harness::network::Network;
use crate::proxylet::memory::MemoryLimit;

/// Where the clock starts, in nanoseconds; not at zero, so that times before can be told from none.
pub(super) const CLOCK_BEGINS_NS: u64 = 1_000_000_000_000;
/// What the wall clock reads then: 2025-01-01T00:00:00Z.
const WALL_BEGINS_NS: u64 = 1_735_689_600_000_000_000;
/// Bytes of keys and values; the default of a service.
const KV_BYTES_MAX: usize = 16 << 20;
const KEY_BYTES_MAX: usize = 256;
const KEYS_MAX: usize = 1_024;
const RANDOM_BYTES_MAX: u32 = 4_096;
/// Lines that are kept.
const LINES_MAX: usize = 10_000;

/// All that an instance can reach, and the scenario looks at.
#[derive(Debug)]
pub(super) struct TestHost {
    pub(super) now_ns: u64,
    pub(super) network: Network,
    pub(super) timers: Timers,
    pub(super) lines: Vec<(&'static str, String)>,
    pub(super) series: SeriesTable,
    pub(super) kv: BTreeMap<String, Vec<u8>>,
    pub(super) grants: Grants,
    /// What was launched, by name.
    pub(super) launched: BTreeMap<String, Launched>,
    pub(super) memory: MemoryLimit,
    /// Blocks of randomness given so far.
    drawn: u64,
    stdio: Stdio,
}

impl TestHost {
    pub(super) fn new(grants: Grants, memory_bytes_max: u64) -> Self {
        Self {
            now_ns: CLOCK_BEGINS_NS,
            network: Network::default(),
            timers: Timers::default(),
            lines: Vec::new(),
            series: SeriesTable::default(),
            kv: BTreeMap::new(),
            grants,
            launched: BTreeMap::new(),
            memory: MemoryLimit::new(memory_bytes_max, figures()),
            drawn: 0,
            stdio: Stdio::default(),
        }
    }

    /// The host for the next instance: what outlives an instance, and nothing else.
    pub(super) fn next(self, memory_bytes_max: u64, keep: bool) -> Self {
        let mut network = self.network;
        network.hand_on(keep);
        let timers = if keep { self.timers } else { Timers::default() };
        let memory = MemoryLimit::new(memory_bytes_max, figures());
        Self { network, timers, memory, series: SeriesTable::default(), stdio: Stdio::default(), ..self }
    }

    pub(super) fn say(&mut self, level: &'static str, line: String) {
        if self.lines.len() < LINES_MAX {
            self.lines.push((level, line));
        }
    }
}

impl types::Host for TestHost {}

impl log::Host for TestHost {
    fn write(&mut self, level: log::Level, line: String) {
        let level = match level {
            log::Level::Error => "error",
            log::Level::Warn => "warn",
            log::Level::Info => "info",
            log::Level::Debug => "debug",
        };
        self.say(level, line);
    }
}

impl clock::Host for TestHost {
    fn wall(&mut self) -> u64 {
        WALL_BEGINS_NS + (self.now_ns - CLOCK_BEGINS_NS)
    }

    fn set_timer(&mut self, token: u64, at: u64) {
        if !self.timers.set(token, at) {
            self.say("warn", format!("timer {token} was not set: {} are set", Timers::MAX));
        }
    }

    fn cancel_timer(&mut self, token: u64) {
        self.timers.cancel(token);
    }
}

impl random::Host for TestHost {
    /// The same bytes in every run: the digests of 0, 1, 2 and so on.
    fn bytes(&mut self, len: u32) -> Vec<u8> {
        let len = len.min(RANDOM_BYTES_MAX) as usize;
        let mut bytes = Vec::with_capacity(len + 32);
        while bytes.len() < len {
            bytes.extend(Sha256::digest(self.drawn.to_le_bytes()));
            self.drawn += 1;
        }
        bytes.truncate(len);
        bytes
    }
}

impl kv::Host for TestHost {
    fn get(&mut self, key: String) -> Option<Vec<u8>> {
        self.kv.get(&key).cloned()
    }

    fn set(&mut self, key: String, value: Vec<u8>) -> Result<(), kv::KvError> {
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(kv::KvError::BadKey);
        }
        let others = self.kv.iter().filter(|(k, _)| **k != key).map(|(k, v)| k.len() + v.len());
        if others.sum::<usize>() + key.len() + value.len() > KV_BYTES_MAX {
            return Err(kv::KvError::Full);
        }
        self.kv.insert(key, value);
        Ok(())
    }

    fn delete(&mut self, key: String) -> Result<bool, kv::KvError> {
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(kv::KvError::BadKey);
        }
        Ok(self.kv.remove(&key).is_some())
    }

    fn keys(&mut self, prefix: String) -> Vec<String> {
        self.kv.keys().filter(|key| key.starts_with(&prefix)).take(KEYS_MAX).cloned().collect()
    }
}

impl metrics::Host for TestHost {
    fn define(&mut self, metric: metrics::Metric) -> Option<u32> {
        let kind = match metric.kind {
            metrics::Kind::Counter => SeriesKind::Counter,
            metrics::Kind::Gauge => SeriesKind::Gauge,
        };
        let metrics::Metric { name, help, labels, .. } = metric;
        self.series.define(Series { name, help, kind, labels, value: 0.0, buckets: Vec::new() })
    }

    fn define_histogram(&mut self, histogram: metrics::Histogram) -> Option<u32> {
        let metrics::Histogram { name, help, labels, bounds } = histogram;
        let buckets = bounds.into_iter().chain([f64::INFINITY]).map(|bound| (bound, 0)).collect();
        let kind = SeriesKind::Histogram;
        self.series.define(Series { name, help, kind, labels, value: 0.0, buckets })
    }

    fn update(&mut self, values: Vec<(u32, f64)>) {
        self.series.update(&values);
    }

    fn update_histograms(&mut self, values: Vec<metrics::Distribution>) {
        for value in values {
            self.series.update_histogram(value.series, &value.counts, value.sum);
        }
    }
}

impl net::Host for TestHost {
    fn listen(&mut self, address: SocketAddress) -> Result<(u32, SocketAddress), net::NetError> {
        let address = from_wit(address);
        if !self.grants.may_listen(address) {
            return Err(net::NetError::NotGranted);
        }
        let (listener, bound) = self.network.listen(address).ok_or(net::NetError::InUse)?;
        Ok((listener, to_wit(bound)))
    }

    fn unlisten(&mut self, listener: u32) {
        self.network.listeners.remove(&listener);
    }

    fn connections(&mut self) -> Vec<u64> {
        self.network.take_over()
    }

    fn connect(&mut self, to: SocketAddress) -> Result<u64, net::NetError> {
        let to = from_wit(to);
        if !self.grants.may_connect(to) {
            return Err(net::NetError::NotGranted);
        }
        self.network.connect(to).ok_or(net::NetError::Limit)
    }

    fn send(&mut self, bytes: Vec<u8>, targets: Vec<u64>, segments: Vec<net::Segment>) -> Vec<u64> {
        let (mut congested, mut bytes, mut targets) = (Vec::new(), &bytes[..], &targets[..]);
        for segment in segments {
            let len = bytes.len().min(segment.len as usize);
            let count = targets.len().min(segment.targets as usize);
            for conn in &targets[..count] {
                if self.network.send(*conn, &bytes[..len]) && !congested.contains(conn) {
                    congested.push(*conn);
                }
            }
            (bytes, targets) = (&bytes[len..], &targets[count..]);
        }
        congested
    }

    fn send_runs(
        &mut self,
        bytes: Vec<u8>,
        targets: Vec<u64>,
        fanouts: Vec<u32>,
        lens: Vec<u32>,
    ) -> Vec<u64> {
        let segments = fanouts.into_iter().zip(lens).map(|(targets, len)| net::Segment { targets, len });
        net::Host::send(self, bytes, targets, segments.collect())
    }

    fn close(&mut self, conn: u64) {
        self.network.close(conn);
    }

    fn abort(&mut self, conn: u64) {
        self.network.close(conn);
    }

    fn inflate(&mut self, conn: u64, rest: Vec<u8>) {
        self.network.give_back(conn, rest);
    }

    fn deflate(&mut self, _conn: u64) {}

    fn receive(&mut self, conn: u64, on: bool) {
        self.network.receive(conn, on);
    }
}

impl datagram::Host for TestHost {
    fn bind(&mut self, address: SocketAddress) -> Result<(u32, SocketAddress), net::NetError> {
        let address = from_wit(address);
        if !self.grants.may_bind_datagram(address) {
            return Err(net::NetError::NotGranted);
        }
        let (socket, bound) = self.network.bind(address).ok_or(net::NetError::InUse)?;
        Ok((socket, to_wit(bound)))
    }

    fn unbind(&mut self, socket: u32) {
        self.network.sockets.remove(&socket);
    }

    fn send(&mut self, socket: u32, to: SocketAddress, bytes: Vec<u8>) {
        if self.network.sockets.contains_key(&socket) {
            self.network.send_datagram(from_wit(to), bytes);
        }
    }
}

impl Wasi for TestHost {
    fn batch_ns(&self) -> u64 {
        self.now_ns
    }

    fn wall_ns(&mut self) -> u64 {
        clock::Host::wall(self)
    }

    fn random(&mut self, len: u32) -> Vec<u8> {
        random::Host::bytes(self, len)
    }

    fn line(&mut self, warn: bool, line: String) {
        self.say(if warn { "warn" } else { "info" }, line);
    }

    fn refused(&mut self, line: &str) {
        self.say("warn", line.to_owned());
    }

    fn stdio(&mut self) -> &mut Stdio {
        &mut self.stdio
    }
}
