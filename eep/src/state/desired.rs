//! The services that are wanted: written before the answer is given, read when the node starts.

use redb::{ReadableTable as _, TableDefinition};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::health::Health;
use crate::config::{ServiceEntry, ServiceName, Source};
use crate::host::grant::Grant;
use crate::node::placed::PlacedBy;
use crate::proxylet::digest::Digest;
use crate::proxylet::limits::Limits;
use crate::proxylet::service::OnTrap;
use crate::record::service::Record;

/// Name to [`Desired`] as JSON.
pub(crate) const SERVICES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("services");

/// One service as it is wanted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Desired {
    /// What it is called on this node.
    pub name: ServiceName,
    /// Where its code came from.
    pub url: Source,
    /// The code.
    pub sha256: Digest,
    /// Whether the operator named the digest.
    pub pinned: bool,
    /// Where its rights come from.
    pub granted: Granted,
    /// How much it may use.
    pub limits: Limits,
    /// What happens when it traps.
    pub on_trap: OnTrap,
    /// How a new version of its code shows that it is well.
    #[serde(default)]
    pub health: Health,
    /// Whether it is recorded from its start on.
    #[serde(default)]
    pub record: Record,
    /// The operator's settings, over the proxylet's defaults.
    pub config: Map<String, Value>,
    /// Whether it is to run.
    pub wanted: Wanted,
    /// What the node file said of it when it was last applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<ServiceEntry>,
    /// Which other node has placed it here, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placed: Option<PlacedBy>,
    /// Which service of this node has launched it, if one has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launched_by: Option<ServiceName>,
}

/// Where a service's rights come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Granted {
    /// The operator listed them.
    Listed(Vec<Grant>),
    /// The operator lets this code have what it asks for; it follows the configuration.
    AsWanted,
}

/// Whether a service is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Wanted {
    /// Now, and whenever the node starts.
    Running,
    /// Not until it is started by hand.
    Stopped,
}

/// An entry that this version cannot read.
pub(crate) struct Unreadable {
    pub(crate) name: String,
    pub(crate) why: String,
}

/// All wanted services, by name.
pub(crate) fn all(txn: &redb::ReadTransaction) -> Result<Vec<Result<Desired, Unreadable>>, redb::Error> {
    let table = match txn.open_table(SERVICES) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(e) => return Err(e.into()),
    };
    let mut services = Vec::new();
    for entry in table.iter()? {
        let (name, json) = entry?;
        services.push(
            serde_json::from_slice(json.value())
                .map_err(|e| Unreadable { name: name.value().to_owned(), why: e.to_string() }),
        );
    }
    Ok(services)
}
