//! A service that talks to one on another node, over a stream that stays open.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::guest::probe;
use crate::node::{Node, done, until};

/// What was said.
#[derive(Debug, Default)]
pub(crate) struct Talk {
    pub(crate) ending: AtomicBool,
    /// Questions that were answered as they are to be.
    pub(crate) answers: AtomicU64,
    /// Streams that failed, or said what they were not to say.
    pub(crate) failures: AtomicU64,
    pub(crate) longest_pause_ms: AtomicU64,
}

/// Loads the service that answers, under the name `probe`.
pub(crate) fn serve(node: &Node) {
    let digest = eep::proxylet::digest::Digest::of(&probe()).to_string();
    std::fs::write(node.dir.path().join("probe.wasm"), probe()).unwrap();
    done(&node.eep(&["load", "probe.wasm", "--sha256", &digest, "--name", "probe"]));
}

impl Talk {
    /// Talks to an address of this machine that stands for the service, until it is to end; `enter` is called first on the
    /// thread that does.
    pub(crate) fn with(
        self: &Arc<Self>,
        service: SocketAddr,
        enter: impl FnOnce() + Send + 'static,
    ) -> JoinHandle<()> {
        let talk = Arc::clone(self);
        std::thread::spawn(move || {
            enter();
            while !talk.ending.load(Relaxed) {
                if let Ok(tcp) = TcpStream::connect(service) {
                    talk.over(tcp);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        })
    }

    fn over(&self, mut tcp: TcpStream) {
        tcp.set_nodelay(true).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut answered = false;
        while !self.ending.load(Relaxed) {
            let question = format!("E{:08}", self.answers.load(Relaxed));
            let mut answer = [0; 8];
            let asked = Instant::now();
            let said = tcp.write_all(question.as_bytes()).and_then(|()| tcp.read_exact(&mut answer));
            if said.is_err() || answer != question.as_bytes()[1..] {
                // One that never was connected has not failed: there may be no way yet.
                self.failures.fetch_add(u64::from(answered), Relaxed);
                return;
            }
            answered = true;
            self.answers.fetch_add(1, Relaxed);
            self.longest_pause_ms.fetch_max(asked.elapsed().as_millis() as u64, Relaxed);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until it was answered some more.
    pub(crate) fn goes_on(&self, when: &str) {
        let before = self.answers.load(Relaxed);
        until(&format!("answers on an open stream {when}"), || {
            (self.answers.load(Relaxed) > before + 5).then_some(())
        });
    }
}
