//! The virtual peer in a shell of its own: real sockets, no node, no WebAssembly.
//!
//! What a node's figures are compared with, and what tests of the peer alone run against. One thread does everything;
//! each turn hands one batch of events to [`avp::peer::VirtualPeer`], as a node does.

mod sockets;

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use avp::application::monitoring::{Sample, Value};
use avp::config::Config;
use avp::peer::VirtualPeer;

use crate::node::Metrics;
use sockets::Sockets;

/// How long a turn waits where nothing happens; so soon a shell sees that it is to stop.
const TURN_MAX: Duration = Duration::from_millis(100);

/// A virtual peer on a thread of its own; ended when dropped.
#[derive(Debug)]
pub struct Native {
    address: SocketAddr,
    /// Asks the thread for figures; it ends where nobody can ask any more.
    figures: Option<Sender<Sender<Vec<Sample>>>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Native {
    /// Starts to listen where the configuration says; port 0 lets the system choose.
    ///
    /// # Errors
    /// Where that address cannot be listened on.
    pub fn start(config: Config) -> io::Result<Self> {
        let shell = Shell::new(config)?;
        let address = shell.address();
        let (figures, asked) = channel();
        let thread =
            std::thread::Builder::new().name("native-avp".to_owned()).spawn(move || shell.serve(&asked))?;
        Ok(Self { address, figures: Some(figures), thread: Some(thread) })
    }

    /// Its figures now.
    ///
    /// # Panics
    /// Where it has ended.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let (ask, answer) = channel();
        self.figures.as_ref().expect("not dropped").send(ask).expect("it runs");
        let samples = answer.recv().expect("it runs");
        Metrics::of(samples.iter().filter_map(|s| match s.value {
            Value::Counter(value) | Value::Gauge(value) => Some((s.name, s.labels().to_vec(), value)),
            // Nobody here asks for one.
            Value::Histogram { .. } => None,
        }))
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        drop(self.figures.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.expect("the virtual peer does not panic").expect("its sockets work");
            }
        }
    }
}

/// A virtual peer to be driven by the caller's thread.
#[derive(Debug)]
pub struct Shell {
    peer: VirtualPeer,
    sockets: Sockets,
}

impl Shell {
    /// Starts to listen where the configuration says; port 0 lets the system choose.
    ///
    /// # Errors
    /// Where the configuration is out of bounds, or that address cannot be listened on.
    pub fn new(mut config: Config) -> io::Result<Self> {
        config.validate().map_err(io::Error::other)?;
        let sockets = Sockets::new(config.listen)?;
        config.listen = sockets.address();
        let mut seed = [0; 32];
        // Repeatable: whatever chance decides, it decides the same in every run.
        crate::dice::Dice::new(u64::from(config.listen.port())).fill(&mut seed);
        let peer = VirtualPeer::new(config, seed, sockets.now());
        let mut shell = Self { peer, sockets };
        shell.hand_over();
        Ok(shell)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.sockets.address()
    }

    fn serve(mut self, asked: &Receiver<Sender<Vec<Sample>>>) -> io::Result<()> {
        loop {
            match asked.try_recv() {
                // Whoever asked may have given up.
                Ok(ask) => drop(ask.send(self.peer.metrics())),
                Err(TryRecvError::Empty) => self.turn()?,
                Err(TryRecvError::Disconnected) => {
                    self.stop();
                    return Ok(());
                }
            }
        }
    }

    /// Waits for sockets or the peer's timer, and hands over what has happened.
    ///
    /// # Errors
    /// Where waiting fails.
    pub fn turn(&mut self) -> io::Result<()> {
        self.sockets.wait(TURN_MAX)?;
        self.hand_over();
        Ok(())
    }

    /// Has the peer say goodbye.
    pub fn stop(&mut self) {
        let now = self.sockets.now();
        self.peer.stop(now, &mut self.sockets);
        self.sockets.flush();
    }

    fn hand_over(&mut self) {
        let (events, bytes) = self.sockets.take_batch();
        let now = self.sockets.now();
        self.peer.handle(now, events.iter().map(|e| e.lend(&bytes)), &mut self.sockets);
        self.sockets.flush();
        self.sockets.give_back(events, bytes);
    }
}
