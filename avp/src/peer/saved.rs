//! What outlives the instance.
//!
//! A version (1 byte), the servent GUID (16 bytes), and the hosts as [`HostCache::save`] writes them.

use super::VirtualPeer;
use crate::cache::hosts::HostCache;
use crate::config::Config;
use crate::gnutella::Guid;
use crate::host::Instant;

/// First byte of a saved state.
const SAVE_VERSION: u8 = 1;

/// State that [`VirtualPeer::restore`] cannot use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// Written by a version that this one does not know.
    #[error(
        "the saved state has version {0}, and this peer reads version {SAVE_VERSION}: start it without state"
    )]
    Version(u8),
    /// Ends too early, or has what cannot be.
    #[error("the saved state is damaged at byte {0}: start the peer without state")]
    Damaged(usize),
}

impl VirtualPeer {
    /// What [`Self::restore`] needs to carry on. Starts with a version.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        let mut out = vec![SAVE_VERSION];
        out.extend_from_slice(&self.guid.0);
        self.hosts.save(self.now, &mut out);
        out
    }

    /// A peer that carries on with what [`Self::save`] gave: its identity and the hosts it knows.
    ///
    /// # Errors
    /// Where `state` is not what this version saves; start a [`Self::new`] one instead.
    pub fn restore(config: Config, seed: [u8; 32], now: Instant, state: &[u8]) -> Result<Self, RestoreError> {
        let mut peer = Self::new(config, seed, now);
        let (version, rest) = state.split_first().ok_or(RestoreError::Damaged(0))?;
        if *version != SAVE_VERSION {
            return Err(RestoreError::Version(*version));
        }
        let (guid, hosts) = rest.split_first_chunk::<16>().ok_or(RestoreError::Damaged(state.len()))?;
        let before = state.len() - hosts.len();
        peer.guid = Guid(*guid);
        peer.identity.guid = peer.guid;
        let read = restore_hosts(&mut peer, now, hosts).map_err(|at| RestoreError::Damaged(before + at))?;
        if read < hosts.len() {
            return Err(RestoreError::Damaged(before + read));
        }
        Ok(peer)
    }
}

fn restore_hosts(peer: &mut VirtualPeer, now: Instant, bytes: &[u8]) -> Result<usize, usize> {
    let hosts: &mut HostCache = &mut peer.hosts;
    hosts.restore(now, bytes, &mut peer.rng).map_err(|damaged| damaged.0)
}
