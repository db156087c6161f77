//! {{name}}: answers each line that it receives. The shell around `lines`: it listens, and passes bytes on.

mod lines;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use eep_sdk::{Conn, Event, Events, Instant, Proxylet, log, net};
use lines::Lines;

/// The version of what [`Service::save`] writes.
const STATE_VERSION: u8 = 1;

#[derive(Default)]
struct Service {
    connections: BTreeMap<Conn, Lines>,
    /// Lines that were answered, over all restarts.
    answered: u64,
}

impl Proxylet for Service {
    fn start(_now: Instant, config: &str) -> Result<Self, String> {
        let config: serde_json::Value = serde_json::from_str(config).map_err(|e| format!("config: {e}"))?;
        let listen = config["listen"].as_str().unwrap_or("127.0.0.1:7007");
        let address: SocketAddr = listen.parse().map_err(|e| format!("config: listen: {listen:?}: {e}"))?;
        let (_, bound) = net::listen(address).map_err(|e| format!("listen: {address}: {e}"))?;
        log!(Info, "{{name}} on {bound}");
        Ok(Self::default())
    }

    fn restore(now: Instant, config: &str, state: &[u8]) -> Result<Self, String> {
        let answered = match state {
            [STATE_VERSION, count @ ..] => count.try_into().map(u64::from_le_bytes).ok(),
            _ => None,
        };
        let answered = answered.ok_or("state: not written by this version")?;
        Ok(Self { answered, ..Self::start(now, config)? })
    }

    fn handle(&mut self, _now: Instant, events: Events<'_>) {
        for event in events {
            match event {
                Event::Received { conn, bytes } => match self.connections.entry(conn).or_default().take(bytes) {
                    Ok((answers, count)) => {
                        self.answered += count;
                        if !answers.is_empty() && net::send_one(conn, &answers) {
                            // It does not read what it is sent: TCP holds it back until it does.
                            net::receive(conn, false);
                        }
                    }
                    Err(lines::TooLong) => {
                        log!(Warn, "a line over {} bytes: closing", lines::LINE_BYTES_MAX);
                        self.connections.remove(&conn);
                        net::close(conn);
                    }
                },
                Event::Writable { conn } => net::receive(conn, true),
                Event::Closed { conn, .. } => {
                    self.connections.remove(&conn);
                }
                _ => {}
            }
        }
    }

    fn save(&self) -> Vec<u8> {
        [&[STATE_VERSION], self.answered.to_le_bytes().as_slice()].concat()
    }
}

eep_sdk::proxylet!(Service, manifest = "../proxylet.json");
