//! A node in a process of its own, driven by its command line.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// The command under test.
pub(crate) fn eep() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eep"));
    command.stdin(Stdio::null()).env_remove("EEP_LOG").env("NO_COLOR", "1");
    command
}

/// A running node; killed when dropped.
pub(crate) struct Node {
    /// What it runs in; its data lies in `data` there.
    pub(crate) dir: TempDir,
    child: Child,
    /// What it printed when it was up.
    pub(crate) said: Value,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ended {
    fn from(out: Output) -> Self {
        Self {
            code: out.status.code(),
            stdout: String::from_utf8(out.stdout).unwrap(),
            stderr: String::from_utf8(out.stderr).unwrap(),
        }
    }
}

impl Ended {
    /// What a command said that had to succeed.
    pub(crate) fn done(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }

    /// What a command complained of that had to be refused.
    pub(crate) fn refused(self) -> String {
        assert_eq!(self.code, Some(1), "{self:?}");
        assert_eq!(self.stdout, "", "a refusal goes to stderr");
        self.stderr
    }
}

impl Node {
    pub(crate) fn start() -> Self {
        Self::over(tempfile::tempdir().unwrap(), &[])
    }

    /// A node over what an earlier one left, with more arguments.
    pub(crate) fn over(dir: TempDir, more: &[&str]) -> Self {
        Self::run(eep(), dir, more)
    }

    /// A node on a machine that trusts the certificates in a file, and no others.
    pub(crate) fn trusting(file: &Path) -> Self {
        let mut command = eep();
        command.env("SSL_CERT_FILE", file);
        Self::run(command, tempfile::tempdir().unwrap(), &[])
    }

    /// A node whose files may not become larger than this, in units of 512 bytes: what it meets then is a disk
    /// without room.
    pub(crate) fn with_small_files(blocks: u32) -> Self {
        Self::limited(&format!("trap '' XFSZ; ulimit -f {blocks}"))
    }

    /// A node whose process may open so many files and sockets.
    pub(crate) fn with_descriptors(most: u32) -> Self {
        Self::limited(&format!("ulimit -n {most}"))
    }

    fn limited(limit: &str) -> Self {
        let mut shell = Command::new("/bin/sh");
        let limit = format!("{limit}; exec \"$0\" \"$@\"");
        shell.args(["-c", &limit, env!("CARGO_BIN_EXE_eep")]).stdin(Stdio::null()).env("NO_COLOR", "1");
        Self::run(shell, tempfile::tempdir().unwrap(), &[])
    }

    fn run(mut command: Command, dir: TempDir, more: &[&str]) -> Self {
        command
            .args(["run", "--json", "--api", "127.0.0.1:0", "--data"])
            .arg(dir.path().join("data"))
            .args(more);
        let mut child = command.current_dir(dir.path()).stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        // It says what runs where when it is up; where it ends instead, its words are on stderr.
        let said = serde_json::Deserializer::from_reader(out).into_iter().next();
        let Some(Ok(said)) = said else {
            child.kill().unwrap();
            panic!("the node did not come up: {said:?}, {:?}", child.wait());
        };
        Self { dir, child, said }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where its API is.
    pub(crate) fn api(&self) -> SocketAddr {
        self.said["node"]["api"].as_str().unwrap().strip_prefix("http://").unwrap().parse().unwrap()
    }

    /// Ends it without warning; what it leaves on disk.
    pub(crate) fn kill(mut self) -> TempDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap())
    }

    /// Ends it with SIGTERM; its exit status and what it leaves on disk.
    pub(crate) fn end(mut self) -> (Option<i32>, TempDir) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let status = self.child.wait().unwrap();
        (status.code(), std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap()))
    }

    /// Runs a command against this node.
    pub(crate) fn eep(&self, args: &[&str]) -> Ended {
        let out =
            eep().args(args).arg("--data").arg(self.data()).current_dir(self.dir.path()).output().unwrap();
        out.into()
    }

    /// Runs a command with `--json` that has to succeed; what it says.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.eep(&[args, &["--json"]].concat()).done()).unwrap()
    }

    /// Writes a file into the directory that commands run in.
    pub(crate) fn file(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.dir.path().join(name), bytes).unwrap();
    }

    /// Loads the probe under a name; where it listens.
    pub(crate) fn load_probe(&self, name: &str) -> SocketAddr {
        self.file("probe.wasm", &super::guest::probe());
        let digest = digest(&super::guest::probe());
        address(&self.json(&["load", "probe.wasm", "--sha256", &digest, "--name", name]))
    }

    /// What must be the same before and after something that was refused: the services but for their figures, and the
    /// code that is kept.
    pub(crate) fn kept(&self) -> Value {
        let mut services = self.json(&["list"]);
        for service in services.as_array_mut().unwrap() {
            let keys = [
                "name",
                "state",
                "wanted",
                "digest",
                "url",
                "grants",
                "limits",
                "settings",
                "listening",
                "pinned",
            ];
            service.as_object_mut().unwrap().retain(|key, _| keys.contains(&key.as_str()));
        }
        serde_json::json!({"services": services, "code": files(&self.data().join("store"))})
    }

    /// Whether a proxylet is in the node's store.
    pub(crate) fn keeps(&self, code: &[u8]) -> bool {
        files(&self.data().join("store")).contains(&format!("{}.wasm", digest(code)))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nobody to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first address on which a service listens.
pub(crate) fn address(service: &Value) -> SocketAddr {
    service["listening"][0]["address"]
        .as_str()
        .unwrap_or_else(|| panic!("no listener: {service}"))
        .parse()
        .unwrap()
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    eep::proxylet::digest::Digest::of(bytes).to_string()
}

fn files(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Reads lines of JSON from a command that goes on.
pub(crate) fn lines(child: &mut Child) -> impl Iterator<Item = Value> + use<> {
    let out = BufReader::new(child.stdout.take().unwrap());
    out.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap())
}
