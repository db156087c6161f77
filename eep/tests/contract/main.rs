//! A released version of the contract is only ever added to: what was built against it is still served.
//!
//! The released copies lie in `proxylets/wit/released/VERSION`. They are compared by structure with what lies in
//! `proxylets/wit` now; comments and order do not count, names and types do.

#![allow(clippy::unwrap_used)]

mod shape;

use std::path::{Path, PathBuf};

use shape::Shape;

fn wit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../proxylets/wit")
}

/// The released contract as one text.
fn released(version: &str) -> String {
    let mut files: Vec<_> = std::fs::read_dir(wit().join("released").join(version))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort_by_key(|file| !file.ends_with("world.wit"));
    files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect()
}

#[test]
fn every_released_version_is_only_added_to() {
    let now = Shape::of_directory(&wit());
    let entries = std::fs::read_dir(wit().join("released")).unwrap().map(|entry| entry.unwrap().path());
    let versions: Vec<_> = entries.filter(|path| path.is_dir()).collect();
    assert!(!versions.is_empty());
    for version in versions {
        let then = Shape::of_directory(&version);
        let broken = then.broken_by(&now);
        assert!(
            broken.is_empty(),
            "what is built against {} would not run any more: put this back, or begin a new minor version:\n  {}",
            then.package,
            broken.join("\n  ")
        );
    }
}

#[test]
fn the_node_offers_a_version_that_is_released() {
    let version = eep::proxylet::inspect::VERSION;
    let offered = format!("{}@{version}", eep::proxylet::inspect::PACKAGE);
    assert_eq!(Shape::of_directory(&wit()).package, offered);
    assert_eq!(Shape::of_directory(&wit().join("released").join(version)).package, offered);
}

#[test]
fn every_interface_of_the_contract_is_offered() {
    let shape = Shape::of_directory(&wit());
    let exported = shape.exports();
    let mut imported: Vec<_> = shape.interfaces().filter(|name| !exported.contains(name)).collect();
    let mut offered = eep::proxylet::inspect::OFFERED.to_vec();
    imported.sort_unstable();
    offered.sort_unstable();
    assert_eq!(imported, offered);
}

/// What the comparison says when the contract of 0.1.0 is changed like this.
fn told(from: &str, to: &str) -> Vec<String> {
    let then = released("0.1.0");
    let now = then.replacen(from, to, 1);
    assert_ne!(then, now, "{from:?} is not in the contract any more");
    Shape::of_text(&then).broken_by(&Shape::of_text(&now))
}

#[test]
fn additions_are_no_harm() {
    assert!(told("interface random {", "interface random {\n  seed: func() -> u64;").is_empty());
    assert!(told("interface random {", "interface later { f: func(); }\n\ninterface random {").is_empty());
    assert!(told("/// Randomness", "/// Very good randomness").is_empty());
    assert!(told("interface random {", "interface random {\n  record quality { bits: u32 }").is_empty());
}

#[test]
fn what_would_break_a_guest_is_named() {
    assert_eq!(
        told("bytes: func(len: u32) -> list<u8>;", ""),
        ["random: function bytes: was (len: u32) -> list<u8>, is gone"]
    );
    assert_eq!(
        told("bytes: func(len: u32)", "bytes: func(len: u64)"),
        ["random: function bytes: was (len: u32) -> list<u8>, is (len: u64) -> list<u8>"]
    );
    assert_eq!(
        told("enum level { error, warn, info, debug }", "enum level { error, warn, info, debug, trace }"),
        [
            "log: type level: was enum { error, warn, info, debug }, is enum { error, warn, info, debug, trace }"
        ]
    );
    let grown = told(
        "conn: conn,\n    reason: close-reason,",
        "conn: conn,\n    reason: close-reason,\n    at: u64,",
    );
    assert_eq!(grown.len(), 1);
    assert!(grown[0].starts_with("types: type ended: was record { conn: conn, reason: close-reason }"));
    assert_eq!(
        told("stop: func();", "stop: func();\n  pause: func();"),
        ["lifecycle: function pause: was not there, and every earlier proxylet lacks it"]
    );
    assert_eq!(told("import datagram;", ""), ["world service: import datagram: was there, is gone"]);
}
