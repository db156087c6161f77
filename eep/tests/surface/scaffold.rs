//! New projects: each kind passes its test at once, builds, and runs.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::node::{Node, address, digest, eep};

/// That of the workspace: what the stock proxylets depend on was compiled for them.
fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().to_owned()
}

/// A folder that stays from run to run: a project that lies where it did is not compiled anew.
fn workshop() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("scaffold");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn succeed(command: &mut Command, folder: &Path) {
    let out = command.current_dir(folder).env("CARGO_TARGET_DIR", target()).output().unwrap();
    assert!(
        out.status.success(),
        "{command:?}\n{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
}

// What the templates test natively is tested here, without compiling it once more.
#[path = "../../templates/service/src/lines.rs"]
#[allow(dead_code, unreachable_pub)]
mod lines;
#[path = "../../templates/probe/src/rounds.rs"]
#[allow(dead_code, unreachable_pub)]
mod rounds;

/// Makes a project in Rust.
fn made(kind: &str) -> PathBuf {
    let name = format!("new-{kind}");
    let folder = workshop().join(&name);
    // What an earlier run left.
    let _ = std::fs::remove_dir_all(&folder);
    succeed(eep().args(["proxylet", "new", &name, "--kind", kind]), &workshop());
    // The versions that this workspace has already: nothing is to be fetched for a test.
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
    std::fs::copy(lock, folder.join("Cargo.lock")).unwrap();
    folder
}

#[test]
fn a_new_project_of_each_kind_passes_its_test_and_runs() {
    let node = Node::start();
    for (kind, set) in [("service", "listen=127.0.0.1:0"), ("probe", "every_s=1")] {
        let folder = made(kind);
        succeed(eep().args(["proxylet", "test"]), &folder);
        let code = std::fs::read(target().join(format!("proxylets/new-{kind}.wasm"))).unwrap();
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
    // This one is the example `directed-search`, which the suite builds and tests: what is its own is whether all that it
    // is made of is there.
    let mut check = Command::new(env!("CARGO"));
    succeed(check.args(["check", "--target", "wasm32-unknown-unknown"]), &made("gnutella"));
}

/// Whether a command succeeds; what it says.
fn says(command: &str, args: &[&str]) -> Option<String> {
    let out = Command::new(command).args(args).output().ok()?;
    out.status.success().then(|| String::from_utf8_lossy(&out.stdout).into_owned())
}

/// What the projects in other languages need is installed by hand (docs/developers.md), so each is tried where its tool
/// is on the PATH.
#[test]
fn projects_in_other_languages_pass_their_tests_where_their_tools_are() {
    let version = |tool| says(tool, &["--version"]).is_some();
    // Only a file that was found is named with its folder.
    let libc = says("clang", &["--target=wasm32-wasi", "-print-file-name=crt1-reactor.o"]);
    let tools = [
        (
            "c",
            libc.is_some_and(|path| path.contains('/')) && version("wasm-ld"),
            "clang, wasm-ld and wasi-libc",
        ),
        ("js", version("jco"), "jco on the PATH"),
        ("python", version("componentize-py"), "componentize-py on the PATH"),
    ];
    for (language, there, needed) in tools {
        if !there {
            println!("skipped: a project in {language} needs {needed}");
            continue;
        }
        let dir = tempfile::tempdir().unwrap();
        for kind in ["service", "probe"] {
            succeed(eep().args(["proxylet", "new", kind, "--kind", kind, "--lang", language]), dir.path());
            succeed(eep().args(["proxylet", "test", kind]), dir.path());
        }
    }
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
    assert_eq!(
        refused(&["hello", "--kind", "gnutella", "--lang", "c"]),
        "error: there is no Gnutella peer to begin with in C, since the stock peer is a Rust crate\n  fix: leave --lang \
         out; or begin with --kind service or --kind probe, which are there in rust, c, js and python\n"
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
