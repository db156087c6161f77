//! Pongs of others, so that a ping is answered from here and never passed on (pong caching 0.1).
//!
//! A few pongs are kept for each distance, the newest of them, so that whoever asks learns of hosts near and far.

use crate::host::Instant;
use crate::state::{Damaged, Reader, Saved, Writer};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::Rng;
use std::net::SocketAddrV4;
use std::time::Duration;

/// Pongs that answer one ping.
pub const ANSWERS_MAX: usize = 10;
/// The farthest distance that is kept, in hops from here.
pub const HOPS_MAX: u8 = 6;
/// Pongs kept for each distance.
pub const PONGS_PER_HOP: usize = 12;
/// Payloads over this are kept without what follows the fixed part, in bytes.
pub const PONG_BYTES_MAX: usize = 256;
/// The fixed part of a pong: port, address, files, kilobytes.
const PONG_BYTES_FIXED: usize = 14;
/// A pong is given out for so long.
pub const LIFE: Duration = Duration::from_secs(300);

#[derive(Clone, Debug)]
struct Kept {
    addr: SocketAddrV4,
    at: Instant,
    payload: Vec<u8>,
}

/// The cache.
#[derive(Debug, Default)]
pub struct PongCache {
    /// By distance: from a direct neighbour (0) on.
    by_hops: [Vec<Kept>; HOPS_MAX as usize + 1],
}

impl PongCache {
    /// Keeps a pong that came in with so many hops behind it. An older one for the same host goes.
    pub fn learn(&mut self, now: Instant, hops: u8, addr: SocketAddrV4, payload: &[u8]) {
        let Some(pongs) = self.by_hops.get_mut(usize::from(hops)) else { return };
        let len = if payload.len() > PONG_BYTES_MAX { PONG_BYTES_FIXED } else { payload.len() };
        let slot = match pongs.iter().position(|p| p.addr == addr) {
            Some(same) => same,
            None if pongs.len() < PONGS_PER_HOP => {
                pongs.push(Kept { addr, at: now, payload: Vec::new() });
                pongs.len() - 1
            }
            None => {
                let oldest = pongs.iter().enumerate().min_by_key(|(_, p)| p.at);
                oldest.map_or(0, |(i, _)| i)
            }
        };
        let kept = &mut pongs[slot];
        (kept.addr, kept.at) = (addr, now);
        kept.payload.clear();
        kept.payload.extend_from_slice(&payload[..len]);
    }

    /// Gives up to [`ANSWERS_MAX`] pongs, with the hops that they have behind them when they are sent on, from random
    /// places of all distances that a ping with this TTL reaches. `not` is who asks.
    pub fn answer(
        &self,
        now: Instant,
        ttl: u8,
        not: Option<SocketAddrV4>,
        rng: &mut ChaCha12Rng,
        mut give: impl FnMut(u8, &[u8]),
    ) {
        let reach = usize::from(ttl.saturating_sub(1)).min(self.by_hops.len());
        let start = rng.next_u32() as usize;
        let mut left = ANSWERS_MAX;
        // Round by round, so that each distance has its share.
        for round in 0..PONGS_PER_HOP {
            for (hops, pongs) in self.by_hops[..reach].iter().enumerate() {
                if round >= pongs.len() || left == 0 {
                    continue;
                }
                let pong = &pongs[(start + round) % pongs.len()];
                if now.since(pong.at) < LIFE && Some(pong.addr) != not {
                    give(hops as u8 + 1, &pong.payload);
                    left -= 1;
                }
            }
        }
    }

    /// Pongs kept, too old ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_hops.iter().map(Vec::len).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Saved for Kept {
    fn save(&self, to: &mut Writer) {
        self.addr.save(to);
        self.at.save(to);
        to.list(self.payload.iter());
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self { addr: from.load()?, at: from.load()?, payload: from.list(PONG_BYTES_MAX)? })
    }
}

impl Saved for PongCache {
    fn save(&self, to: &mut Writer) {
        self.by_hops.iter().for_each(|pongs| to.list(pongs.iter()));
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Damaged> {
        let mut cache = Self::default();
        for pongs in &mut cache.by_hops {
            *pongs = from.list(PONGS_PER_HOP)?;
        }
        Ok(cache)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::rand_core::SeedableRng;
    use std::collections::BTreeSet;
    use std::net::Ipv4Addr;

    fn host(n: u16) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), n)
    }

    fn answers(cache: &PongCache, now: Instant, ttl: u8, not: Option<SocketAddrV4>) -> Vec<(u8, Vec<u8>)> {
        let mut found = Vec::new();
        cache.answer(now, ttl, not, &mut ChaCha12Rng::seed_from_u64(7), |h, p| found.push((h, p.to_vec())));
        found
    }

    #[test]
    fn a_ping_gets_ten_different_pongs_of_every_distance_it_reaches() {
        let mut cache = PongCache::default();
        for n in 0..1_000 {
            cache.learn(Instant(u64::from(n)), (n % 9) as u8, host(n), &n.to_le_bytes());
        }
        assert_eq!(cache.len(), 7 * PONGS_PER_HOP);
        let found = answers(&cache, Instant(2_000), 4, None);
        assert_eq!(found.len(), ANSWERS_MAX);
        assert_eq!(found.iter().map(|f| f.0).collect::<BTreeSet<_>>(), BTreeSet::from([1, 2, 3]));
        assert_eq!(found.iter().map(|f| &f.1).collect::<BTreeSet<_>>().len(), ANSWERS_MAX);
        assert_eq!(answers(&cache, Instant(2_000), 1, None), []);
    }

    #[test]
    fn old_pongs_and_the_asker_itself_are_left_out() {
        let mut cache = PongCache::default();
        cache.learn(Instant(0), 0, host(1), b"one");
        cache.learn(Instant(0) + Duration::from_secs(100), 0, host(2), b"two");
        let at = |s| Instant(0) + Duration::from_secs(s);
        assert_eq!(answers(&cache, at(299), 7, None).len(), 2);
        assert_eq!(answers(&cache, at(301), 7, None), [(1, b"two".to_vec())]);
        assert_eq!(answers(&cache, at(301), 7, Some(host(2))), []);
    }

    #[test]
    fn a_new_pong_of_a_host_replaces_its_old_one_and_long_ones_are_cut() {
        let mut cache = PongCache::default();
        cache.learn(Instant(0), 0, host(1), b"old");
        cache.learn(Instant(1), 0, host(1), &[7; PONG_BYTES_MAX + 1]);
        assert_eq!(answers(&cache, Instant(2), 7, None), [(1, vec![7; PONG_BYTES_FIXED])]);
    }
}
