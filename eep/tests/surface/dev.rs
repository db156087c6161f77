//! `eep dev --watch`: what is built takes over, what cannot be built is told.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

use crate::guest::teller_module;
use crate::node::{address, eep};

/// A bound for what must happen; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(180);

/// In the place of cargo: "compiles" `src/lib.rs`, whose content is the number of a version.
const CARGO: &str = r#"#!/bin/sh
here=$(cd "$(dirname "$0")" && pwd)
version=$(cat "$here/src/lib.rs")
[ -f "$here/$version.module" ] || { echo "error: no version $version" >&2; exit 1; }
to="$here/target/wasm32-unknown-unknown/guest"
mkdir -p "$to" && cp "$here/$version.module" "$to/teller.wasm"
echo "{\"reason\": \"compiler-artifact\", \"manifest_path\": \"$here/Cargo.toml\", \"filenames\": [\"$to/teller.wasm\"]}"
"#;

/// A project whose sources say which version they are.
fn project(dir: &Path, version: &str) {
    std::fs::create_dir_all(dir.join("src")).unwrap();
    std::fs::write(dir.join("Cargo.toml"), "").unwrap();
    std::fs::write(dir.join("src/lib.rs"), version).unwrap();
    for version in [1, 2] {
        std::fs::write(dir.join(format!("{version}.module")), teller_module(version)).unwrap();
    }
    let cargo = dir.join("cargo");
    std::fs::write(&cargo, CARGO).unwrap();
    std::fs::set_permissions(cargo, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Writes a source at once: a look at the project sees the one version or the other.
fn write(dir: &Path, version: &str) {
    let beside = dir.with_extension("new");
    std::fs::write(&beside, version).unwrap();
    std::fs::rename(&beside, dir.join("src/lib.rs")).unwrap();
}

/// The command at work; killed when dropped.
struct Dev {
    child: Child,
    said: Receiver<String>,
}

impl Dev {
    fn start(dir: &Path) -> Self {
        let mut command: Command = eep();
        command.args(["dev", "--watch", "--json", "--api", "127.0.0.1:0"]).arg(dir);
        command.env("CARGO", dir.join("cargo")).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (tell, said) = channel();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| tell.send(line)));
        Self { child, said }
    }

    /// Waits for a line with this in it.
    fn says(&self, part: &str) {
        let mut all = String::new();
        while !all.contains(part) {
            all += &self.said.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no {part:?} in\n{all}"));
            all.push('\n');
        }
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nobody to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_change_takes_over_and_a_mistake_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let dir = &folder.path().join("project");
    project(dir, "mistake");
    let mut dev = Dev::start(dir);
    dev.says("no build: cargo could not build");
    write(dir, "1");

    let out = BufReader::new(dev.child.stdout.take().unwrap());
    let up: Value = serde_json::Deserializer::from_reader(out).into_iter().next().unwrap().unwrap();
    let mut peer = TcpStream::connect(address(&up["services"][0])).unwrap();
    let mut said = 0_u64;
    let mut version = || {
        said += 1;
        let mut answer = [0; 16];
        peer.write_all(&said.to_le_bytes()).unwrap();
        peer.read_exact(&mut answer).unwrap();
        answer[15]
    };
    assert_eq!(version(), 1);

    write(dir, "also a mistake");
    dev.says("no build: cargo could not build");
    assert_eq!(version(), 1);

    write(dir, "2");
    dev.says("s after it was built");
    assert_eq!(version(), 2, "on the connection that there was");

    // Another source, and the same proxylet of it.
    write(dir, "2\n");
    dev.says("new build: teller is as it was");
    assert_eq!(version(), 2);
}
