//! A node as its operator sees it: the `eep` binary in a process of its own, driven by its command line.

mod files;
mod mesh;
mod metrics;

pub use files::{eep_binary, other_version, proxylet, sha256};
pub use mesh::MESH_PORT;
pub use metrics::Metrics;

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http;
use crate::loopback::Loopback;
use crate::subject::peer_settings;
use crate::wait::until;

/// Port of every test node's API, on an address of its own. Not the usual one: a node that listens on every address of
/// this machine does not disturb the tests.
const API_PORT: u16 = 18_346;
/// Port of every test peer, on an address of its own.
pub const GNUTELLA_PORT: u16 = 16_346;
/// How many lines of a node's log are shown where a test fails.
const LOG_LINES_SHOWN: usize = 60;

/// A node; killed when dropped.
#[derive(Debug)]
pub struct Node {
    binary: PathBuf,
    folder: TempDir,
    api: SocketAddr,
    child: Option<Child>,
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    /// The output of a command that has to succeed.
    ///
    /// # Panics
    /// Where it did not.
    #[must_use]
    pub fn done(self) -> String {
        assert_eq!(self.code, Some(0), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self.stdout
    }

    /// The complaint of a command that has to be refused.
    ///
    /// # Panics
    /// Where it was not.
    #[must_use]
    pub fn refused(self) -> String {
        assert_eq!(self.code, Some(1), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self.stderr
    }
}

impl Node {
    /// Starts a node without services, and waits until its API answers.
    ///
    /// # Panics
    /// Where it does not come up.
    #[must_use]
    pub fn start(net: &Loopback) -> Self {
        Self::start_binary(&eep_binary(), net)
    }

    /// [`Self::start`] with this `eep`.
    ///
    /// # Panics
    /// Where it does not come up.
    #[must_use]
    pub fn start_binary(binary: &Path, net: &Loopback) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut node = Self { binary: binary.to_owned(), folder, api: net.at(API_PORT), child: None };
        let file = json!({ "listen": { "api": node.api.to_string() } });
        std::fs::write(node.path("eep.yaml"), file.to_string()).expect("a node file");
        node.run();
        node
    }

    /// Starts the process again after [`Self::kill`].
    ///
    /// # Panics
    /// Where it does not come up, or still runs.
    pub fn run(&mut self) {
        assert!(self.child.is_none(), "the node runs already");
        let log = File::options().create(true).append(true).open(self.log()).expect("a log file");
        let child = Command::new(&self.binary)
            .args([
                Path::new("run"),
                "--config".as_ref(),
                &self.path("eep.yaml"),
                "--data".as_ref(),
                &self.data(),
            ])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the same file twice"))
            .stderr(log)
            .spawn()
            .expect("the node starts");
        self.child = Some(child);
        until("the node's API", || {
            let child = self.child.as_mut().expect("just started");
            if let Some(status) = child.try_wait().expect("our own child") {
                panic!("the node ended with {status}");
            }
            http::get(self.api, "/metrics").ok().filter(|answer| answer.status == 200)
        });
    }

    /// Ends the process without warning (SIGKILL).
    ///
    /// # Panics
    /// Where it does not run.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("the node runs");
        child.kill().expect("our own child");
        child.wait().expect("our own child");
    }

    /// The node's process.
    ///
    /// # Panics
    /// Where it does not run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the node runs").id()
    }

    /// Where its API listens.
    #[must_use]
    pub fn api(&self) -> SocketAddr {
        self.api
    }

    /// Runs `eep` with arguments, aimed at this node.
    ///
    /// # Panics
    /// Where the binary cannot be run.
    #[must_use]
    pub fn eep(&self, arguments: &[&str]) -> Outcome {
        let out = Command::new(&self.binary)
            .args(arguments)
            .arg("--data")
            .arg(self.data())
            .stdin(Stdio::null())
            .output()
            .expect("eep runs");
        Outcome {
            code: out.status.code(),
            stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
        }
    }

    /// Runs `eep` with arguments and `--json`, and reads what it says.
    ///
    /// # Panics
    /// Where it fails or does not print JSON.
    #[must_use]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let text = self.eep(&[arguments, &["--json"]].concat()).done();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error} in {text}"))
    }

    /// Loads the stock Gnutella peer under a name, listening on an address of its own, with `config` over the
    /// settings that a test needs.
    ///
    /// # Panics
    /// Where it cannot be loaded.
    #[must_use]
    pub fn load_peer(&self, name: &str, ip: Ipv4Addr, config: &Value) -> SocketAddrV4 {
        let address = SocketAddrV4::new(ip, GNUTELLA_PORT);
        let manifest = self.peer_manifest(name, address, config);
        let manifest = manifest.to_str().expect("temporary folders have UTF-8 names");
        let _ = self.eep(&["load", "--manifest", manifest]).done();
        address
    }

    /// Writes a manifest for the stock Gnutella peer.
    ///
    /// # Panics
    /// Where it cannot be written.
    #[must_use]
    pub fn peer_manifest(&self, name: &str, address: SocketAddrV4, config: &Value) -> PathBuf {
        let settings = peer_settings(address, config);
        let manifest = json!({
            "name": name,
            "proxylet": { "url": format!("file://{}", proxylet("gnutella-peer").display()) },
            "grant": [format!("net.listen:{GNUTELLA_PORT}"), "net.connect", format!("datagram:{GNUTELLA_PORT}"), "policy"],
            "config": settings,
        });
        let path = self.path(&format!("{name}.yaml"));
        std::fs::write(&path, manifest.to_string()).expect("a manifest");
        path
    }

    /// The node's figures now.
    ///
    /// # Panics
    /// Where `/metrics` does not answer.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let answer = http::get(self.api, "/metrics").expect("/metrics answers");
        assert_eq!(answer.status, 200, "/metrics");
        Metrics::parse(&String::from_utf8_lossy(&answer.body))
    }

    /// A path in the node's folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The node's data folder.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    fn log(&self) -> PathBuf {
        self.path("node.log")
    }

    /// What the node has printed.
    ///
    /// # Errors
    /// Where the log cannot be read.
    pub fn printed(&self) -> io::Result<String> {
        std::fs::read_to_string(self.log())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
        if std::thread::panicking()
            && let Ok(log) = self.printed()
        {
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
            eprintln!("the node's last words:\n{}", tail.join("\n"));
        }
    }
}
