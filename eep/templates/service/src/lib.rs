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
        let mut service = Self::start(now, config)?;
        service.take_up(state).ok_or("state: not written by this version")?;
        log!(Info, "{} lines were answered so far", service.answered);
        Ok(service)
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

    /// The version, the count, and each connection with the beginning of a line that has come on it.
    fn save(&self) -> Vec<u8> {
        let mut state = vec![STATE_VERSION];
        state.extend(self.answered.to_le_bytes());
        for (conn, lines) in &self.connections {
            let unfinished = lines.unfinished();
            state.extend(conn.to_le_bytes());
            state.extend((unfinished.len() as u64).to_le_bytes());
            state.extend(unfinished);
        }
        state
    }
}

impl Service {
    /// Reads what [`Service::save`] wrote, and takes over the connections that live on.
    fn take_up(&mut self, state: &[u8]) -> Option<()> {
        let (version, mut rest) = state.split_first()?;
        if *version != STATE_VERSION {
            return None;
        }
        let alive = net::connections();
        self.answered = number(&mut rest)?;
        while !rest.is_empty() {
            let (conn, len) = (number(&mut rest)?, number(&mut rest)?);
            let (unfinished, more) = rest.split_at_checked(usize::try_from(len).ok()?)?;
            if alive.contains(&conn) {
                self.connections.insert(conn, Lines::with(unfinished));
            }
            rest = more;
        }
        Some(())
    }
}

fn number(state: &mut &[u8]) -> Option<u64> {
    let (bytes, rest) = state.split_first_chunk()?;
    *state = rest;
    Some(u64::from_le_bytes(*bytes))
}

eep_sdk::proxylet!(Service, manifest = "../proxylet.json");
