//! Nodes of a test in a mesh.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::{API_PORT, Node, eep_binary};
use crate::http;
use crate::loopback::Loopback;

/// Port of every test node's mesh endpoint, on an address of its own.
pub const MESH_PORT: u16 = 16_340;

impl Node {
    /// Starts a node in a mesh: the first of a domain of its own, or another one of a node's domain.
    ///
    /// # Panics
    /// Where it does not come up.
    #[must_use]
    pub fn start_in_mesh(net: &Loopback, of: Option<&Self>, name: &str, mesh: &Value) -> Self {
        Self::start_in_mesh_at(net.at(MESH_PORT), net, of, name, mesh)
    }

    /// The same, with its mesh endpoint there.
    ///
    /// # Panics
    /// Where it does not come up.
    #[must_use]
    pub fn start_in_mesh_at(
        at: SocketAddr,
        net: &Loopback,
        of: Option<&Self>,
        name: &str,
        mesh: &Value,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut node = Self { binary: eep_binary(), folder, api: net.at(API_PORT), child: None };
        let ca = of.map(|other| other.data().join("mesh"));
        let ca =
            ca.map(|folder| [folder.join("ca.pem"), folder.join("ca.key")].map(|p| p.display().to_string()));
        let _ = match &ca {
            Some([ca, key]) => node.eep(&["init", "--name", name, "--ca", ca, "--ca-key", key]).done(),
            None => node.eep(&["init", "--name", name, "--domain", "isp-a"]).done(),
        };
        let listen = json!({ "api": node.api.to_string(), "mesh": at.to_string() });
        let file = json!({ "node": {"domain": "isp-a"}, "listen": listen, "mesh": mesh });
        std::fs::write(node.path("eep.yaml"), file.to_string()).expect("a node file");
        node.run();
        node
    }

    /// Where its mesh endpoint listens.
    ///
    /// # Panics
    /// Where it is in no mesh.
    #[must_use]
    pub fn mesh_address(&self) -> String {
        let answer = http::get(self.api, "/v1/node").expect("the API answers");
        let node: Value = serde_json::from_slice(&answer.body).expect("JSON");
        node["mesh"]["address"].as_str().expect("a node in a mesh").to_owned()
    }
}
