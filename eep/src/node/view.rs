//! What the node shows of its services and of itself.

use std::net::SocketAddr;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::config::health::Health;
use crate::policy::service::PolicyView;
use crate::policy::whereabouts::TableView;
use crate::proxylet::service::OnTrap;
use crate::proxylet::status::{Listening, Protocol, State, Status};
use crate::proxylet::trust::SignerView;
use crate::state::desired::Wanted;

/// A service: what is wanted of it and how it is.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ServiceView {
    /// How it is.
    #[serde(flatten)]
    pub status: Status,
    /// Whether it is to run.
    pub wanted: Wanted,
    /// Where its code came from.
    pub url: String,
    /// Whether the operator named the code's digest.
    pub pinned: bool,
    /// What happens when it traps.
    pub on_trap: OnTrap,
    /// How a new version of its code shows that it is well.
    pub health: Health,
    /// Whose signatures let its code run; empty where the node asks for none.
    pub signers: Vec<SignerView>,
    /// What the proxylet says of itself.
    pub about: String,
    /// What to try with it while it runs, in a sentence.
    pub hint: Option<String>,
    /// Its policy.
    pub policy: Option<PolicyView>,
    /// Its whole configuration, defaults included.
    #[schema(value_type = Object)]
    pub config: Map<String, Value>,
    /// What the operator set of it.
    #[schema(value_type = Object)]
    pub settings: Map<String, Value>,
}

/// All services.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ServiceList {
    /// By name.
    pub services: Vec<ServiceView>,
}

/// The node's place in the mesh.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct MeshView {
    /// Its id: the SHA-256 of its public key.
    pub id: String,
    /// What its certificate calls it.
    pub name: String,
    /// Its domain.
    pub domain: String,
    /// Where the mesh listens, UDP.
    pub address: String,
}

impl MeshView {
    pub(super) fn of(mesh: &crate::mesh::Mesh) -> Self {
        let me = mesh.me();
        Self { id: me.id.to_string(), name: me.name, domain: me.domain, address: mesh.address().to_string() }
    }
}

/// The node itself.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct NodeView {
    /// What it is called.
    pub name: String,
    /// Its version.
    pub version: &'static str,
    /// Its process.
    pub pid: u32,
    /// The address of the API on TCP; none where it is served on the control socket alone.
    pub api: Option<String>,
    /// The mesh that it is in; none where it is on its own.
    pub mesh: Option<MeshView>,
    /// Its table of autonomous systems; none where it has none.
    pub systems: Option<TableView>,
    /// Where it keeps what must survive it.
    pub data: String,
    /// Seconds since it was started.
    pub uptime_s: f64,
    /// Services that are wanted.
    pub services: usize,
    /// Services that run.
    pub services_running: usize,
    /// Resident memory of the process in bytes.
    pub memory_bytes: u64,
    /// File descriptors that services hold.
    pub descriptors: usize,
    /// File descriptors that services may hold together.
    pub descriptors_max: usize,
}

/// The hint of a proxylet with the values of its configuration put in. `{listen}` is where it listens now, in a form
/// that can be connected to from this machine.
pub(super) fn hint(text: &str, config: &Map<String, Value>, status: &Status) -> Option<String> {
    if text.is_empty() || status.state != State::Running {
        return None;
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        out += before;
        let Some((key, tail)) = after.split_once('}') else {
            out.push('{');
            rest = after;
            continue;
        };
        match (key, reachable(&status.listening), config.get(key)) {
            ("listen", Some(address), _) => out += &address.to_string(),
            (_, _, Some(Value::String(value))) => out += value,
            (_, _, Some(value)) => out += &value.to_string(),
            (_, _, None) => {
                out.push('{');
                out += key;
                out.push('}');
            }
        }
        rest = tail;
    }
    Some(out + rest)
}

/// The first TCP listener, or the first of all, as an address of this machine.
pub(super) fn reachable(listening: &[Listening]) -> Option<SocketAddr> {
    let first = listening.iter().find(|l| l.protocol == Protocol::Tcp).or(listening.first());
    let mut address = first?.address;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    Some(address)
}

/// Resident memory of this process in bytes; 0 where the system does not say.
pub(super) fn resident_bytes() -> u64 {
    // proc_pid_statm(5): the second number is the resident set, in pages.
    let Ok(statm) = std::fs::read_to_string("/proc/self/statm") else { return 0 };
    let pages: u64 = statm.split(' ').nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}
