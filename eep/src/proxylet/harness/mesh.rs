//! The capability `mesh` on a node without a mesh: nobody is reached.

use crate::host::bindings::eep::proxylet::mesh::{self, Identity, MeshError, Target};
use crate::proxylet::harness::capabilities::TestHost;

impl mesh::Host for TestHost {
    fn open(&mut self, _: Target, _: String) -> Result<u64, MeshError> {
        self.network.fail().ok_or(MeshError::Limit)
    }

    fn peer(&mut self, _: u64) -> Option<Identity> {
        None
    }

    fn send(&mut self, _: Target, service: String, _: Vec<u8>) -> Result<u64, MeshError> {
        if self.network.is_busy() {
            return Err(MeshError::Limit);
        }
        Ok(self.network.answer(Err(format!("no such node offers {service}"))))
    }
}
