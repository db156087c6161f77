//! Sends back what it receives (RFC 862): the smallest useful proxylet, and the one to read first.

use std::net::SocketAddr;

use eep_sdk::{Conn, Event, Events, Instant, Proxylet, log, net};

/// The service. A peer that does not read is held back by TCP: while it is congested, nothing is read from it.
struct Echo;

/// The version of the state. There is nothing in it: which connections are congested, the node knows.
const STATE: &[u8] = &[1];

impl Proxylet for Echo {
    fn start(_now: Instant, config: &str) -> Result<Self, String> {
        let config: serde_json::Value = serde_json::from_str(config).map_err(|e| format!("config: {e}"))?;
        let listen = config["listen"].as_str().unwrap_or("127.0.0.1:7007");
        let address: SocketAddr = listen.parse().map_err(|e| format!("config: listen: {listen:?}: {e}"))?;
        let (_, bound) = net::listen(address).map_err(|e| format!("listen: {address}: {e}"))?;
        log!(Info, "echo on {bound}");
        Ok(Self)
    }

    fn restore(now: Instant, config: &str, state: &[u8]) -> Result<Self, String> {
        if state != STATE {
            return Err(format!(
                "the state begins with {:?}, and this version knows {STATE:?}",
                state.first()
            ));
        }
        let echo = Self::start(now, config)?;
        log!(Info, "{} connections taken over", net::connections().len());
        Ok(echo)
    }

    fn save(&self) -> Vec<u8> {
        STATE.to_vec()
    }

    fn handle(&mut self, _now: Instant, events: Events<'_>) {
        let (mut bytes, mut targets, mut segments) = (Vec::new(), Vec::<Conn>::new(), Vec::new());
        for event in events {
            match event {
                Event::Received { conn, bytes: run } => {
                    bytes.extend_from_slice(run);
                    targets.push(conn);
                    segments.push(net::Segment { targets: 1, len: run.len() as u32 });
                }
                Event::Writable { conn } => net::receive(conn, true),
                _ => {}
            }
        }
        if !segments.is_empty() {
            for congested in net::send(&bytes, &targets, &segments) {
                net::receive(congested, false);
            }
        }
    }
}

eep_sdk::proxylet!(Echo, manifest = "../proxylet.json");
