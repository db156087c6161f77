//! What may be loaded, and what is said about the rest.

use std::fs;
use std::path::{Path, PathBuf};

use eep::proxylet::digest::Digest;
use eep::proxylet::error::LoadError;

use crate::node::{Node, PROBE, Peer, component, grants};

#[test]
fn the_wrong_bytes_are_named_for_what_they_are() {
    let node = Node::new();
    let good = component(PROBE);
    let wanted = Digest::of(b"something else");
    let says = |bytes: &[u8], digest| node.runtime.prepare(bytes, digest).unwrap_err().to_string();
    assert!(says(&good, Some(wanted)).contains(&wanted.to_string()));
    assert!(says(b"", None).contains("starts with nothing"));
    assert!(says(b"<!DOCTYPE html>", None).contains("not WebAssembly (it starts with \"<!DOCTYPE html>\")"));
    assert!(says(b"\0as", None).contains("ends early, after 3 bytes"));
    for len in [8, 9, 100, good.len() / 2, good.len() - 1] {
        let error = node.runtime.prepare(&good[..len], None).unwrap_err();
        assert!(matches!(error, LoadError::Truncated { .. } | LoadError::NoExport { .. }), "{len}: {error}");
    }
    assert!(says(&wat::parse_str("(module)").unwrap(), None).contains("eep proxylet build"));
    assert!(
        says(&wat::parse_str("(component)").unwrap(), None)
            .contains("does not export `eep:proxylet/lifecycle@0.1.0`")
    );
    let mut broken = good.clone();
    let middle = broken.len() / 2;
    broken[middle..middle + 64].fill(0xff);
    node.runtime.prepare(&broken, None).unwrap_err();
}

#[test]
fn an_import_that_the_node_does_not_have_is_named_with_the_fix() {
    let node = Node::new();
    let says = |import: &str| {
        let wat = format!("(component (import \"{import}\" (instance)))");
        node.runtime.prepare(&wat::parse_str(wat).unwrap(), None).unwrap_err().to_string()
    };
    let later = says("eep:proxylet/net@0.2.0");
    assert_eq!(
        later,
        "the proxylet wants `eep:proxylet/net` in version 0.2.0, this node offers 0.1.0: run it on a newer node"
    );
    assert!(says("eep:proxylet/net@0.0.9").contains("build it again with the SDK of this node"));
    let unknown = says("eep:proxylet/teleport@0.1.0");
    assert!(unknown.contains("`eep:proxylet/teleport@0.1.0`") && unknown.contains("eep:proxylet/net@0.1.0"));
    assert!(says("wasi:http/types@0.2.0").contains("of WASI 0.2 there are clocks, random and stdio"));
    assert!(says("wasi:filesystem/types@0.3.0").contains("make components for WASI 0.2"));
    assert!(says("other:package/thing@1.0.0").contains("interfaces of `eep:proxylet` only"));
}

#[tokio::test]
async fn a_missing_grant_is_named_with_the_interface() {
    let node = Node::new();
    let error = node.try_start(|spec| spec.grants = grants(&["datagram:*"])).await.unwrap_err().to_string();
    assert!(error.contains("imports `eep:proxylet/net@0.1.0`"), "{error}");
    assert!(
        error.contains("add `net.listen:PORT` or `net.connect` to the service's `grant` list"),
        "{error}"
    );
    let error = node.try_start(|spec| spec.grants = grants(&["net.connect"])).await.unwrap_err().to_string();
    assert!(error.contains("add `datagram:PORT`"), "{error}");
}

#[tokio::test]
async fn a_damaged_cache_entry_is_compiled_again() {
    let dir = tempfile::tempdir().unwrap();
    // A node of its own each time: what a node has in memory is not read again.
    let begin = || Node::with(|config| config.cache_dir = dir.path().to_owned());
    assert!(!begin().probe.was_cached());
    let entry = only_entry(dir.path());
    let whole = fs::read(&entry).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let cut = whole[..whole.len() - 1].to_vec();
    for damaged in [flipped, cut, vec![], b"eepcwas1".to_vec()] {
        fs::write(&entry, damaged).unwrap();
        let node = begin();
        assert!(!node.probe.was_cached());
        let service = node.start().await;
        assert_eq!(Peer::join(&service).await.ask("E.", 1).await, b".");
        settle(&node);
        assert_eq!(fs::read(&entry).unwrap().len(), whole.len());
        assert!(begin().probe.was_cached());
    }
}

fn only_entry(dir: &Path) -> PathBuf {
    let entries: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(entries.len(), 1);
    entries.into_iter().next().unwrap()
}

#[test]
fn compiled_code_is_shared_as_long_as_somebody_has_it() {
    let node = Node::with(|config| config.at_hand_bytes_max = 0);
    let other = component(&PROBE.replace("probe_total", "other_total"));
    let prepared = || node.runtime.prepare(&other, None).unwrap();
    let first = prepared();
    assert!(!first.was_cached());
    let second = prepared();
    assert!(second.was_cached());
    drop(first);
    empty_cache(&node);
    assert!(prepared().was_cached());
    drop(second);
    assert!(!prepared().was_cached());
}

#[test]
fn what_was_run_last_stays_at_hand_within_its_bound() {
    let node = Node::with(|config| config.at_hand_bytes_max = 1);
    let versions: Vec<_> =
        (0..2).map(|i| component(&PROBE.replace("probe_total", &format!("total_{i}")))).collect();
    let is_there = |version: &[u8]| node.runtime.prepare(version, None).unwrap().was_cached();
    assert!(!is_there(&versions[0]));
    empty_cache(&node);
    assert!(is_there(&versions[0]));
    // One byte holds nothing, and the newest stays all the same.
    assert!(!is_there(&versions[1]));
    empty_cache(&node);
    assert!(is_there(&versions[1]));
    assert!(!is_there(&versions[0]));
}

/// Waits for what is being written to the cache: what is looked for there, is there.
fn settle(node: &Node) {
    assert!(node.runtime.cached(Digest::of(b"no code")).is_none());
}

/// Leaves what is in memory alone.
fn empty_cache(node: &Node) {
    settle(node);
    for entry in fs::read_dir(node.dir.path().join("cache")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
}

#[test]
fn the_cache_is_readable_by_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let node = Node::new();
    settle(&node);
    let dir = node.dir.path().join("cache");
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    let files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap()).collect();
    assert_eq!(files.len(), 1);
    assert_eq!(files[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn the_cache_keeps_within_its_size() {
    let node = Node::with(|config| (config.cache_bytes_max, config.at_hand_bytes_max) = (1, 0));
    // One byte holds nothing, and the entry that was written last stays all the same.
    let other = component(&PROBE.replace("probe_total", "other_total"));
    assert!(!node.runtime.prepare(&other, None).unwrap().was_cached());
    assert!(node.runtime.prepare(&other, None).unwrap().was_cached());
    assert_eq!(fs::read_dir(node.dir.path().join("cache")).unwrap().count(), 1);
}

#[test]
fn the_embedded_manifest_is_read_wherever_it_lies() {
    let node = Node::new();
    let manifest = r#"{\"name\": \"probe\", \"version\": \"1.2.3\", \"wants\": [\"net.listen:$listen\"]}"#;
    let section = format!("(@custom \"eep:proxylet\" \"{manifest}\")\n  (memory");
    let code = node.runtime.prepare(&component(&PROBE.replacen("(memory", &section, 1)), None).unwrap();
    let read = code.manifest();
    assert_eq!((read.name.as_str(), read.version.as_str()), ("probe", "1.2.3"));
    let broken = component(&PROBE.replacen("(memory", "(@custom \"eep:proxylet\" \"{\")\n  (memory", 1));
    assert!(matches!(node.runtime.prepare(&broken, None), Err(LoadError::Manifest(_))));
}
