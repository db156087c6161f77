//! The Active Virtual Peer in a node: a shell around the `avp` crate, which holds everything that is Gnutella.
//!
//! A proxylet that is a Gnutella peer is this shell and, where it is to be another one than the stock peer, what it does
//! in another way:
//!
//! ```
//! use avp::application::dynamic_query::Candidate;
//! use avp::application::routing::{Routed, Routing};
//! use gnutella_shell::{Peer, Variant};
//!
//! /// Asks the eight nearest neighbours.
//! #[derive(Debug)]
//! struct Nearest;
//!
//! impl Routing for Nearest {
//!     fn choose(&mut self, _query: &Routed<'_>, neighbours: &mut Vec<Candidate>) {
//!         neighbours.sort_by_key(|neighbour| neighbour.round_trip.unwrap_or(std::time::Duration::MAX));
//!         neighbours.truncate(8);
//!     }
//! }
//!
//! impl Variant for Nearest {
//!     fn routing() -> Option<Box<dyn Routing>> {
//!         Some(Box::new(Nearest))
//!     }
//! }
//!
//! type Proxylet = Peer<Nearest>; // eep_sdk::proxylet!(Peer<Nearest>, manifest = "../proxylet.json");
//! ```

mod figures;
mod host;
mod policy;

use std::marker::PhantomData;
use std::net::SocketAddr;

use avp::application::routing::Routing;
use avp::{Config, ConnId, VirtualPeer};
use eep_sdk::{Event, Events, Instant, Listener, Proxylet, clock, datagram, log, net, random};

use figures::Figures;
use host::{NodeHost, WAKE};

/// The token of the timer that takes the figures to the node.
const FIGURES: u64 = 1;

/// What makes a peer of this shell another one than the stock peer.
pub trait Variant: Sized + 'static {
    /// Who chooses the way of its queries; the standard rules unless given. Called once for each instance.
    fn routing() -> Option<Box<dyn Routing>> {
        None
    }
}

/// The stock peer: the standard rules.
#[derive(Debug)]
pub struct Stock;

impl Variant for Stock {}

/// The peer, its port and its figures.
#[derive(Debug)]
pub struct Peer<V> {
    peer: VirtualPeer,
    host: NodeHost,
    listener: Listener,
    listen: SocketAddr,
    figures: Figures,
    /// The time of the batch before, for a stop, which brings none.
    now: Instant,
    variant: PhantomData<V>,
}

impl<V: Variant> Peer<V> {
    fn begin(now: Instant, config: &str, state: Option<&[u8]>) -> Result<Self, String> {
        let mut config = read(config)?;
        let (listener, (mut host, listen)) = open(config.listen)?;
        config.listen = listen;
        let seed = random::bytes();
        let at = avp::Instant(now);
        let mut peer = match state {
            Some(state) => {
                let live: Vec<ConnId> = net::connections().into_iter().map(ConnId).collect();
                VirtualPeer::restore(config, seed, at, state, &live, &mut host)
                    .map_err(|e| format!("state: {e}"))?
            }
            None => VirtualPeer::new(config, seed, at),
        };
        if let Some(routing) = V::routing() {
            peer = peer.route_with(routing);
        }
        let generation = eep_sdk::policy::generation();
        // The first batch lets a new peer ask for its first wake-up and dial its first neighbours. One that goes on where
        // another stood has nothing to do before something happens, unless there is a policy to learn.
        if state.is_none() || generation != 0 {
            peer.handle(at, [avp::Event::PolicyChanged { generation }], &mut host);
        }
        log!(Info, "ultrapeer on {listen}");
        let mut figures = Figures::default();
        figures.report(peer.metrics());
        if state.is_some() {
            figures.tell_all();
        }
        clock::set_timer(FIGURES, now + figures::PERIOD_NS);
        Ok(Self { peer, host, listener, listen, figures, now, variant: PhantomData })
    }

    /// Puts a modified configuration in force; one that cannot be leaves the present one as it is.
    fn configure(&mut self, now: Instant, config: &str) -> Result<(), String> {
        let mut config = read(config)?;
        if config.listen != self.listen {
            let (listener, (host, listen)) = open(config.listen)?;
            net::unlisten(std::mem::replace(&mut self.listener, listener));
            if let Some(socket) = std::mem::replace(&mut self.host, host).socket() {
                datagram::unbind(socket);
            }
            self.listen = listen;
        }
        config.listen = self.listen;
        self.peer.configure(avp::Instant(now), config, &mut self.host);
        Ok(())
    }
}

impl<V: Variant> Proxylet for Peer<V> {
    fn start(now: Instant, config: &str) -> Result<Self, String> {
        Self::begin(now, config, None)
    }

    fn restore(now: Instant, config: &str, state: &[u8]) -> Result<Self, String> {
        Self::begin(now, config, Some(state))
    }

    fn handle(&mut self, now: Instant, events: Events<'_>) {
        self.now = now;
        let mut configured = None;
        let mut figures_due = false;
        let socket = self.host.socket();
        let events = events.filter_map(|event| match event {
            Event::Timer { token: FIGURES } => {
                figures_due = true;
                None
            }
            Event::Configured { config } => {
                configured = Some(config);
                None
            }
            Event::Datagram { socket: from, .. } if Some(from) != socket => None,
            other => translate(other),
        });
        self.peer.handle(avp::Instant(now), events, &mut self.host);
        if let Some(config) = configured
            && let Err(reason) = self.configure(now, &config)
        {
            log!(Error, "the configuration stays as it was: {reason}");
        }
        if figures_due {
            self.figures.report(self.peer.metrics());
            clock::set_timer(FIGURES, now + figures::PERIOD_NS);
        }
    }

    fn save(&self) -> Vec<u8> {
        self.figures.tell_all();
        self.peer.save()
    }

    fn stop(&mut self) {
        self.peer.stop(avp::Instant(self.now), &mut self.host);
    }
}

fn read(config: &str) -> Result<Config, String> {
    let config: Config = serde_json::from_str(config).map_err(|e| format!("config: {e}"))?;
    config.validate().map_err(|e| format!("config: {e}"))?;
    Ok(config)
}

/// Opens the port for streams, and for datagrams where that is granted.
fn open(listen: SocketAddr) -> Result<(Listener, (NodeHost, SocketAddr)), String> {
    let (listener, bound) = net::listen(listen).map_err(|e| format!("listen: {listen}/tcp: {e}"))?;
    let socket = match datagram::bind(bound) {
        Ok((socket, _)) => Some(socket),
        Err(net::Refused(net::NetError::NotGranted)) => {
            log!(Warn, "no datagrams: add the grant datagram:{} for UDP host caching", bound.port());
            None
        }
        Err(e) => {
            net::unlisten(listener);
            return Err(format!("listen: {bound}/udp: {e}"));
        }
    };
    Ok((listener, (NodeHost::new(socket), bound)))
}

fn translate(event: Event<'_>) -> Option<avp::Event<'_>> {
    Some(match event {
        Event::Accepted { conn, remote, local, .. } => {
            avp::Event::Accepted { conn: ConnId(conn), remote, local }
        }
        Event::Established { conn, remote, local } => {
            avp::Event::Established { conn: ConnId(conn), remote, local }
        }
        Event::Failed { conn, reason } => avp::Event::Failed { conn: ConnId(conn), reason: why(reason) },
        Event::Received { conn, bytes } => avp::Event::Received { conn: ConnId(conn), bytes },
        Event::Writable { conn } => avp::Event::Writable { conn: ConnId(conn) },
        Event::Closed { conn, reason } => avp::Event::Closed { conn: ConnId(conn), reason: why(reason) },
        Event::Datagram { from, bytes, .. } => avp::Event::Datagram { from, bytes },
        Event::PolicyChanged { generation } => avp::Event::PolicyChanged { generation },
        Event::Timer { token: WAKE } => avp::Event::Timer,
        _ => return None,
    })
}

fn why(reason: eep_sdk::CloseReason) -> avp::CloseReason {
    use eep_sdk::CloseReason as Node;
    match reason {
        Node::Ended => avp::CloseReason::Ended,
        Node::Reset => avp::CloseReason::Reset,
        Node::Refused => avp::CloseReason::Refused,
        Node::TimedOut => avp::CloseReason::TimedOut,
        Node::Unreachable => avp::CloseReason::Unreachable,
        Node::NotGranted => avp::CloseReason::NotGranted,
        Node::Limit => avp::CloseReason::Limit,
        Node::Corrupt => avp::CloseReason::Corrupt,
    }
}
