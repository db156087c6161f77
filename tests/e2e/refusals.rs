//! What cannot be done is said clearly, and changes nothing.

use std::net::TcpListener;

use eep_tests::http::{Served, Server};
use eep_tests::loopback::Loopback;
use eep_tests::node::{GNUTELLA_PORT, Node, proxylet, sha256};
use serde_json::json;

/// A node on which nothing has been loaded, and a server with something to load.
struct Stage {
    net: Loopback,
    node: Node,
    server: Server,
    code: Vec<u8>,
}

impl Stage {
    fn set() -> Self {
        let net = Loopback::claim();
        let node = Node::start(&net);
        let server = Server::start(net.at(0)).expect("a port");
        let code = std::fs::read(proxylet("gnutella-peer")).expect("the guest");
        Self { net, node, server, code }
    }

    /// Runs `eep load`, which must fail, say all of `words`, and leave the node without services.
    fn refuses(&self, arguments: &[&str], words: &[&str]) {
        let said = self.node.eep(&[&["load"], arguments].concat()).refused();
        for word in words {
            assert!(said.contains(word), "no {word:?} in: {said}");
        }
        assert_eq!(self.node.json(&["list"]), json!([]), "nothing has changed");
    }
}

#[test]
fn a_wrong_digest() {
    let stage = Stage::set();
    let url = stage.server.put("/peer.wasm", Served::Whole(stage.code.clone()));
    let wrong = sha256(b"something else");
    stage.refuses(&[&url, "--sha256", &wrong], &[&url, &wrong[..12], &sha256(&stage.code)[..12]]);
}

#[test]
fn an_address_where_nobody_answers() {
    let stage = Stage::set();
    let nobody = stage.net.at(9);
    stage.refuses(&[&format!("http://{nobody}/peer.wasm"), "--sha256", &sha256(b"")], &[&nobody.to_string()]);
    let url = stage.server.put("/", Served::Whole(Vec::new()));
    stage.refuses(&[&format!("{url}missing.wasm"), "--sha256", &sha256(b"")], &["404", "missing.wasm"]);
}

#[test]
fn a_file_that_ends_too_early() {
    let stage = Stage::set();
    let half = stage.code.len() / 2;
    let url = stage.server.put("/cut.wasm", Served::Truncated(stage.code.clone(), half));
    stage.refuses(&[&url, "--sha256", &sha256(&stage.code)], &[&url]);
    // Whole on the wire and cut before: its digest is right.
    let url = stage.server.put("/half.wasm", Served::Whole(stage.code[..half].to_vec()));
    stage.refuses(&[&url, "--sha256", &sha256(&stage.code[..half])], &[&url]);
}

#[test]
fn something_that_is_no_wasm() {
    let stage = Stage::set();
    let page = b"<!doctype html><title>Not here</title>".to_vec();
    let url = stage.server.put("/page.wasm", Served::Whole(page.clone()));
    stage.refuses(&[&url, "--sha256", &sha256(&page)], &[&url, "WebAssembly"]);
}

#[test]
fn a_missing_grant() {
    let stage = Stage::set();
    let path = proxylet("gnutella-peer");
    let path = path.to_str().expect("a UTF-8 path");
    stage.refuses(&[path, "--grant", "net.connect"], &["net.listen", "--grant"]);
}

#[test]
fn an_unknown_key_in_a_manifest() {
    let stage = Stage::set();
    let manifest = stage.node.path("edge.yaml");
    let text = format!(
        "name: edge\nproxylet: {{url: {}}}\nlimts: {{memory: 1GiB}}\n",
        proxylet("gnutella-peer").display()
    );
    std::fs::write(&manifest, text).expect("a manifest");
    let manifest = manifest.to_str().expect("a UTF-8 path");
    stage.refuses(&["--manifest", manifest], &["edge.yaml:3:1", "limts", "limits"]);
}

#[test]
fn an_unknown_setting() {
    let stage = Stage::set();
    let path = proxylet("gnutella-peer");
    let path = path.to_str().expect("a UTF-8 path");
    stage.refuses(&[path, "--sha256", &sha256(&stage.code), "--set", "leafs=3"], &["leafs"]);
}

#[test]
fn a_port_in_use() {
    let stage = Stage::set();
    let taken = TcpListener::bind(stage.net.at(GNUTELLA_PORT)).expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    let path = proxylet("gnutella-peer");
    let path = path.to_str().expect("a UTF-8 path");
    stage.refuses(
        &[path, "--sha256", &sha256(&stage.code), "--set", &format!("listen={address}")],
        &[&address],
    );
}

#[test]
fn a_second_service_of_the_same_name() {
    let net = Loopback::claim();
    let node = Node::start(&net);
    let _ = node.load_peer("edge", net.ip(), &json!({}));
    let manifest =
        node.peer_manifest("edge", std::net::SocketAddrV4::new(net.ip(), GNUTELLA_PORT), &json!({}));
    let said = node.eep(&["load", "--manifest", manifest.to_str().expect("a UTF-8 path")]).refused();
    assert!(said.contains("edge"), "{said}");
    assert_eq!(node.json(&["list"]).as_array().map(Vec::len), Some(1));
}
