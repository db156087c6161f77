//! `eep modify` of a service that serves: its connections live on, what fails is taken back, and a node that is killed
//! comes back with one of the two versions.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::guest::{mute_teller, refusing_teller, teller};
use crate::node::{Ended, Node, address, digest, eep};

/// A version that traps when it is handed the message of this number.
fn trapping(version: u8, at: u64) -> Vec<u8> {
    teller(version, &format!("(if (i64.eq (local.get $message) (i64.const {at})) (then unreachable))"))
}

/// A peer that says numbered messages.
struct Teller {
    stream: TcpStream,
    said: u64,
}

impl Teller {
    fn join(at: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(at).unwrap(), said: 0 }
    }

    /// Says the next message; the version that answers.
    fn tell(&mut self) -> u8 {
        self.said += 1;
        let mut answer = [0; 16];
        self.stream.write_all(&self.said.to_le_bytes()).unwrap();
        self.stream.read_exact(&mut answer).unwrap();
        let word = |at: usize| u64::from_le_bytes(answer[at..at + 8].try_into().unwrap());
        assert_eq!((word(0), word(8) << 8 >> 8), (self.said, self.said));
        (word(8) >> 56) as u8
    }
}

/// A node with the files `1.wasm` and `2.wasm`, two versions of the teller.
fn node() -> Node {
    over(tempfile::tempdir().unwrap())
}

fn over(dir: TempDir) -> Node {
    let node = Node::over(dir, &[]);
    for version in [1, 2] {
        node.file(&format!("{version}.wasm"), &teller(version, ""));
    }
    node
}

fn load(node: &Node) -> SocketAddr {
    address(&node.json(&["load", "1.wasm", "--sha256", &digest(&teller(1, ""))]))
}

/// What the command line says to put another version in place.
fn modify<'a>(url: &'a str, sha256: &'a str, window_ms: &'a str) -> [&'a str; 8] {
    ["modify", "teller", "--url", url, "--sha256", sha256, "--health-window-ms", window_ms]
}

fn status(node: &Node) -> Value {
    node.json(&["status", "teller"])
}

/// Waits until a look at the service shows this.
fn shows(node: &Node, what: impl Fn(&Value) -> bool) {
    assert!((0..10_000).any(|_| what(&status(node))), "{}", status(node));
}

/// A command that goes on beside the test.
fn beside(node: &Node, args: &[&str]) -> Child {
    let mut command = eep();
    command.args(args).arg("--data").arg(node.data()).current_dir(node.dir.path());
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn other_code_serves_the_same_connections_and_it_is_said_how_it_went() {
    let node = node();
    let mut peer = Teller::join(load(&node));
    assert_eq!(peer.tell(), 1);
    let sha = digest(&teller(2, ""));
    let told = node.eep(&modify("2.wasm", &sha, "50")).done();
    assert!(told.contains("held, pause") && told.contains("1 connections taken over, 0 ended"), "{told}");
    assert_eq!(peer.tell(), 2);
    let view = status(&node);
    assert_eq!((&view["digest"], &view["health"]["window-ms"]), (&json!(sha), &json!(50)));
    assert_eq!((&view["last_swap"]["outcome"], &view["restarts"]), (&json!("held"), &json!(0)));
    assert!(node.keeps(&teller(2, "")));
    let (_, metrics) = crate::api::get(&node, "/metrics");
    for line in
        ["eep_swaps_total{service=\"teller\",outcome=\"held\"} 1.0", "eep_swap_pause_seconds{service="]
    {
        assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
    }
}

#[test]
fn a_version_that_gives_no_state_is_not_what_the_node_comes_back_with() {
    let node = node();
    let mut peer = Teller::join(load(&node));
    assert_eq!(peer.tell(), 1);
    node.file("mute.wasm", &mute_teller(9));
    let kept = node.kept();
    let words = node.eep(&modify("mute.wasm", &digest(&mute_teller(9)), "0")).refused();
    assert!(words.contains("was taken back") && words.contains("unreachable"), "{words}");
    assert_eq!((peer.tell(), node.kept()), (1, kept));
    let node = over(node.kill());
    assert_eq!(status(&node)["version"], "0.1.0");
    assert_eq!(Teller::join(address(&status(&node))).tell(), 1);
}

#[test]
fn a_version_that_traps_on_probation_is_taken_back_and_the_command_says_so() {
    let node = node();
    let mut peer = Teller::join(load(&node));
    assert_eq!(peer.tell(), 1);
    node.file("bad.wasm", &trapping(9, 3));
    let kept = node.kept();
    let sha = digest(&trapping(9, 3));
    let modifying = beside(&node, &modify("bad.wasm", &sha, "600000"));
    shows(&node, |view| view["last_swap"]["outcome"] == "on-probation");
    assert_eq!((peer.tell(), peer.tell(), peer.tell()), (9, 1, 1));
    let ended = modifying.wait_with_output().unwrap();
    let words = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{words}");
    assert!(words.contains("was taken back") && words.contains("the former version goes on"), "{words}");
    assert_eq!(node.kept(), kept);
    let view = status(&node);
    assert_eq!((&view["last_swap"]["outcome"], &view["version"]), (&json!("rolled-back"), &json!("0.1.0")));
    assert!(node.eep(&["status", "teller"]).done().contains("rolled-back"));
    // What led to the trap leads to it again, with nothing but the file: the node keeps that version no longer.
    let mut files =
        std::fs::read_dir(node.data().join("recordings")).unwrap().map(|file| file.unwrap().path());
    let bundle = files.next().unwrap();
    std::fs::remove_file(node.dir.path().join("bad.wasm")).unwrap();
    let replayed: Ended =
        eep().args(["proxylet", "replay", bundle.to_str().unwrap()]).output().unwrap().into();
    let words = replayed.done();
    assert!(words.contains("same") && words.contains("unreachable"), "{words}");
}

#[test]
fn a_health_probe_decides() {
    let node = node();
    let write = |expect: &str, file: &str| {
        node.file(
            "teller.yaml",
            format!(
                "name: teller\nproxylet: {{url: {file}, sha256: {}}}\n\
                 health: {{window-ms: 0, probe: {{send: \"12345678\", expect: \"{expect}\", within-ms: 60000}}}}\n",
                digest(&std::fs::read(node.dir.path().join(file)).unwrap())
            )
            .as_bytes(),
        );
    };
    write("12345678", "1.wasm");
    let mut peer = Teller::join(address(&node.json(&["load", "--manifest", "teller.yaml"])));
    let sha = digest(&teller(2, ""));
    node.eep(&["modify", "teller", "--url", "2.wasm", "--sha256", &sha]).done();
    assert_eq!(peer.tell(), 2);
    node.file("bad.wasm", &teller(9, "(local.set $message (i64.const 0))"));
    let sha = digest(&teller(9, "(local.set $message (i64.const 0))"));
    let words = node.eep(&["modify", "teller", "--url", "bad.wasm", "--sha256", &sha]).refused();
    assert!(words.contains("its health probe failed"), "{words}");
    assert_eq!(peer.tell(), 2);
}

#[test]
fn a_node_that_is_killed_on_probation_comes_back_with_the_former_version() {
    let node = node();
    let mut peer = Teller::join(load(&node));
    assert_eq!(peer.tell(), 1);
    let kept = status(&node)["digest"].clone();
    let mut modifying = beside(&node, &modify("2.wasm", &digest(&teller(2, "")), "600000"));
    shows(&node, |view| view["last_swap"]["outcome"] == "on-probation");
    assert_eq!(peer.tell(), 2);
    let node = over(node.kill());
    assert_ne!(modifying.wait().unwrap().code(), Some(0));
    let view = status(&node);
    assert_eq!((&view["digest"], &view["state"]), (&kept, &json!("running")));
    assert_eq!(Teller::join(address(&view)).tell(), 1);
}

#[test]
fn a_node_that_ends_on_probation_keeps_the_former_version_with_its_state() {
    let node = node();
    load(&node);
    let kept = status(&node)["digest"].clone();
    let mut modifying = beside(&node, &modify("2.wasm", &digest(&teller(2, "")), "600000"));
    shows(&node, |view| view["last_swap"]["outcome"] == "on-probation");
    let (code, dir) = node.end();
    assert_eq!(code, Some(0));
    assert_ne!(modifying.wait().unwrap().code(), Some(0));
    let node = over(dir);
    assert_eq!((&status(&node)["digest"], &status(&node)["state"]), (&kept, &json!("running")));
}

#[test]
fn a_version_that_refuses_the_state_says_why_and_how_to_do_without_it() {
    let node = node();
    let mut peer = Teller::join(load(&node));
    let other = refusing_teller(3);
    node.file("other.wasm", &other);
    let words = node.eep(&modify("other.wasm", &digest(&other), "0")).refused();
    assert!(words.contains("it does not know this state; the former version goes on"), "{words}");
    assert!(words.contains("`eep unload teller`"), "{words}");
    assert_eq!(peer.tell(), 1);
    node.json(&["unload", "teller"]);
    node.json(&["load", "other.wasm", "--sha256", &digest(&other)]);
}

#[test]
fn a_service_on_probation_is_stopped_at_once_and_starts_as_it_was() {
    let node = node();
    load(&node);
    let kept = status(&node)["digest"].clone();
    let sha = digest(&teller(2, ""));
    let modifying = beside(&node, &modify("2.wasm", &sha, "600000"));
    shows(&node, |view| view["last_swap"]["outcome"] == "on-probation");
    let words = node.eep(&modify("2.wasm", &sha, "0")).refused();
    assert!(words.contains("another change of teller is under way"), "{words}");
    assert_eq!(node.json(&["stop", "teller"])["state"], "stopped");
    let ended = modifying.wait_with_output().unwrap();
    let words = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{words}");
    assert!(words.contains("another change of the service was asked for"), "{words}");
    assert!(words.contains("give the order again") && !words.contains("author"), "{words}");
    let view = node.json(&["start", "teller"]);
    assert_eq!((&view["digest"], &view["state"]), (&kept, &json!("running")));
}

#[test]
fn wherever_a_swap_is_cut_off_the_node_comes_back_with_one_of_the_versions() {
    let mut node = node();
    load(&node);
    let digests = [1, 2].map(|version| digest(&teller(version, "")));
    for round in 0..8 {
        let now = status(&node)["digest"].as_str().unwrap().to_owned();
        let next = if now == digests[0] { 2 } else { 1 };
        let url = format!("{next}.wasm");
        let mut modifying = beside(&node, &modify(&url, &digests[next - 1], "0"));
        // Each round is cut off a little later.
        for _ in 0..round {
            status(&node);
        }
        node = over(node.kill());
        modifying.wait().unwrap();
        let view = status(&node);
        assert!(digests.contains(&view["digest"].as_str().unwrap().to_owned()), "{view}");
        assert_eq!(view["state"], "running", "{view}");
        assert_eq!(
            i64::from(Teller::join(address(&view)).tell()),
            digests.iter().position(|d| view["digest"] == *d).unwrap() as i64 + 1
        );
    }
}

#[test]
fn rights_that_are_taken_away_end_what_was_made_with_them() {
    let node = node();
    let at = load(&node);
    let mut peer = Teller::join(at);
    assert_eq!(peer.tell(), 1);
    let grant = format!("net.listen:{at}");
    let more =
        ["modify", "teller", "--grant", "net.listen:*", "--grant", "net.connect", "--health-window-ms", "0"];
    node.json(&more);
    assert_eq!(peer.tell(), 1, "more rights end nothing");
    node.eep(&["modify", "teller", "--grant", &grant]).refused();
    node.json(&["modify", "teller", "--grant", "net.listen:0"]);
    assert_eq!(peer.stream.read(&mut [0]).unwrap_or(0), 0, "the connection has ended");
}
