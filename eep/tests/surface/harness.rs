//! `eep proxylet test`: scenarios against a proxylet, without a network.

use std::path::Path;

use serde_json::Value;

use crate::golden::compare;
use crate::guest::probe;
use crate::node::{Ended, eep};

/// A project of nothing but scenarios, and the probe beside it.
fn project(scenarios: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("tests")).unwrap();
    std::fs::write(dir.path().join("probe.wasm"), probe()).unwrap();
    for (name, text) in scenarios {
        std::fs::write(dir.path().join("tests").join(name), text).unwrap();
    }
    dir
}

fn test(dir: &Path, more: &[&str]) -> Ended {
    let mut command = eep();
    command.args(["proxylet", "test", "--wasm", "probe.wasm"]).args(more).current_dir(dir);
    command.output().unwrap().into()
}

#[test]
fn every_kind_of_step_is_played() {
    let dir = project(&[
        (
            "streams.yaml",
            r#"
name: bytes go both ways, wait for who does not read, and end
steps:
  - connect: a
  - connect: {peer: b, from: "203.0.113.9:1000"}
  - send: [a, "E", {hex: "00 ff"}]
  - hear-next: [a, {hex: "00ff"}]
  - send: [a, "Fall of us"]
  - hear: [b, "of us"]
  - hear-not: [b, "all"]
  - hear-next: [a, "all of us"]
  - silent: a
  - stall: b
  - send: [b, "B", {hex: "08"}]
  - silent: b
  - resume: b
  - hear: [b, {hex: "0000"}]
  - send: [b, "Q"]
  - hear: [b, {hex: "01 00 ff"}]
  - send: [b, "C"]
  - closed: b
  - close: a
"#,
        ),
        (
            "outward.yaml",
            r#"
name: it connects to those who listen, and hears of those who do not
listen: {there: "127.0.0.1:81"}
steps:
  - connect: a
  - send: [a, "U81"]
  - accept: there
  - send: [there, "Ehello"]
  - hear-next: [there, "arly", "hello"]
  - send: [a, "U82"]
  - send: [a, "Q"]
  - hear: [a, {hex: "00 00 00 02 01"}]
"#,
        ),
        (
            "time.yaml",
            r#"
name: time passes for who waits
steps:
  - connect: a
  - send: [a, "W", {hex: "c8"}]
  - silent: a
  - wait: 199ms
  - silent: a
  - wait: 2ms
  - hear-next: [a, "t"]
  - send: [a, "W", {hex: "c8"}]
  - hear-next: [a, "t"]
"#,
        ),
        (
            "host.yaml",
            r#"
name: log, figures, datagrams, settings and keys
config: {leaves: few}
steps:
  - connect: a
  - send: [a, "Osomething to say"]
  - log: something
  - send: [a, "I"]
  - metric: {name: probe_total, is: 7}
  - send: [a, "D"]
  - datagram: {from: "203.0.113.9:53", bytes: ["ping"]}
  - hear-datagram: {to: "203.0.113.9:53", bytes: ["ping"]}
  - configure: {leaves: many}
  - send: [a, "Kvalue"]
  - send: [a, "Sx"]
  - restart
  - closed: a
  - connect: a
  - send: [a, "G"]
  - hear-next: [a, "x"]
  - send: [a, "k"]
  - hear-next: [a, "value"]
"#,
        ),
    ]);
    let told: Value = serde_json::from_str(&test(dir.path(), &["--json"]).done()).unwrap();
    assert_eq!(
        (told["failed"].as_u64(), told["scenarios"].as_array().unwrap().len()),
        (Some(0), 4),
        "{told:#}"
    );
    let again: Value = serde_json::from_str(&test(dir.path(), &["--json"]).done()).unwrap();
    let logs = |told: &Value| {
        told["scenarios"].as_array().unwrap().iter().map(|s| s["log"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(logs(&told), logs(&again));
}

#[test]
fn what_fails_is_told_with_its_place() {
    let cases = [
        ("hears something else", "steps:\n  - connect: a\n  - send: [a, \"Eno\"]\n  - hear: [a, \"yes\"]\n"),
        ("hears more", "steps:\n  - connect: a\n  - send: [a, \"Eno\"]\n  - silent: a\n"),
        (
            "hears what it must not",
            "steps:\n  - connect: a\n  - send: [a, \"Eno\"]\n  - hear-not: [a, \"n\"]\n",
        ),
        ("traps", "steps:\n  - connect: a\n  - send: [a, \"T\"]\n"),
        ("runs for ever", "limits: {call-ms: 1000}\nsteps:\n  - connect: a\n  - send: [a, \"L\"]\n"),
        (
            "asks for too much memory",
            "limits: {memory: 1MiB}\nsteps:\n  - connect: a\n  - send: [a, \"M\\u0020\"]\n",
        ),
        ("is closed", "steps:\n  - connect: a\n  - closed: a\n"),
        ("has no connection", "steps:\n  - send: [a, \"E\"]\n"),
        ("logs nothing", "steps:\n  - log: hello\n"),
        ("has no such figure", "steps:\n  - metric: {name: x_total, is: 1}\n"),
        ("connects to nobody", "steps:\n  - accept: there\n"),
        ("sends no datagram", "steps:\n  - hear-datagram: {to: \"203.0.113.9:53\", bytes: [\"x\"]}\n"),
        ("has too few grants", "grant: [net.connect]\nsteps: []\n"),
        ("port not granted", "grant: [\"net.listen:1\", \"datagram:*\"]\nsteps: []\n"),
    ];
    let mut told = String::new();
    for (title, text) in cases {
        let dir = project(&[("it.yaml", text)]);
        let ended = test(dir.path(), &[]);
        assert_eq!(ended.code, Some(1), "{title}: {ended:?}");
        let (_, said) = ended.stdout.split_once('\n').unwrap();
        told += &format!("### {title}\n{said}{}\n", ended.stderr);
    }
    let files = [
        ("an unknown step", "steps:\n  - conect: a\n"),
        ("an unknown key", "config: {}\nstep: []\n"),
        ("a peer alone", "steps:\n  - send: [a]\n"),
        ("a peer that says nothing", "steps:\n  - hear: [a, \"\"]\n"),
        ("half a byte", "steps:\n  - send: [a, {hex: \"0\"}]\n"),
        ("no duration", "steps:\n  - wait: long\n"),
        ("a grant that is none", "grant: [net.lisen]\n"),
    ];
    for (title, text) in files {
        let dir = project(&[("it.yaml", text)]);
        told += &format!("### {title}\n{}\n", test(dir.path(), &[]).refused());
    }
    compare("harness.txt", &told);
}

#[test]
fn without_scenarios_the_life_of_a_proxylet_is_tried() {
    let dir = project(&[]);
    let said = test(dir.path(), &[]).done();
    assert!(
        said.contains("ok      it starts, saves its state, takes it up again and stops\n1 passed, 0 failed"),
        "{said}"
    );
}
