//! WASI as the runtimes of other languages use it.

use std::path::Path;

use serde_json::json;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, UnresolvedPackageGroup};

use crate::guest::with_section;
use crate::node::{Node, digest, eep};

/// The guest, which waits so long in `start`.
fn guest(wait_ns: u64) -> Vec<u8> {
    let wat = include_str!("../guests/wasi.wat");
    let mut module = wat::parse_str(wat.replace("0 (;WAIT;)", &wait_ns.to_string())).unwrap();
    let mut wit = Resolve::default();
    wit.push_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../proxylets/wit")).unwrap();
    let world = UnresolvedPackageGroup::parse("wasi.wit", include_str!("../guests/wasi.wit"));
    let package = wit.push_group(world.map_err(|(_, e)| e).unwrap()).unwrap();
    let world = wit.select_world(&[package], Some("service")).unwrap();
    embed_component_metadata(&mut module, &wit, world, StringEncoding::UTF8, false).unwrap();
    let component = ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap();
    with_section(
        component,
        "eep:proxylet",
        json!({"name": "wasi", "version": "0.1.0"}).to_string().as_bytes(),
    )
}

#[test]
fn a_runtimes_wasi_is_the_contract_under_other_names() {
    let node = Node::start();
    let code = guest(0);
    node.file("wasi.wasm", &code);
    let service = node.json(&["load", "wasi.wasm", "--sha256", &digest(&code)]);
    assert_eq!(service["state"], "running");
    let log = node.eep(&["logs", "wasi"]).done();
    assert!(log.contains("printed") && log.contains("and more") && !log.contains("unfinished"), "{log}");
    assert!(log.contains("create-tcp-socket: proxylets have no files and no sockets of WASI"), "{log}");

    let inspected =
        eep().args(["proxylet", "inspect"]).arg(node.dir.path().join("wasi.wasm")).output().unwrap();
    let inspected = String::from_utf8(inspected.stdout).unwrap();
    for line in [
        "wasi:cli/stdout@0.2.3: needs no grant: its lines go to the log",
        "wasi:clocks/monotonic-clock@0.2.3: needs no grant: stands still within a batch",
        "wasi:sockets/tcp-create-socket@0.2.3: needs no grant: there are none, and it is told so",
    ] {
        assert!(inspected.contains(line), "{inspected}");
    }
}

#[test]
fn who_waits_is_told_to_set_a_timer() {
    let node = Node::start();
    let code = guest(1);
    node.file("wasi.wasm", &code);
    let told = node.eep(&["load", "wasi.wasm", "--sha256", &digest(&code)]).refused();
    assert!(told.contains("it waits inside a call") && told.contains("set a timer"), "{told}");
}
