//! A machine without room: on its disk, where what does not fit is refused, nothing changed, and all is well again where
//! less is asked for; and for sockets.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::guest::{probe, with_section};
use crate::node::{Node, digest};

/// 3 MiB: larger than the state of a new node while it is written, smaller than what is asked for below.
const BLOCKS: u32 = 6_144;

#[test]
fn code_that_does_not_fit_is_not_loaded() {
    let node = Node::with_small_files(BLOCKS);
    let large = with_section(probe(), "padding", &vec![0; 4 << 20]);
    node.file("large.wasm", &large);
    let before = node.kept();
    let told = node.eep(&["load", "large.wasm", "--sha256", &digest(&large)]).refused();
    let file = node.data().join("store").join(format!("{}.wasm", digest(&large)));
    assert_eq!(
        told,
        format!(
            "error: cannot write: the file would be larger than this process may write\n  at:  {}\n  fix: free some space \
             there, or start the node with --data DIR on another disk\n",
            file.display()
        )
    );
    assert_eq!(node.kept(), before);
    node.load_probe("probe");
}

#[test]
fn a_state_that_does_not_fit_is_not_kept_and_the_next_one_is() {
    let node = Node::with_small_files(BLOCKS);
    node.load_probe("probe");
    let before = node.kept();
    let more = ["x1", "x2", "x3", "x4", "x5", "x6"];
    let refused = more.iter().find_map(|name| {
        let manifest = format!(
            "name: {name}\nproxylet: {{url: probe.wasm, sha256: {}}}\nconfig: {{leaves: {}}}\n",
            digest(&probe()),
            "a".repeat(900_000)
        );
        node.file("large.yaml", manifest.as_bytes());
        let ended = node.eep(&["load", "--manifest", "large.yaml"]);
        (ended.code != Some(0)).then(|| ended.refused())
    });
    let told = refused.expect("so much does not fit");
    assert!(told.contains("state.redb") && told.contains("free some space"), "{told}");
    for name in more {
        // Those that did fit.
        node.eep(&["unload", name]);
    }
    assert_eq!(node.kept(), before);
    node.json(&["stop", "probe"]);
    assert_eq!(node.json(&["start", "probe"])["state"], "running");
}

#[test]
fn peers_beyond_the_node_s_descriptors_are_closed_and_the_others_served() {
    let node = Node::with_descriptors(300);
    let at = node.load_probe("probe");
    let room = {
        let info = node.json(&["status"]);
        let count = |key: &str| info[key].as_u64().unwrap() as usize;
        count("descriptors_max") - count("descriptors")
    };
    assert!((10..100).contains(&room), "{room}");
    let answers = |_: usize| {
        let mut peer = TcpStream::connect(at).unwrap();
        // One that was closed at once answers nothing.
        let answered = peer.write_all(b"E!").and_then(|()| peer.read_exact(&mut [0])).is_ok();
        (peer, answered)
    };
    let mut peers: Vec<_> = (0..room + 20).map(answers).collect();
    assert!(peers.iter().take(room).all(|(_, answered)| *answered));
    // A socket of its own is not to be had either.
    let (first, _) = &mut peers[0];
    first.write_all(b"D").and_then(|()| first.read_exact(&mut [0])).unwrap();
    assert_eq!(node.json(&["status", "probe"])["listening"].as_array().unwrap().len(), 1);
    assert!(!peers.iter().skip(room).any(|(_, answered)| *answered));
    let probe = node.json(&["status", "probe"]);
    assert_eq!((&probe["connections"], &probe["connections_refused"]), (&room.into(), &20.into()));
}
