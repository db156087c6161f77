//! Services that this node has placed on others: who may run which, written before anybody is told.

use redb::{ReadableTable as _, TableDefinition};
use serde::{Deserialize, Serialize};

use crate::config::{ServiceEntry, ServiceName};
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
    /// Who alone may run it now, by id; nobody while one is looked for.
    pub node: Option<String>,
    /// Raised each time that somebody else may run it: what was given out before is void.
    pub epoch: u64,
    /// How often it was started again on another node.
    #[serde(default)]
    pub moves: u64,
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
