//! Domains and nodes of a test.

use std::io::{BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long the mesh may take for what is waited for: far longer than it takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// Asks until there is an answer.
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "{what} did not come about");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// An address for a mesh endpoint that is known before the node runs, and that no other test is given: the port is
/// outside of those that the system hands out, on an address of this machine that is this process's.
pub(crate) fn own_address() -> SocketAddr {
    static GIVEN: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    let host = GIVEN.fetch_add(1, Ordering::Relaxed);
    SocketAddr::from(([127, 64 | high & 0x3f, low, host], 16_340))
}

pub(crate) fn eep() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eep"));
    command.stdin(Stdio::null()).env_remove("EEP_LOG").env("NO_COLOR", "1");
    command
}

pub(crate) fn done(out: &Output) -> String {
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout.clone()).unwrap()
}

/// A domain: its CA lies in the data directory of its first node.
pub(crate) struct Domain {
    pub(crate) name: &'static str,
    pub(crate) dir: TempDir,
}

impl Domain {
    pub(crate) fn new(name: &'static str) -> Self {
        let domain = Self { name, dir: tempfile::tempdir().unwrap() };
        let out = eep()
            .args(["init", "--domain", name, "--name", "authority", "--data"])
            .arg(domain.dir.path())
            .output();
        done(&out.unwrap());
        domain
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.dir.path().join("mesh/ca.pem")
    }

    pub(crate) fn ca_key(&self) -> PathBuf {
        self.dir.path().join("mesh/ca.key")
    }

    /// Makes an identity in a data directory.
    pub(crate) fn certify(&self, name: &str, data: &Path) {
        let out = eep()
            .args(["init", "--name", name, "--ca"])
            .arg(self.ca())
            .arg("--ca-key")
            .arg(self.ca_key())
            .arg("--data")
            .arg(data)
            .output();
        done(&out.unwrap());
    }

    /// A node of the domain that joins through others.
    pub(crate) fn node(&self, name: &str, seeds: &[SocketAddr]) -> Node {
        self.node_with(name, json!({ "seeds": seeds.iter().map(ToString::to_string).collect::<Vec<_>>() }))
    }

    /// A node of the domain with this `mesh` in its node file.
    pub(crate) fn node_with(&self, name: &str, mesh: Value) -> Node {
        self.node_in(name, mesh, "127.0.0.1:0", None)
    }

    /// The same, listening there, in a network namespace. All nodes on one machine are near each other, however busy it
    /// is.
    pub(crate) fn node_in(&self, name: &str, mut mesh: Value, listen: &str, namespace: Option<&str>) -> Node {
        mesh["near-ms"] = json!(1000);
        let dir = tempfile::tempdir().unwrap();
        self.certify(name, &dir.path().join("data"));
        let file = json!({
            "node": {"name": name, "domain": self.name, "data": "data"},
            "listen": {"api": "127.0.0.1:0", "mesh": listen},
            "mesh": mesh,
        });
        std::fs::write(dir.path().join("eep.yaml"), file.to_string()).unwrap();
        Node::over_in(dir, namespace)
    }
}

/// A running node; killed when dropped.
pub(crate) struct Node {
    pub(crate) dir: TempDir,
    child: Child,
    said: Value,
}

impl Node {
    /// The node of this folder's node file.
    pub(crate) fn over(dir: TempDir) -> Self {
        Self::over_in(dir, None)
    }

    /// The same in a network namespace.
    pub(crate) fn over_in(dir: TempDir, namespace: Option<&str>) -> Self {
        let mut command = eep();
        if let Some(namespace) = namespace {
            command = Command::new("ip");
            command.args(["netns", "exec", namespace, env!("CARGO_BIN_EXE_eep")]).stdin(Stdio::null());
        }
        command.args(["run", "--json", "--config", "eep.yaml"]).current_dir(dir.path());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let said = serde_json::Deserializer::from_reader(out).into_iter().next();
        let Some(Ok(said)) = said else {
            child.kill().unwrap();
            panic!("the node did not come up: {said:?}, {:?}", child.wait());
        };
        Self { dir, child, said }
    }

    pub(crate) fn mesh(&self) -> SocketAddr {
        self.said["node"]["mesh"]["address"].as_str().unwrap().parse().unwrap()
    }

    pub(crate) fn id(&self) -> String {
        self.said["node"]["mesh"]["id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn api(&self) -> String {
        self.said["node"]["api"].as_str().unwrap().to_owned()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Ends it without warning; what it leaves on disk.
    pub(crate) fn kill(mut self) -> TempDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap())
    }

    /// Stops its process where it is; it stands still when this returns.
    pub(crate) fn suspend(&self) {
        self.signal(Signal::STOP);
        until("all of it stands still", || {
            let mut tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
            // After the name in brackets, the state.
            let state = |stat: String| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'));
            let stands =
                |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("stat")).map(state);
            tasks.all(|task| stands(task.unwrap()).unwrap_or(true)).then_some(())
        });
    }

    /// Sends its process a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn eep(&self, args: &[&str]) -> Output {
        eep().args(args).arg("--data").arg(self.data()).current_dir(self.dir.path()).output().unwrap()
    }

    /// Runs a command with `--json` that has to succeed.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&done(&self.eep(&[args, &["--json"]].concat()))).unwrap()
    }

    /// The same with a command that asks other nodes: none where they have not answered in its time.
    pub(crate) fn answer(&self, args: &[&str]) -> Option<Value> {
        let out = self.eep(&[args, &["--json"]].concat());
        out.status.success().then(|| serde_json::from_slice(&out.stdout).unwrap())
    }

    /// What its API answers to a GET.
    pub(crate) fn json_of(&self, path: &str) -> Value {
        serde_json::from_str(&curl(&format!("{}{path}", self.api()), None)).unwrap()
    }

    /// What its API answers to a GET, as JSON; none where it refuses.
    pub(crate) fn ask(&self, path: &str) -> Option<Value> {
        self.get(path).map(|body| serde_json::from_str(&body).unwrap())
    }

    /// What its API answers to a GET on the control socket, from whatever network; none where it refuses.
    fn get(&self, path: &str) -> Option<String> {
        let mut socket = UnixStream::connect(self.said["control"].as_str().unwrap()).unwrap();
        write!(socket, "GET {path} HTTP/1.1\r\nhost: eep\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        head.starts_with("HTTP/1.1 200 ").then(|| body.to_owned())
    }

    /// The names of the nodes on its map, sorted, and how many links there are between them.
    pub(crate) fn map(&self) -> (Vec<String>, usize) {
        let map = self.ask("/v1/topology/map").unwrap();
        let name = |n: &Value| n["name"].as_str().unwrap_or("?").to_owned();
        let on_map = |n: &&Value| {
            let links = map["links"].as_array().unwrap();
            n["id"] == map["me"]["id"] || links.iter().any(|l| l["from"] == n["id"] || l["to"] == n["id"])
        };
        let mut names: Vec<String> =
            map["nodes"].as_array().unwrap().iter().filter(on_map).map(name).collect();
        names.sort();
        (names, map["links"].as_array().unwrap().len())
    }

    /// A figure of `/metrics` by its whole name with labels.
    pub(crate) fn figure(&self, name: &str) -> f64 {
        let text = self.get("/metrics").unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).trim().parse().unwrap()
    }

    /// How often something was refused for this reason.
    pub(crate) fn refused(&self, reason: &str) -> f64 {
        self.figure(&format!("eep_mesh_refused_total{{reason=\"{reason}\"}}"))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nobody to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// GET, or POST of a body.
pub(crate) fn curl(url: &str, body: Option<&str>) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = reqwest::Client::new();
        let request = match body {
            Some(body) => client.post(url).body(body.to_owned()),
            None => client.get(url),
        };
        request.send().await.unwrap().text().await.unwrap()
    })
}
