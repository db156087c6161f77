//! Code that comes from another node's store, by its digest, to a node that runs only what was signed.

use std::net::SocketAddr;
use std::path::Path;

use eep::proxylet::digest::Digest;
use serde_json::json;

use crate::guest::{probe, probe_2};
use crate::node::{Domain, Node, done, eep, until};

/// A node that runs what one of these keys signed, and nothing else.
fn trusting(domain: &Domain, name: &str, seeds: &[SocketAddr], keys: &[&Path]) -> Node {
    let dir = tempfile::tempdir().unwrap();
    domain.certify(name, &dir.path().join("data"));
    let file = json!({
        "node": {"name": name, "domain": domain.name, "data": "data"},
        "listen": {"api": "127.0.0.1:0", "mesh": "127.0.0.1:0"},
        "mesh": {"seeds": seeds.iter().map(ToString::to_string).collect::<Vec<_>>()},
        "trust": {"keys": keys, "require": 1},
    });
    std::fs::write(dir.path().join("eep.yaml"), file.to_string()).unwrap();
    Node::over(dir)
}

#[test]
fn a_signature_comes_with_code_from_another_node_and_is_judged_there() {
    let keys = tempfile::tempdir().unwrap();
    let key = |name: &str| keys.path().join(name);
    for name in ["trusted", "other"] {
        let args = ["proxylet", "keygen", "--no-password", "--out", name];
        done(&eep().args(args).current_dir(keys.path()).output().unwrap());
    }
    let (trusted, other) = (key("trusted.pub"), key("other.pub"));
    let domain = Domain::new("isp-a");
    let store = trusting(&domain, "store", &[], &[&trusted, &other]);
    let strict = trusting(&domain, "strict", &[store.mesh()], &[&trusted]);
    let kept = [("mine", probe(), "trusted.key"), ("theirs", probe_2(), "other.key")];
    for (name, code, secret) in &kept {
        let file = store.dir.path().join(format!("{name}.wasm"));
        std::fs::write(&file, code).unwrap();
        let mut sign = eep();
        done(&sign.args(["proxylet", "sign", "--key"]).arg(key(secret)).arg(&file).output().unwrap());
        let file = file.to_str().unwrap();
        done(&store.eep(&["load", file, "--sha256", &Digest::of(code).to_string(), "--name", name]));
    }
    let load = |(name, code, _): &(&str, Vec<u8>, &str)| {
        let digest = Digest::of(code).to_string();
        strict.eep(&["load", &format!("eep:{digest}"), "--sha256", &digest, "--name", name])
    };
    let [mine, theirs] = &kept;
    until("the code is found", || load(mine).status.success().then_some(()));
    let status = strict.json(&["status", "mine"]);
    assert_eq!((&status["state"], status["signers"].as_array().map(Vec::len)), (&"running".into(), Some(1)));
    // The node that has it runs it; this one does not trust who signed it.
    let told = until("the other code is found", || {
        let out = load(theirs);
        assert_eq!(out.status.code(), Some(1));
        let words = String::from_utf8(out.stderr).unwrap();
        words.contains("trusted key").then_some(words)
    });
    assert!(told.contains("needs the signature of 1 trusted key"), "{told}");
    assert_eq!(strict.json(&["list"]).as_array().map(Vec::len), Some(1));
}
