//! [`VirtualPeer`]: the way a message travels.

mod status;

pub use status::{LinkStatus, Slots, Status};

use crate::application::monitoring::{Monitor, Sample, Samples};
use crate::config::Config;
use crate::host::{Event, Host, Instant};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// State that [`VirtualPeer::restore`] cannot use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// Written by a version that this one does not know.
    #[error(
        "the saved state has version {0}, and this peer reads version {SAVE_VERSION}: start it without state"
    )]
    Version(u8),
    /// Ends too early, or is longer than it says.
    #[error("the saved state is damaged at byte {0}: start the peer without state")]
    Damaged(usize),
}

/// First byte of what [`VirtualPeer::save`] gives.
const SAVE_VERSION: u8 = 1;

/// A Gnutella ultrapeer, sans-I/O.
///
/// **Drive it so:** after each call of [`Self::handle`], carry out what it asked of the [`Host`] before the next one;
/// call it with [`Event::Timer`] at the time that it asked for last. It does nothing between calls.
#[derive(Debug)]
pub struct VirtualPeer {
    config: Config,
    guid: [u8; 16],
    started: Instant,
    now: Instant,
    monitor: Monitor,
}

impl VirtualPeer {
    /// A peer with a new identity. `config` has passed [`Config::validate`]; `seed` is fresh randomness, from which
    /// all of the peer's random choices follow.
    #[must_use]
    pub fn new(config: Config, seed: [u8; 32], now: Instant) -> Self {
        let mut rng = ChaCha12Rng::from_seed(seed);
        let mut guid = [0; 16];
        rng.fill_bytes(&mut guid);
        (guid[8], guid[15]) = (0xff, 0);
        Self { config, guid, started: now, now, monitor: Monitor::default() }
    }

    /// A peer that carries on with what [`Self::save`] gave: its identity and the hosts it knows.
    ///
    /// # Errors
    /// Where `state` is not what this version saves; start a [`Self::new`] one instead.
    pub fn restore(config: Config, seed: [u8; 32], now: Instant, state: &[u8]) -> Result<Self, RestoreError> {
        match state {
            [SAVE_VERSION, guid @ ..] => {
                let guid = guid.try_into().map_err(|_| RestoreError::Damaged(state.len()))?;
                Ok(Self { guid, ..Self::new(config, seed, now) })
            }
            [version, ..] => Err(RestoreError::Version(*version)),
            [] => Err(RestoreError::Damaged(0)),
        }
    }

    /// What [`Self::restore`] needs to carry on. Starts with a version.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        [&[SAVE_VERSION][..], &self.guid].concat()
    }

    /// Takes a batch of events, in the order in which they happened.
    pub fn handle<'a>(
        &mut self,
        now: Instant,
        events: impl IntoIterator<Item = Event<'a>>,
        host: &mut impl Host,
    ) {
        self.now = self.now.max(now);
        for event in events {
            if let Event::Accepted { conn, .. } = event {
                host.abort(conn);
            }
        }
    }

    /// Puts another configuration in force. Relations beyond lowered limits live on; no new ones are made.
    pub fn configure(&mut self, now: Instant, config: Config, host: &mut impl Host) {
        self.config = config;
        self.handle(now, [], host);
    }

    /// Says goodbye to every peer and closes every connection.
    pub fn stop(&mut self, now: Instant, host: &mut impl Host) {
        self.handle(now, [], host);
    }

    /// Every figure, always in the same order. Cheap enough for once a second.
    #[must_use]
    pub fn metrics(&self) -> Vec<Sample> {
        let mut samples = Samples::default();
        self.monitor.sample(&mut samples);
        samples.into_vec()
    }

    /// What an operator wants to see.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            guid: data_encoding::HEXLOWER.encode(&self.guid),
            address: self.config.advertise,
            uptime_seconds: self.now.since(self.started).as_secs(),
            leaves: Slots { used: 0, limit: self.config.leaves },
            ultrapeers: Slots { used: 0, limit: self.config.ultrapeers.into() },
            old_peers: Slots { used: 0, limit: self.config.old_peers.into() },
            links: Vec::new(),
        }
    }
}
