//! What an operator reads when a node file or a manifest is wrong: one golden file for each mistake.
//!
//! `EEP_BLESS=1 cargo test -p eep --test config_errors` writes the golden files anew; read the difference.

#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use eep::config::node_file::{Kind, NodeFile, check_file, read_manifest};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/config")
}

#[test]
fn every_mistake_has_its_words() {
    let mut files: Vec<_> = std::fs::read_dir(directory()).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "yaml"));
    files.sort();
    assert!(files.len() >= 20, "the golden files are gone: {}", files.len());

    let mut told = String::new();
    for file in &files {
        let name = file.file_name().unwrap().to_str().unwrap();
        let error = check_file(file).expect_err(name);
        assert!(error.fix.is_some(), "{name}: no fix in: {error}");
        let text = error.render(false).replace(file.to_str().unwrap(), name);
        let place = error.place().replace(file.to_str().unwrap(), name);
        writeln!(told, "### {place}\n{}\n", text.trim_end()).unwrap();
    }
    let golden = directory().join("told.txt");
    if std::env::var_os("EEP_BLESS").is_some() {
        std::fs::write(&golden, &told).unwrap();
    }
    let wanted = std::fs::read_to_string(&golden).unwrap();
    for (wanted, told) in wanted.split("### ").zip(told.split("### ")) {
        assert_eq!(wanted, told);
    }
    assert_eq!(wanted, told);
}

#[test]
fn a_whole_node_file_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("eep.yaml");
    std::fs::write(
        &file,
        "node: {name: edge-1, data: state}\n\
         listen: {api: 127.0.0.1:9000}\n\
         services:\n\
         - name: edge\n  \
           proxylet: {url: peer.wasm, sha256: ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad}\n  \
           grant: [net.listen:6346, net.connect]\n  \
           limits: {memory: 256MiB, connections: 10000, cpu: 0.5}\n  \
           on-trap: stop\n  \
           config: {listen: \"0.0.0.0:6346\", ultrapeers: 32, dark: no}\n",
    )
    .unwrap();
    let node = NodeFile::read(&file).unwrap();
    assert_eq!(node.node.data.as_deref(), Some(dir.path().join("state").as_path()));
    assert_eq!(node.listen.api.port(), 9000);
    let service = node.services().next().unwrap();
    assert_eq!(service.proxylet.url.to_string(), dir.path().join("peer.wasm").to_str().unwrap());
    assert_eq!(service.grant.as_ref().map(Vec::len), Some(2));
    assert_eq!(service.limits.cpu, 0.5);
    assert_eq!(service.config["ultrapeers"], 32);
    assert_eq!(service.config["dark"], "no", "only true and false are booleans");
}

#[test]
fn a_manifest_is_told_from_a_node_file() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        std::fs::write(dir.path().join(name), text).unwrap();
        dir.path().join(name)
    };
    let yaml = write("a.yaml", "name: edge\nproxylet:\n  url: peer.wasm\n");
    let json = write("a.json", r#"{"proxylet": {"url": "http://h/p.wasm"}}"#);
    let node = write("n.yaml", "services:\n- name: a\n  proxylet: {url: p.wasm}\n");
    assert_eq!(check_file(&yaml).unwrap(), Kind::Manifest);
    assert_eq!(check_file(&json).unwrap(), Kind::Manifest);
    assert_eq!(check_file(&node).unwrap(), Kind::Node { services: 1 });
    assert_eq!(check_file(&write("empty.yaml", "")).unwrap(), Kind::Node { services: 0 });
    let entry = read_manifest(&json).unwrap();
    assert_eq!((entry.name, entry.grant), (None, None));
}

#[test]
fn files_that_are_no_text_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let told = |name: &str, bytes: &[u8]| {
        let file = dir.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        check_file(&file).unwrap_err().to_string()
    };
    assert!(told("binary", b"\0asm\xff").contains("byte 4 is not UTF-8"));
    assert!(told("large", &vec![b'#'; 1 << 21]).contains("2097152 bytes"));
    assert!(check_file(&dir.path().join("none.yaml")).unwrap_err().to_string().contains("cannot be read"));
    assert!(check_file(dir.path()).unwrap_err().to_string().contains("cannot be read"));
}
