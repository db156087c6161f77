//! Services that this node has placed on others: who may run which, written before anybody is told.

use std::time::Duration;

use redb::{ReadableTable as _, TableDefinition};
use serde::{Deserialize, Serialize};

use crate::config::web::Link;
use crate::config::{ServiceEntry, ServiceName};
use crate::policy::carried::Carried;
use crate::proxylet::digest::Digest;

/// Name to [`Placement`] as JSON.
pub(crate) const PLACEMENTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("placements");

/// Where a service is to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Where {
    /// On this node and no other.
    At(String),
    /// On the node for the users of this address or prefix.
    Near(String),
    /// On the nearest node of this region.
    Region(String),
}

/// One placed service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Placement {
    /// What it is called, here and where it runs.
    pub name: ServiceName,
    /// What it is.
    pub service: ServiceEntry,
    /// Its code, which is kept here for whoever is to run it.
    pub sha256: Digest,
    /// Where it is to run.
    pub at: Where,
    /// Its policy, which goes with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Carried>,
    /// The service of this node that has launched it, if one has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launched_by: Option<ServiceName>,
    /// The web that it is a part of, if it is of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web: Option<ServiceName>,
    /// The service of the web that it is a copy of, if it is of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy_of: Option<ServiceName>,
    /// The services of the web that it speaks to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
    /// Whether others of the web speak to it.
    #[serde(default)]
    pub serve: bool,
    /// Who alone may run it now, by id; nobody while one is looked for.
    pub node: Option<String>,
    /// Raised each time that somebody else may run it: what was given out before is void.
    pub epoch: u64,
    /// How long a lease holds that was given out under this epoch, in milliseconds.
    #[serde(default = "longest")]
    pub lease_ms: u64,
    /// How often it was started again on another node.
    #[serde(default)]
    pub moves: u64,
    /// Whether it was stopped, so that it is not started elsewhere.
    #[serde(default)]
    pub stopped: bool,
}

/// What is assumed of entries that do not say it.
fn longest() -> u64 {
    600_000
}

impl Placement {
    /// How long a lease holds.
    #[must_use]
    pub fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }

    /// Whether it may stand in place of one of this epoch.
    pub(crate) fn replaces(&self) -> impl Fn(Option<u64>) -> bool {
        let epoch = self.epoch;
        move |known| known.is_some_and(|known| known <= epoch)
    }
}

/// The epoch of an entry; beyond all others where it cannot be read, so that it is left alone.
pub(crate) fn epoch(json: &[u8]) -> u64 {
    serde_json::from_slice::<Placement>(json).map_or(u64::MAX, |placement| placement.epoch)
}

/// All placements, by name; entries that cannot be read are left alone and passed over.
pub(crate) fn all(txn: &redb::ReadTransaction) -> Result<Vec<Placement>, redb::Error> {
    let table = match txn.open_table(PLACEMENTS) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(e) => return Err(e.into()),
    };
    let mut placements = Vec::new();
    for entry in table.iter()? {
        let (name, json) = entry?;
        match serde_json::from_slice(json.value()) {
            Ok(placement) => placements.push(placement),
            Err(why) => tracing::error!(placement = name.value(), %why, "the entry cannot be read"),
        }
    }
    Ok(placements)
}
