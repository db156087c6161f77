//! Services on two nodes speak over the mesh, through an address that stands for the other.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::json;

use crate::guest::probe;
use crate::node::{Domain, done, own_address, until};
use crate::port::Port;

/// What comes back for some words; none where the connection ends first.
fn echo(to: SocketAddr, words: &str) -> Option<String> {
    let mut tcp = TcpStream::connect(to).ok()?;
    tcp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    tcp.write_all(format!("E{words}").as_bytes()).ok()?;
    let mut back = vec![0; words.len()];
    tcp.read_exact(&mut back).ok()?;
    Some(String::from_utf8(back).unwrap())
}

#[test]
fn an_address_here_is_a_service_there() {
    let domain = Domain::new("isp-a");
    // It comes back under the address that it had, so that it is found again.
    let b = domain.node_in("edge-b", json!({ "serve": ["probe"] }), &own_address().to_string(), None);
    let ports = [Port::reserve(), Port::reserve()];
    let [link, other] = ports.each_ref().map(Port::address);
    let a = domain.node_with(
        "edge-a",
        json!({
            "seeds": [b.mesh().to_string()],
            "links": [
                {"listen": link.to_string(), "node": "edge-b", "service": "probe"},
                {"listen": other.to_string(), "node": "edge-b", "service": "hidden"},
            ],
        }),
    );
    until("both on the map", || (a.map().1 == 1).then_some(()));
    assert_eq!(echo(link, "nobody"), None, "the service does not run yet");

    std::fs::write(b.dir.path().join("probe.wasm"), probe()).unwrap();
    let digest = eep::proxylet::digest::Digest::of(&probe()).to_string();
    for name in ["probe", "hidden"] {
        done(&b.eep(&["load", "probe.wasm", "--sha256", &digest, "--name", name]));
    }
    until("it is served", || (echo(link, "over the mesh").as_deref() == Some("over the mesh")).then_some(()));
    assert_eq!(echo(other, "x"), None, "a service that is not served is not reached");
    // What a service says in bulk arrives whole.
    let mut tcp = TcpStream::connect(link).unwrap();
    tcp.write_all(b"B\x10").unwrap();
    let mut bulk = vec![1; 16 << 16];
    tcp.read_exact(&mut bulk).unwrap();
    assert!(bulk.iter().all(|byte| *byte == 0));

    let b = crate::node::Node::over(b.kill());
    let mut byte = [0];
    assert!(!matches!(tcp.read(&mut byte), Ok(n) if n > 0), "the connection ends with the service");
    until("again over the mesh", || (echo(link, "again").as_deref() == Some("again")).then_some(()));
    assert!(b.figure("eep_mesh_streams_accepted_total") >= 1.0);
}
