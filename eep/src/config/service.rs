//! One service as a file or a request describes it.

use std::path::{Path, PathBuf};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::config::health::Health;
use crate::config::name::ServiceName;
use crate::config::source::Source;
use crate::host::grant::Grant;
use crate::proxylet::digest::Digest;
use crate::proxylet::limits::Limits;
use crate::proxylet::service::OnTrap;
use crate::record::service::Record;

/// The most grants that a service may have.
pub const GRANTS_MAX: usize = 256;

/// A service that is wanted: an entry of `services` in the node file, a manifest file of its own, the body of a load
/// request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ServiceEntry {
    /// What to call it on this node. The proxylet's own name where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, pattern = "^[a-z][a-z0-9-]{0,62}$", examples("edge"))]
    pub name: Option<ServiceName>,
    /// The code.
    pub proxylet: ProxyletSource,
    /// What it may reach. Where it is missing, code that is pinned by its digest gets what it asks for, and code that
    /// is not pinned gets nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>, examples(json!(["net.listen:6346", "net.connect"])))]
    pub grant: Option<Vec<Grant>>,
    /// How much it may use.
    #[serde(default, deserialize_with = "limits_in_range")]
    #[schema(value_type = Object, examples(json!({"memory": "256MiB", "connections": 10000, "cpu": 0.5})))]
    pub limits: Limits,
    /// What happens when it traps.
    #[serde(default)]
    pub on_trap: OnTrap,
    /// How a new version of its code shows that it is well.
    #[serde(default, deserialize_with = "Health::in_range", skip_serializing_if = "Health::is_default")]
    pub health: Health,
    /// The file of its policy. What is enforced by the node needs no grant; a proxylet that asks by itself needs `policy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, examples("policies/isp-a.yaml"))]
    pub policy: Option<PathBuf>,
    /// Whether all that it sees and does is recorded: `on`, `off`, or `{budget: 256MiB}`, the bytes of all its recordings
    /// together. They lie in the node's data directory; the oldest leave.
    #[serde(default, skip_serializing_if = "Record::is_off")]
    #[schema(value_type = Object, examples(json!({"budget": "256MiB"})))]
    pub record: Record,
    /// The proxylet's own settings, over its defaults. Its embedded JSON Schema says which there are.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    pub config: Map<String, Value>,
}

/// Where the code comes from, and which code it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ProxyletSource {
    /// `https://…`, `http://…`, `oci://HOST/NAME:TAG`, `file://…` or the path of a file on the node.
    #[schema(value_type = String, examples("https://repo.example/gnutella-peer.wasm"))]
    pub url: Source,
    /// The SHA-256 that the fetched bytes must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, pattern = "^[0-9a-f]{64}$")]
    pub sha256: Option<Digest>,
}

/// Limits that make sense.
fn limits_in_range<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Limits, D::Error> {
    let limits = Limits::deserialize(deserializer)?;
    limits.check().map_err(D::Error::custom)?;
    Ok(limits)
}

impl ServiceEntry {
    /// The entry that only names code.
    #[must_use]
    pub fn of(url: Source, sha256: Option<Digest>) -> Self {
        Self {
            name: None,
            proxylet: ProxyletSource { url, sha256 },
            grant: None,
            limits: Limits::default(),
            on_trap: OnTrap::default(),
            health: Health::default(),
            policy: None,
            record: Record::Off,
            config: Map::new(),
        }
    }

    /// The same with relative paths taken from a directory.
    #[must_use]
    pub fn under(mut self, directory: &Path) -> Self {
        self.proxylet.url = self.proxylet.url.under(directory);
        self.policy = self.policy.map(|file| directory.join(file));
        self
    }

    /// What the types alone do not hold.
    ///
    /// # Errors
    /// What is wrong and, after a line break, what to do about it.
    pub fn check(&self) -> Result<(), String> {
        match &self.grant {
            Some(grants) if grants.len() > GRANTS_MAX => {
                Err(format!("{} grants are too many\ngive at most {GRANTS_MAX}", grants.len()))
            }
            _ => Ok(()),
        }
    }
}
