//! New projects: each kind passes its test at once, builds, and runs.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::node::{Node, address, digest, eep};

/// A folder that stays from run to run, so that dependencies are compiled once.
fn workshop() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("scaffold");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn succeed(command: &mut Command, folder: &Path) {
    let out =
        command.current_dir(folder).env("CARGO_TARGET_DIR", workshop().join("target")).output().unwrap();
    assert!(
        out.status.success(),
        "{command:?}\n{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
}

/// Makes a project, runs its tests and builds it; the component.
fn made(kind: &str) -> Vec<u8> {
    let name = format!("new-{kind}");
    let folder = workshop().join(&name);
    // What an earlier run left.
    let _ = std::fs::remove_dir_all(&folder);
    succeed(eep().args(["proxylet", "new", &name, "--kind", kind]), &workshop());
    // The versions that this workspace has already: nothing is to be fetched for a test.
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
    std::fs::copy(lock, folder.join("Cargo.lock")).unwrap();
    succeed(Command::new(env!("CARGO")).arg("test"), &folder);
    succeed(eep().args(["proxylet", "build", "--out", "out.wasm"]), &folder);
    std::fs::read(folder.join("out.wasm")).unwrap()
}

#[test]
fn a_new_project_of_each_kind_passes_its_test_builds_and_runs() {
    let node = Node::start();
    for (kind, set) in
        [("service", "listen=127.0.0.1:0"), ("probe", "every_s=1"), ("gnutella", "listen=127.0.0.1:0")]
    {
        let code = made(kind);
        let file = format!("{kind}.wasm");
        node.file(&file, &code);
        let service = node.json(&["load", &file, "--sha256", &digest(&code), "--set", set]);
        assert_eq!((&service["name"], &service["state"]), (&format!("new-{kind}").into(), &"running".into()));
        if kind == "service" {
            let mut peer = TcpStream::connect(address(&service)).unwrap();
            peer.write_all(b"hello\n").unwrap();
            let mut answer = [0; 6];
            peer.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"HELLO\n");
        }
    }
    let inspected = node.dir.path().join("service.wasm");
    let seen = eep().args(["proxylet", "inspect", "--json"]).arg(inspected).output().unwrap();
    let seen: serde_json::Value = serde_json::from_slice(&seen.stdout).unwrap();
    assert_eq!(seen["inspection"]["sdk"], "rust 0.1.0");
}

#[test]
fn a_project_is_made_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |args: &[&str]| {
        let out = eep().args(["proxylet", "new"]).args(args).current_dir(dir.path()).output().unwrap();
        assert_eq!(out.status.code(), Some(1), "{args:?}");
        String::from_utf8(out.stderr).unwrap()
    };
    assert_eq!(
        refused(&["match"]),
        "error: a Rust crate cannot be called match\n  fix: choose another name\n"
    );
    assert_eq!(
        refused(&["hello", "--dir", "none/hello"]),
        "error: none/hello: No such file or directory (os error 2)\n  fix: check the folder around it\n"
    );
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    std::fs::write(dir.path().join("hello"), "mine").unwrap();
    assert_eq!(
        refused(&["hello"]),
        "error: hello is there already\n  fix: choose another name, or another folder with --dir\n"
    );
    assert_eq!(std::fs::read(dir.path().join("hello")).unwrap(), b"mine");
    let usage = eep().args(["proxylet", "new", "Hello"]).current_dir(dir.path()).output().unwrap();
    assert_eq!(usage.status.code(), Some(2));
}
