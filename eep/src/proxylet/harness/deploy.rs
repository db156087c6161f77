//! The capability `deploy` on a node where everything can be launched, and nothing of it runs: what is asked is answered
//! with the next batch.

use crate::host::bindings::eep::proxylet::deploy::{self, DeployError, Launched, Order};
use crate::host::grant::{Grant, GrantError, Grants};
use crate::proxylet::harness::capabilities::TestHost;

/// The id of the node on which everything runs.
const NODE: &str = "0000000000000000000000000000000000000000000000000000000000000000";

impl TestHost {
    fn launched(&mut self, order: Order) -> Result<Vec<u8>, String> {
        for text in &order.grants {
            let grant: Grant = text.parse().map_err(|e: GrantError| e.to_string())?;
            if matches!(grant, Grant::Deploy(_)) || !self.grants.cover(&Grants::new([grant])) {
                return Err(format!("the service has no right to {grant} that it could pass on"));
            }
        }
        if self.launched.contains_key(&order.name) {
            return Err(format!("there is a service called {:?} already", order.name));
        }
        if self.launched.len() >= usize::from(self.grants.deploy()) {
            return Err(format!("{} services are launched, and there may be no more", self.launched.len()));
        }
        let Order { name, sha256, .. } = order;
        let launched = Launched { name: name.clone(), sha256, node: Some(NODE.to_owned()), running: true };
        self.launched.insert(name, launched);
        Ok(NODE.into())
    }
}

impl deploy::Host for TestHost {
    fn launch(&mut self, order: Order) -> Result<u64, DeployError> {
        if self.network.is_busy() {
            return Err(DeployError::Busy);
        }
        let done = self.launched(order);
        Ok(self.network.answer(done))
    }

    fn stop(&mut self, name: String) -> Result<u64, DeployError> {
        if self.network.is_busy() {
            return Err(DeployError::Busy);
        }
        let stopped = self.launched.remove(&name).map(|_| Vec::new());
        Ok(self.network.answer(stopped.ok_or(format!("nothing called {name:?} was launched"))))
    }

    fn list(&mut self) -> Vec<Launched> {
        self.launched.values().cloned().collect()
    }
}
