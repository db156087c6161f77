//! What the rest of the node does for a service that asks: launching others, looking at the mesh.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::host::bindings::eep::proxylet::deploy::{Launched, Order};
use crate::host::bindings::eep::proxylet::mesh::{Identity, Target};
use crate::host::mesh::Opened;
use crate::host::topology::Views;
use crate::problem::Problem;
use crate::proxylet::runtime::Runtime;

/// What a proxylet asks for and is answered later.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Run a service.
    Launch(Order),
    /// Run it no longer.
    Stop(String),
    /// Hand this to a service.
    Message(Target, String, Vec<u8>),
}

/// The end of a request: the bytes of its answer.
pub(crate) type Work = BoxFuture<'static, Result<Vec<u8>, Box<Problem>>>;

/// The node around its services.
pub(crate) trait Outside: Send + Sync {
    /// Does what a service asks for, on the node's own threads, and to its end also where nobody waits for it.
    fn fulfil(self: Arc<Self>, service: &str, request: Request) -> Work;

    /// Opens a stream to a service.
    fn open(self: Arc<Self>, to: Target, service: String)
    -> BoxFuture<'static, Result<Opened, Box<Problem>>>;

    /// Who is behind a connection from an address of this machine.
    fn behind(&self, address: SocketAddr) -> Option<Identity>;

    /// Views of the mesh, put together from now on; none where the node is in none.
    fn views(self: Arc<Self>) -> Option<Views>;

    /// What a service has launched.
    fn launched(&self, service: &str) -> Vec<Launched>;
}

/// A service's way to the rest of the node.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) service: String,
}

impl Door {
    fn outside(&self) -> Option<Arc<dyn Outside>> {
        self.runtime.outside()
    }

    pub(crate) async fn fulfil(&self, request: Request) -> Result<Vec<u8>, Box<Problem>> {
        match self.outside() {
            Some(outside) => outside.fulfil(&self.service, request).await,
            None => Err(Problem::new("ending", 503, "the node is ending")),
        }
    }

    pub(crate) async fn open(&self, to: Target, service: String) -> Result<Opened, Box<Problem>> {
        match self.outside() {
            Some(outside) => outside.open(to, service).await,
            None => Err(Problem::new("ending", 503, "the node is ending")),
        }
    }

    pub(crate) fn behind(&self, address: SocketAddr) -> Option<Identity> {
        self.outside()?.behind(address)
    }

    pub(crate) fn views(&self) -> Option<Views> {
        self.outside()?.views()
    }

    pub(crate) fn launched(&self) -> Vec<Launched> {
        self.outside().map(|outside| outside.launched(&self.service)).unwrap_or_default()
    }
}
