//! Why a proxylet cannot be loaded, started or changed.

use std::io;

use crate::host::grant::GrantError;
use crate::proxylet::digest::Digest;
use crate::proxylet::limits::LimitsError;
use crate::proxylet::trap::TrapReport;

/// Why bytes are not a proxylet that this node can run, or not with these grants. Nothing has changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The bytes are not the ones that were asked for.
    #[error(
        "digest: these bytes are sha256 {found}, wanted {wanted}: the file was changed, or the digest is of another version"
    )]
    Digest {
        /// What was asked for.
        wanted: Digest,
        /// What the bytes have.
        found: Digest,
    },
    /// No WebAssembly at all.
    #[error("this is not WebAssembly (it starts with {start}): is the address right?")]
    NotWasm {
        /// The first bytes, readable.
        start: String,
    },
    /// WebAssembly that ends early.
    #[error("the WebAssembly ends early, after {len} bytes: fetch it again")]
    Truncated {
        /// How many bytes there are.
        len: usize,
    },
    /// A core module.
    #[error("this is a core module, not a component: build it with `eep proxylet build`")]
    CoreModule,
    /// WebAssembly that is broken.
    #[error("invalid WebAssembly at byte {offset}: {why}")]
    Invalid {
        /// Where.
        offset: u64,
        /// What the validator says.
        why: String,
    },
    /// The embedded manifest cannot be read.
    #[error("the manifest in the proxylet's section `eep:proxylet`: {0}")]
    Manifest(serde_json::Error),
    /// An import that this node does not have.
    #[error("the proxylet imports `{interface}`, which this node does not offer. It offers {offered}. {fix}")]
    UnknownInterface {
        /// The interface with its version.
        interface: String,
        /// What the node has.
        offered: String,
        /// What to do.
        fix: &'static str,
    },
    /// An import in a version that this node does not have.
    #[error("the proxylet wants `{interface}` in version {wanted}, this node offers {offered}: {fix}")]
    Version {
        /// The interface without a version.
        interface: String,
        /// The proxylet's version.
        wanted: String,
        /// The node's version.
        offered: &'static str,
        /// What to do.
        fix: &'static str,
    },
    /// An interface of the right version, and of another shape.
    #[error(
        "the proxylet was built against another form of `{interface}`: the {item} {wanted} there, and this node has \
         {offered}: build it again with the SDK and the contract of this node (`eep proxylet new` makes a project with both)"
    )]
    Shape {
        /// The interface with its version.
        interface: String,
        /// The function or type.
        item: String,
        /// What it is to the proxylet.
        wanted: String,
        /// What it is to the node.
        offered: String,
    },
    /// The world's export is missing.
    #[error("the proxylet does not export `{interface}`: implement the world `eep:proxylet/service`")]
    NoExport {
        /// The interface with its version.
        interface: String,
    },
    /// A right that was not given.
    #[error(
        "{proxylet} imports `{interface}`, but nothing that it is granted allows it: add `{missing}` to the service's `grant` list{wants}"
    )]
    NotGranted {
        /// The proxylet's own name.
        proxylet: String,
        /// The interface with its version.
        interface: String,
        /// An example of the missing grant.
        missing: &'static str,
        /// What the proxylet itself asks for, as a sentence part.
        wants: String,
    },
    /// A grant that is no grant.
    #[error(transparent)]
    Grant(#[from] GrantError),
    /// The imports have the right names but other types, or the compiler refuses.
    #[error("{0}")]
    Compile(String),
}

/// Why a service does not run. What it was before is unchanged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The limits make no sense.
    #[error(transparent)]
    Limits(#[from] LimitsError),
    /// The code or its grants.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The node runs as many services as it may.
    #[error(
        "this node runs {running} services, its limit: stop one, or raise `limits.services` in the node file"
    )]
    Full {
        /// How many run.
        running: usize,
    },
    /// The proxylet said no: a port in use, a configuration it does not like.
    #[error("{0}")]
    Refused(String),
    /// The proxylet trapped while it started.
    #[error("it trapped while it started: {0}")]
    Trapped(TrapReport),
    /// Those who vouched for the code are not trusted any more.
    #[error("its code may not run any more: {0}")]
    Distrusted(String),
    /// The system gave no thread, memory or descriptor.
    #[error("the system: {0}")]
    System(#[from] io::Error),
    /// The saved state could not be read.
    #[error("its saved state: {0}")]
    State(#[from] crate::proxylet::state_store::StoreError),
}

/// Why a running service did not take an order.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// It does not run (any more).
    #[error("the service is not running")]
    NotRunning,
    /// A client records it already.
    #[error("a recording of it is under way: end that one first")]
    Recorded,
    /// It could not go on with a new instance of the same code.
    #[error("it cannot be renewed: {0}")]
    NotRenewed(String),
    /// The system gave no thread.
    #[error("the system: {0}")]
    System(#[from] io::Error),
    /// Its queue of orders is full.
    #[error("the service is busy with earlier orders: try again")]
    Busy,
    /// It trapped; what was ordered holds for its next instance.
    #[error("the proxylet trapped over it; it is started again with the new configuration")]
    Trapped,
}
