//! How a new version of a service's code shows that it is well.

use std::net::SocketAddr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

/// How long a new version is on probation, and what it must do meanwhile. Until then a trap, an overrun deadline or a
/// failed probe takes the service back to the former version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Health {
    /// The probation in milliseconds (default 5000, at most 600,000). With 0, a new version need only take over.
    #[schema(maximum = 600_000)]
    pub window_ms: u32,
    /// What the new version is asked once, by a connection of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
}

/// A question to the service, as a peer would ask it, and how the answer must begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Probe {
    /// Where to connect; the service's first TCP listener where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub connect: Option<SocketAddr>,
    /// What to send.
    #[serde(default)]
    pub send: String,
    /// What must come back first; nothing need come back where it is empty.
    #[serde(default)]
    pub expect: String,
    /// Within so many milliseconds (default 1000, 1 to 60,000).
    #[serde(default = "within_ms")]
    #[schema(minimum = 1, maximum = 60_000)]
    pub within_ms: u32,
}

fn within_ms() -> u32 {
    1_000
}

impl Default for Health {
    fn default() -> Self {
        Self { window_ms: 5_000, probe: None }
    }
}

impl Health {
    /// The longest probation, in milliseconds.
    pub const WINDOW_MS_MAX: u32 = 600_000;
    /// The longest text of a probe, in bytes.
    pub const TEXT_BYTES_MAX: usize = 4_096;

    /// Whether it is what it is where nothing is said.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether every number is within its range.
    ///
    /// # Errors
    /// The first that is not.
    pub fn check(&self) -> Result<(), String> {
        if self.window_ms > Self::WINDOW_MS_MAX {
            return Err(format!(
                "health: window-ms: {} is out of range: 0 to {} milliseconds",
                self.window_ms,
                Self::WINDOW_MS_MAX
            ));
        }
        let Some(probe) = &self.probe else { return Ok(()) };
        if !(1..=60_000).contains(&probe.within_ms) {
            return Err(format!(
                "health: probe: within-ms: {} is out of range: 1 to 60000 milliseconds",
                probe.within_ms
            ));
        }
        if probe.send.len().max(probe.expect.len()) > Self::TEXT_BYTES_MAX {
            return Err(format!("health: probe: a text has more than {} bytes", Self::TEXT_BYTES_MAX));
        }
        Ok(())
    }

    /// Reads one whose numbers are in range.
    pub(crate) fn in_range<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let health = Self::deserialize(deserializer)?;
        health.check().map_err(D::Error::custom)?;
        Ok(health)
    }
}
