//! The capability `topology` on a node without a mesh.

use crate::host::bindings::eep::proxylet::topology::{self, Found, Metric, View, Way};
use crate::proxylet::harness::capabilities::TestHost;

impl topology::Host for TestHost {
    fn map(&mut self) -> View {
        View { version: 0, me: String::new(), nodes: Vec::new(), links: Vec::new() }
    }

    fn nearest(&mut self, _: String, _: Metric) -> Vec<Found> {
        Vec::new()
    }

    fn region(&mut self, _: Option<String>, _: Metric) -> Vec<Found> {
        Vec::new()
    }

    fn route(&mut self, _: String, _: Metric) -> Option<Way> {
        None
    }
}
