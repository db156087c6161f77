//! The host cache at rest.
//!
//! A count (LE16), then for each host: 4 or 6; its address in network order; its port (LE16); the seconds since it
//! was heard of (LE32); its daily uptime in seconds (LE32); 1 where it has proved itself, else 0.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rand_chacha::ChaCha12Rng;

use super::{HOSTS_MAX, HostCache, Known, Report};
use crate::host::Instant;

/// State that [`HostCache::restore`] cannot use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the saved hosts are damaged at byte {0}: start without them")]
pub struct Damaged(pub usize);

impl HostCache {
    /// Appends what [`Self::restore`] needs.
    pub fn save(&self, now: Instant, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.hosts.len() as u16).to_le_bytes());
        for known in &self.hosts {
            match known.address.ip() {
                IpAddr::V4(ip) => {
                    out.push(4);
                    out.extend_from_slice(&ip.octets());
                }
                IpAddr::V6(ip) => {
                    out.push(6);
                    out.extend_from_slice(&ip.octets());
                }
            }
            let age_s = u32::try_from(now.since(known.seen_at).as_secs()).unwrap_or(u32::MAX);
            out.extend_from_slice(&known.address.port().to_le_bytes());
            out.extend_from_slice(&age_s.to_le_bytes());
            out.extend_from_slice(&known.report.daily_uptime_s.to_le_bytes());
            out.push(u8::from(known.proven));
        }
    }

    /// Takes hosts from what [`Self::save`] wrote, and answers how many bytes of `bytes` that were. Hosts that this cache
    /// may not hold are left out.
    ///
    /// # Errors
    /// Where the bytes are not what `save` writes; then some hosts may have been taken.
    pub fn restore(&mut self, now: Instant, bytes: &[u8], rng: &mut ChaCha12Rng) -> Result<usize, Damaged> {
        let mut reader = Reader { bytes, at: 0 };
        let count = usize::from(u16::from_le_bytes(reader.array()?));
        if count > HOSTS_MAX {
            return Err(Damaged(0));
        }
        for _ in 0..count {
            let known = reader.host(now)?;
            if !self.index.contains_key(&known.address) {
                self.insert(known, rng);
            }
        }
        Ok(reader.at)
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        let array = self.bytes.get(self.at..).and_then(|b| b.first_chunk::<N>()).ok_or(Damaged(self.at))?;
        self.at += N;
        Ok(*array)
    }

    fn host(&mut self, now: Instant) -> Result<Known, Damaged> {
        let start = self.at;
        let ip = match self.array()? {
            [4] => IpAddr::from(self.array::<4>()?),
            [6] => IpAddr::from(self.array::<16>()?),
            _ => return Err(Damaged(start)),
        };
        let address = SocketAddr::new(ip, u16::from_le_bytes(self.array()?));
        let age = Duration::from_secs(u32::from_le_bytes(self.array()?).into());
        let daily_uptime_s = u32::from_le_bytes(self.array()?);
        let proven = match self.array()? {
            [0] => false,
            [1] => true,
            _ => return Err(Damaged(self.at - 1)),
        };
        let report = Report { daily_uptime_s, ..Report::default() };
        Ok(Known { address, report, seen_at: now - age, rests_until: now, failures: 0, proven })
    }
}
