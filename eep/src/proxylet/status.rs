//! What can be known of a service from outside.

use std::net::SocketAddr;

use serde::Serialize;

use crate::host::grant::Grant;
use crate::proxylet::digest::Digest;
use crate::proxylet::limits::Limits;
use crate::proxylet::swap::SwapReport;
use crate::proxylet::trap::TrapReport;
use crate::record::service::Recording;

/// Where a service is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Its first call, `start` or `restore`, has not returned.
    Starting,
    /// It takes events.
    Running,
    /// It trapped and is started again after a pause.
    BackingOff,
    /// It was told to stop.
    Stopped,
    /// It trapped, or could not be started again, and `on-trap` says `stop`.
    Failed,
}

/// What a socket that waits for peers speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// A listening stream socket.
    Tcp,
    /// A bound datagram socket.
    Udp,
}

/// A socket of the service that waits for peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Listening {
    /// What it speaks.
    pub protocol: Protocol,
    /// The address that was bound.
    #[schema(value_type = String)]
    pub address: SocketAddr,
}

/// What can be known of a service, at one moment.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Status {
    /// The service's name on this node.
    pub name: String,
    /// Where it is in its life.
    pub state: State,
    /// Why it does not run, where it does not.
    pub reason: Option<String>,
    /// The code.
    #[schema(value_type = String)]
    pub digest: Digest,
    /// The proxylet's own name, from its manifest.
    pub proxylet: String,
    /// The proxylet's own version, from its manifest.
    pub version: String,
    /// Its rights.
    #[schema(value_type = Vec<String>)]
    pub grants: Vec<Grant>,
    /// Its limits.
    #[schema(value_type = Object)]
    pub limits: Limits,
    /// Seconds since it was started, or started again, or other code took over; 0 where it does not run.
    pub uptime_s: f64,
    /// How often it was started again after a trap.
    pub restarts: u64,
    /// The last trap.
    pub last_trap: Option<TrapReport>,
    /// How the last swap of its code went.
    pub last_swap: Option<SwapReport>,
    /// Memory of the instance in bytes.
    pub memory_bytes: u64,
    /// Connections now.
    pub connections: u64,
    /// Connections refused at the limit, ever.
    pub connections_refused: u64,
    /// Processor seconds of the service's thread, ever.
    pub cpu_s: f64,
    /// Batches handed to the proxylet, ever.
    pub batches: u64,
    /// Events in these batches.
    pub events: u64,
    /// Bytes received from peers as the proxylet saw them (after inflating), ever.
    pub received_bytes: u64,
    /// Bytes sent to peers as the proxylet gave them (before deflating, once a target), ever.
    pub sent_bytes: u64,
    /// Half of the batches took at most so many microseconds inside the proxylet.
    pub batch_us_p50: f64,
    /// 99 of 100 batches took at most so many microseconds inside the proxylet.
    pub batch_us_p99: f64,
    /// The sockets on which it waits for peers.
    pub listening: Vec<Listening>,
    /// The recording of it that is written to files.
    pub recording: Option<Recording>,
}
