//! A proxylet that does what its peers tell it, from the node's own tests: `eep/tests/guests/probe.wat` says what.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use serde_json::json;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::node::Node;

/// Builds it and loads it as `probe`; where it listens.
///
/// # Panics
/// Where it cannot be built or loaded.
#[must_use]
pub fn load(node: &Node) -> SocketAddr {
    let path = node.path("probe.wasm");
    std::fs::write(&path, build()).expect("a file");
    let manifest = json!({
        "name": "probe",
        "proxylet": { "url": format!("file://{}", path.display()) },
        "grant": ["net.listen:0", "net.connect", "datagram:0"],
    });
    let file = node.path("probe.yaml");
    std::fs::write(&file, manifest.to_string()).expect("a manifest");
    let _ = node.eep(&["load", "--manifest", file.to_str().expect("a UTF-8 path")]).done();
    let status = node.json(&["status", "probe"]);
    let address = status["listening"][0]["address"].as_str().map(str::parse);
    address.and_then(Result::ok).unwrap_or_else(|| panic!("no address in {status}"))
}

/// Tells it something; it may not live to answer.
///
/// # Panics
/// Where it does not listen.
pub fn say(to: SocketAddr, words: &[u8]) {
    let mut stream = TcpStream::connect(to).expect("it listens");
    stream.write_all(words).expect("sent");
}

fn build() -> Vec<u8> {
    let root: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut module = wat::parse_file(root.join("eep/tests/guests/probe.wat")).expect("the probe's text");
    let mut wit = Resolve::default();
    let (package, _) = wit.push_dir(root.join("proxylets/wit")).expect("the contract");
    let world = wit.select_world(&[package], Some("service")).expect("its world");
    embed_component_metadata(&mut module, &wit, world, StringEncoding::UTF8, false).expect("a module");
    ComponentEncoder::default().module(&module).and_then(|c| c.encode()).expect("a component")
}
