//! The capability `deploy`: services that a service launches.

use crate::host::Host;
use crate::host::bindings::eep::proxylet::deploy::{self, DeployError, Launched, Order};
use crate::host::outside::Request;

impl deploy::Host for Host {
    fn launch(&mut self, order: Order) -> Result<u64, DeployError> {
        self.env.request(Request::Launch(order)).ok_or(DeployError::Busy)
    }

    fn stop(&mut self, name: String) -> Result<u64, DeployError> {
        self.env.request(Request::Stop(name)).ok_or(DeployError::Busy)
    }

    fn list(&mut self) -> Vec<Launched> {
        self.env.door.launched()
    }
}
