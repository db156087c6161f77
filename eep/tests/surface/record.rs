//! `eep logs --record`, as somebody at a terminal uses it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::node::{Ended, Node, eep};

#[test]
fn what_happened_until_ctrl_c_is_in_the_recording() {
    let node = Node::start();
    let at = node.load_probe("probe");
    let file = node.dir.path().join("probe.eeprec");
    let mut command = eep();
    command.args(["logs", "probe", "--record"]).arg(&file).arg("--data").arg(node.data());
    let mut recording = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(recording.stderr.as_mut().unwrap()).read_line(&mut said).unwrap();
    assert!(said.contains("press Ctrl-C"), "{said}");

    let mut peer = TcpStream::connect(at).unwrap();
    for _ in 0..5 {
        peer.write_all(b"E.").and_then(|()| peer.read_exact(&mut [0])).unwrap();
    }
    let pid = recording.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    Ended::from(recording.wait_with_output().unwrap()).done();

    let replay: Ended = eep().args(["proxylet", "replay", "--json"]).arg(&file).output().unwrap().into();
    let outcome: Value = serde_json::from_str(&replay.done()).unwrap();
    assert_eq!((&outcome["equal"], &outcome["received_bytes"]), (&true.into(), &10.into()), "{outcome}");

    let bytes = std::fs::read(&file).unwrap();
    let other = node.dir.path().join("other.eeprec");
    let refused = |bytes: &[u8], more: &[&str]| {
        std::fs::write(&other, bytes).unwrap();
        let replay = eep().args(["proxylet", "replay"]).arg(&other).args(more).output().unwrap();
        Ended::from(replay).refused()
    };
    // The code is what comes first in it.
    let told = refused(&bytes[..40], &[]);
    assert!(told.contains("cut off before the end of the first call"), "{told}");
    let mut damaged = bytes.clone();
    damaged[40] ^= 1;
    let told = refused(&damaged, &[]);
    assert!(told.contains("it is damaged") && told.contains("take another recording"), "{told}");
    let mut later = bytes.clone();
    later[7] = 200;
    let told = refused(&later, &[]);
    assert!(
        told.contains("version 200") && told.contains("use the version of eep that recorded it"),
        "{told}"
    );
    // What is wrong with other code is told of that, and not of the recording.
    let wasm = node.dir.path().join("other.wasm");
    std::fs::write(&wasm, "a text").unwrap();
    let wasm = wasm.to_str().unwrap();
    let told = refused(&bytes, &["--wasm", wasm]);
    assert!(told.contains("not WebAssembly") && told.contains(&format!("at:  {wasm}")), "{told}");
}
