//! The ultrapeer that a test is about: in a node, as users run it, or natively, which tells a fault of the peer from
//! one of the node.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use serde_json::{Value, json};

use crate::loopback::Loopback;
use crate::native::Native;
use crate::node::{GNUTELLA_PORT, Metrics, Node};
use crate::wait::until_true;

/// Where the peer runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    Node,
    Native,
}

/// A running ultrapeer.
#[derive(Debug)]
pub struct Subject {
    address: SocketAddrV4,
    runs: Runs,
}

#[derive(Debug)]
enum Runs {
    Node(Node),
    Native(Native),
}

impl Subject {
    /// Starts one on an address of its own, with `config` over the settings that tests need.
    ///
    /// # Panics
    /// Where it does not start.
    #[must_use]
    pub fn start(shell: Shell, net: &Loopback, config: &Value) -> Self {
        Self::start_at(shell, net, net.ip(), config)
    }

    /// [`Self::start`] on this address.
    ///
    /// # Panics
    /// Where it does not start.
    #[must_use]
    pub fn start_at(shell: Shell, net: &Loopback, ip: Ipv4Addr, config: &Value) -> Self {
        let address = SocketAddrV4::new(ip, GNUTELLA_PORT);
        let runs = match shell {
            Shell::Node => {
                let node = Node::start(net);
                let _ = node.load_peer("edge", ip, config);
                Runs::Node(node)
            }
            Shell::Native => {
                let settings = peer_settings(address, config);
                let config = serde_json::from_value(settings).expect("settings of the virtual peer");
                Runs::Native(Native::start(config).expect("the virtual peer starts"))
            }
        };
        Self { address, runs }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address.into()
    }

    /// [`Self::address`], known to be of IPv4.
    #[must_use]
    pub fn address_v4(&self) -> SocketAddrV4 {
        self.address
    }

    /// Its figures now.
    ///
    /// # Panics
    /// Where it does not answer.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        match &self.runs {
            Runs::Node(node) => node.metrics(),
            Runs::Native(native) => native.metrics(),
        }
    }

    /// Waits until a figure has at least this value.
    ///
    /// # Panics
    /// Where it does not in time.
    pub fn expect_figure(&self, name: &str, labels: &[(&str, &str)], at_least: f64) {
        let what = format!("{name}{labels:?} of {at_least} or more");
        until_true(&what, || self.metrics().sum(name, labels) >= at_least);
    }
}

/// Settings of a virtual peer under test: its address, and that addresses of this machine are good ones.
pub(crate) fn peer_settings(address: SocketAddrV4, config: &Value) -> Value {
    let mut settings = json!({
        "listen": address.to_string(),
        "advertise": address.to_string(),
        "allow-private-addresses": true,
    });
    for (key, value) in config.as_object().into_iter().flatten() {
        settings[key] = value.clone();
    }
    settings
}
