//! Services on two nodes speak over the mesh, through an address that stands for the other.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;

use crate::guest::{probe, teller};
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
fn an_open_stream_is_served_by_new_code_and_recorded() {
    let domain = Domain::new("isp-a");
    let b = domain.node_with("edge-b", json!({ "serve": ["teller"] }));
    let link = Port::reserve();
    let links = json!([{"listen": link.address().to_string(), "node": "edge-b", "service": "teller"}]);
    let a = domain.node_with("edge-a", json!({ "seeds": [b.mesh().to_string()], "links": links }));
    until("both on the map", || (a.map().1 == 1).then_some(()));
    let versions = [1, 2].map(|version| {
        let (file, code) = (format!("{version}.wasm"), teller(version, ""));
        std::fs::write(b.dir.path().join(&file), &code).unwrap();
        (file, eep::proxylet::digest::Digest::of(&code).to_string())
    });
    done(&b.eep(&["load", &versions[0].0, "--sha256", &versions[0].1]));

    // Says the next message; the version that answers it.
    let mut said = 0_u64;
    let mut tell = |tcp: &mut TcpStream| -> std::io::Result<u8> {
        let mut answer = [0; 16];
        tcp.write_all(&(said + 1).to_le_bytes())?;
        tcp.read_exact(&mut answer)?;
        said += 1;
        assert_eq!(answer[..8], said.to_le_bytes());
        assert_eq!(answer[8..15], said.to_le_bytes()[..7], "each once");
        Ok(answer[15])
    };
    let mut tcp = until("it is served", || {
        let mut tcp = TcpStream::connect(link.address()).ok()?;
        tcp.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        (tell(&mut tcp).ok()? == 1).then_some(tcp)
    });
    let mut recording = crate::node::eep();
    recording.args(["logs", "teller", "--record", "teller.eeprec", "--for", "1s", "--renew", "--data"]);
    let mut recording =
        recording.arg(b.data()).current_dir(b.dir.path()).stdout(Stdio::null()).spawn().unwrap();
    let status = until("the end of the recording", || {
        assert_eq!(tell(&mut tcp).unwrap(), 1);
        recording.try_wait().unwrap()
    });
    assert!(status.success(), "{status}");
    let mut replay = crate::node::eep();
    let again = done(
        &replay
            .args(["proxylet", "replay", "teller.eeprec", "--json"])
            .current_dir(b.dir.path())
            .output()
            .unwrap(),
    );
    let again: serde_json::Value = serde_json::from_str(&again).unwrap();
    assert_eq!(again["equal"], true, "{again}");

    let [_, (file, sha256)] = &versions;
    let told =
        done(&b.eep(&["modify", "teller", "--url", file, "--sha256", sha256, "--health-window-ms", "50"]));
    assert!(told.contains("1 connections taken over, 0 ended"), "{told}");
    assert_eq!(tell(&mut tcp).unwrap(), 2, "the same stream");
    assert_eq!(a.figure("eep_mesh_streams_broken_total"), 0.0);
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
