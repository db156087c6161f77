//! Services launched on this node or on others. Grant: `deploy`, or `deploy:N` for at most N services at one time.
//!
//! What is launched belongs to the service that launched it, and can never do more than it: see
//! `proxylets/wit/deploy.wit`. Requests are answered later, with [`crate::Event::Answer`]:
//!
//! ```no_run
//! use eep_sdk::deploy::{self, Order, Place};
//! use eep_sdk::{Event, Events, log};
//!
//! fn start(sha256: &str) -> Option<u64> {
//!     let near = Place::Near("192.0.2.0/24".to_owned());
//!     let order = Order { grants: vec!["net.listen:7007".to_owned()], ..deploy::order("echo-2", sha256, near) };
//!     deploy::launch(&order).ok()
//! }
//!
//! fn handle(launching: Option<u64>, events: Events<'_>) {
//!     for event in events {
//!         if let Event::Answer { request, done, bytes } = event
//!             && Some(request) == launching
//!         {
//!             let words = String::from_utf8_lossy(bytes);
//!             match done {
//!                 true => log!(Info, "it runs on the node {words}"),
//!                 false => log!(Warn, "nobody runs it: {words}"),
//!             }
//!         }
//!     }
//! }
//! ```

use std::fmt;

use crate::bindings::eep::proxylet::deploy;

pub use deploy::{DeployError, Launched, Order, Place};

/// Why a request was not taken; in words that a person can act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused(pub DeployError);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            DeployError::Busy => "16 requests wait for their answers: wait for one",
        })
    }
}

impl std::error::Error for Refused {}

/// An order for code that the node or another one of the mesh holds, without grants, with its defaults for a
/// configuration, and with the limits of the service itself.
#[must_use]
pub fn order(name: &str, sha256: &str, place: Place) -> Order {
    Order {
        name: name.to_owned(),
        sha256: sha256.to_owned(),
        url: None,
        place,
        grants: Vec::new(),
        memory: None,
        connections: None,
        cpu: None,
        config: String::new(),
    }
}

/// Has a service run. The answer's bytes are the id of the node on which it runs, in hexadecimal digits (empty on a node
/// without a mesh), or why it does not run; then nothing was changed.
///
/// # Errors
/// 16 requests wait for their answers.
pub fn launch(order: &Order) -> Result<u64, Refused> {
    deploy::launch(order).map_err(Refused)
}

/// Has a service that this one has launched stopped and forgotten. The answer's bytes are empty, or why that was not done.
///
/// # Errors
/// 16 requests wait for their answers.
pub fn stop(name: &str) -> Result<u64, Refused> {
    deploy::stop(name).map_err(Refused)
}

/// What this service has launched, by name.
#[must_use]
pub fn list() -> Vec<Launched> {
    deploy::list()
}
