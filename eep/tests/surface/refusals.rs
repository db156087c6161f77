//! Bad input: each case is refused with exit status 1, says what is wrong, where, and what to do, and changes nothing.

use std::fmt::Write as _;
use std::net::TcpListener;

use crate::golden::compare;
use crate::guest::{module, of_other_shape, probe, with_manifest, with_section};
use crate::node::{Node, digest, eep};
use crate::port::Port;
use crate::web::{Server, ok};

/// Collects what was told, with what differs from run to run taken out.
struct Told {
    text: String,
    names: Vec<(String, &'static str)>,
}

impl Told {
    fn note(&mut self, title: &str, words: &str) {
        let mut words = format!("### {title}\n{}\n", words.trim_end());
        for (what, name) in &self.names {
            words = words.replace(what, name);
        }
        writeln!(self.text, "{words}").unwrap();
    }
}

#[test]
fn what_cannot_be_loaded_is_refused_and_changes_nothing() {
    let node = Node::start();
    let first = node.load_probe("probe");
    let good = probe();
    let sha = digest(&good);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken_port = taken.local_addr().unwrap().port().to_string();
    let gone = Port::reserve();
    let gone_url = format!("http://{}/probe.wasm", gone.address());
    let missing = Server::answering(
        b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec(),
    );
    let breaks_off = Server::answering(ok(good.len(), &good[..500]));
    let other_page = Server::of(b"<!doctype html><title>Not here</title>");
    let of_other_version = wat::parse_str(
        r#"(component (import "eep:proxylet/net@0.9.0" (instance)) (import "eep:proxylet/clock@0.1.0" (instance)))"#,
    )
    .unwrap();
    let wants_http = wat::parse_str(r#"(component (import "wasi:http/types@0.2.0" (instance)))"#).unwrap();
    node.file("truncated.wasm", &good[..good.len() / 2]);
    node.file("text.wasm", b"This is a letter, and no proxylet.");
    node.file("empty.wasm", b"");
    node.file("core.wasm", &module());
    node.file("damaged.wasm", &{
        let mut bytes = good.clone();
        bytes[100..140].fill(0xff);
        bytes
    });
    node.file("other-version.wasm", &of_other_version);
    node.file("other-shape.wasm", &of_other_shape());
    node.file("http.wasm", &wants_http);
    node.file("nameless.wasm", &with_manifest(&serde_json::json!({"wants": [], "config": {"port": 0}})));
    node.file("bad-manifest.wasm", &with_section(module_component(), "eep:proxylet", b"{\"name\": 7}"));
    node.file("unknown-key.yaml", b"name: edge\nproxylet: {url: probe.wasm}\ngrants: [net.connect]\n");
    node.file(
        "wrong-digest.yaml",
        format!("name: edge\nproxylet:\n  url: probe.wasm\n  sha256: {}\n", digest(b"")).as_bytes(),
    );

    let mut told = Told {
        text: String::new(),
        names: vec![
            (digest(&good), "SHA256"),
            (digest(b""), "OTHER-SHA256"),
            (format!("after {} bytes", good.len() / 2), "after HALF bytes"),
            (node.dir.path().to_str().unwrap().to_owned(), "DIR"),
            (missing.url(), "http://MISSING"),
            (breaks_off.url(), "http://BREAKS-OFF"),
            (other_page.url(), "http://PAGE"),
            (gone_url.clone(), "http://GONE"),
            (taken_port.clone(), "PORT"),
            (first.port().to_string(), "PORT-1"),
        ],
    };
    let cases: &[(&str, &[&str])] = &[
        ("wrong digest", &["load", "probe.wasm", "--name", "x", "--sha256", &digest(b"")]),
        ("wrong digest in a manifest", &["load", "--manifest", "wrong-digest.yaml"]),
        ("unreachable URL", &["load", &gone_url, "--name", "x", "--sha256", &digest(b"")]),
        ("URL without a file", &["load", &missing.url(), "--name", "x"]),
        ("answer that breaks off", &["load", &breaks_off.url(), "--name", "x"]),
        ("a page instead of the file", &["load", &other_page.url(), "--name", "x"]),
        ("no such file", &["load", "none.wasm", "--name", "x"]),
        ("a directory", &["load", "data", "--name", "x"]),
        ("truncated file", &["load", "truncated.wasm", "--name", "x"]),
        ("text", &["load", "text.wasm", "--name", "x"]),
        ("empty file", &["load", "empty.wasm", "--name", "x"]),
        ("core module", &["load", "core.wasm", "--name", "x"]),
        ("damaged code", &["load", "damaged.wasm", "--name", "x"]),
        ("interface of another version", &["load", "other-version.wasm", "--name", "x"]),
        ("interface of another shape", &["load", "other-shape.wasm", "--name", "x"]),
        ("interface that is not offered", &["load", "http.wasm", "--name", "x"]),
        ("embedded manifest that is none", &["load", "bad-manifest.wasm", "--name", "x"]),
        ("no grants", &["load", "probe.wasm", "--name", "x"]),
        ("too few grants", &["load", "probe.wasm", "--name", "x", "--grant", "net.connect"]),
        (
            "port not granted",
            &["load", "probe.wasm", "--name", "x", "--grant", "net.listen:1", "--grant", "datagram:*"],
        ),
        (
            "port in use",
            &["load", "probe.wasm", "--name", "x", "--sha256", &sha, "--set", &format!("port={taken_port}")],
        ),
        ("name in use", &["load", "probe.wasm", "--sha256", &sha]),
        ("no name", &["load", "nameless.wasm", "--grant", "net.listen:0", "--grant", "datagram:*"]),
        ("unknown key in a manifest", &["load", "--manifest", "unknown-key.yaml"]),
        ("unknown setting", &["load", "probe.wasm", "--name", "x", "--sha256", &sha, "--set", "prot=1"]),
        (
            "setting out of range",
            &["load", "probe.wasm", "--name", "x", "--sha256", &sha, "--set", "port=70000"],
        ),
        (
            "setting of another type",
            &["load", "probe.wasm", "--name", "x", "--sha256", &sha, "--set", "port=many"],
        ),
        ("modify: unknown setting", &["modify", "probe", "--set", "leafs=a"]),
        ("modify: port in use", &["modify", "probe", "--set", &format!("port={taken_port}")]),
        ("modify: other code without digest", &["modify", "probe", "--url", "nameless.wasm"]),
        ("modify: code that is none", &["modify", "probe", "--url", "text.wasm"]),
        ("modify: wrong digest", &["modify", "probe", "--sha256", &digest(b"")]),
        ("no such service", &["stop", "nobody"]),
        ("a name that is a way elsewhere", &["unload", "../placements"]),
        ("a name that none can have", &["status", "a?b#c"]),
        ("no such service's log", &["logs", "nobody", "-f"]),
    ];
    for (title, args) in cases {
        let mut before = node.kept();
        let told_now = node.eep(args).refused();
        told.note(&format!("{title}: eep {}", args.join(" ")), &told_now);
        let mut now = node.kept();
        if title.starts_with("modify") {
            // What was stopped and started again listens on a port that the system chose anew.
            before["services"][0]["listening"].take();
            now["services"][0]["listening"].take();
        }
        assert_eq!(now, before, "after: {title}");
    }
    compare("refusals.txt", &told.text);
}

fn module_component() -> Vec<u8> {
    wit_component::ComponentEncoder::default().module(&module()).unwrap().encode().unwrap()
}

#[test]
fn refusals_in_json_have_code_place_and_fix() {
    let node = Node::start();
    let told = node.eep(&["load", "none.wasm", "--json"]).refused();
    let problem: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(problem["code"], "unreadable-file");
    assert_eq!(problem["place"], node.dir.path().join("none.wasm").to_str().unwrap());
    assert!(problem["fix"].as_str().is_some_and(|fix| fix.contains("path")), "{told}");
}

#[test]
fn wrong_usage_has_a_status_of_its_own() {
    let usage: &[&[&str]] = &[
        &[],
        &["lod"],
        &["load"],
        &["load", "x.wasm", "--sha256", "abc"],
        &["load", "x.wasm", "--grant", "everything"],
        &["load", "oci://repo.example/probe"],
        &["load", "eep://repo.example/probe"],
        &["load", "x.wasm", "--name", "Big"],
        &["load", "x.wasm", "--set", "novalue"],
        &["modify", "x"],
        &["list", "--data", "a", "--node", "http://127.0.0.1:1"],
        &["run", "--api", "0.0.0.0:80"],
        &["check"],
        &["logs", "x", "--tail", "many"],
    ];
    for args in usage {
        let out = eep().args(*args).output().unwrap();
        assert_eq!(out.status.code(), Some(2), "eep {args:?}: {}", String::from_utf8_lossy(&out.stderr));
        assert!(out.stdout.is_empty() && !out.stderr.is_empty(), "eep {args:?}");
    }
}

#[test]
fn without_a_node_every_verb_says_how_to_start_one() {
    let dir = tempfile::tempdir().unwrap();
    let verbs: &[&[&str]] = &[
        &["list"],
        &["status"],
        &["logs", "x"],
        &["start", "x"],
        &["stop", "x"],
        &["unload", "x"],
        &["modify", "x", "--set", "a=1"],
        &["load", "x.wasm"],
    ];
    for args in verbs {
        let out = eep().args(*args).args(["--data", "nowhere"]).current_dir(dir.path()).output().unwrap();
        assert_eq!(out.status.code(), Some(1), "eep {args:?}");
        assert_eq!(
            String::from_utf8(out.stderr).unwrap(),
            "error: no node at nowhere/eep.sock\n  fix: start one with `eep run`, or name another with --data DIR or --node URL\n",
        );
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "asking makes no files");
}

#[test]
fn a_node_that_cannot_start_says_why() {
    let node = Node::start();
    let run = |more: &[&str]| {
        let out = eep().arg("run").args(more).current_dir(node.dir.path()).output().unwrap();
        assert_eq!(out.status.code(), Some(1), "{more:?}: {out:?}");
        String::from_utf8(out.stderr).unwrap()
    };
    let dir = node.dir.path().to_str().unwrap();
    let pid = node.pid();
    let api = node.api().to_string();
    node.file("file", b"");
    node.file("mesh.yaml", b"mesh: {seed: []}\n");
    let long = "d".repeat(120);
    let mut told = Told {
        text: String::new(),
        names: vec![
            (dir.to_owned(), "DIR"),
            (format!("process {pid})"), "process PID)"),
            (api.clone(), "API"),
            (long.clone(), "LONG"),
        ],
    };
    told.note("directory in use", &run(&["--data", "data", "--api", "127.0.0.1:0"]));
    told.note("API address in use", &run(&["--data", "other", "--api", &api]));
    told.note("a file in place of the directory", &run(&["--data", "file", "--api", "127.0.0.1:0"]));
    told.note("a path too long for a socket", &run(&["--data", &long, "--api", "127.0.0.1:0"]));
    told.note("a node file that is wrong", &run(&["--config", "mesh.yaml"]));
    told.note("no node file", &run(&["--config", "none.yaml"]));
    told.note(
        "a service that does not load",
        &run(&["--data", "third", "--api", "127.0.0.1:0", "--service", "none.wasm"]),
    );
    compare("run.txt", &told.text);
}
