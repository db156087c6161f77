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
}
