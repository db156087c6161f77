//! What services launch: on their own node and on others, and never more than they may do themselves.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use eep::proxylet::digest::Digest;
use serde_json::{Value, json};

use crate::guest::{described, embedded, probe};
use crate::node::{Domain, Node, done, eep, until};
use crate::placement::{runs, state};

const POLICY: &str = "\
policy: eep/v1
name: test
sets:
  far: {cidr: [192.0.2.0/24]}
access:
  default: allow
  rules:
    - {id: far, match: {peer: {in: far}}, then: {deny: {reason: far}}}
";

/// A proxylet that launches what its peers tell it to.
fn launcher() -> Vec<u8> {
    let manifest = json!({
        "name": "launcher", "version": "0.1.0", "config": {},
        "wants": ["net.listen:127.0.0.1:0", "net.connect:127.0.0.0/8", "datagram:*", "deploy:2", "topology", "mesh"],
    });
    described(&embedded(include_str!("../guests/launcher.wat")), &manifest)
}

/// An order as `guests/launcher.wat` wants it.
struct Order<'a> {
    name: &'a str,
    /// The case of `deploy.place`, and its text.
    place: (u8, &'a str),
    grants: &'a [&'a str],
    memory: Option<u64>,
    url: Option<&'a str>,
    config: &'a str,
}

impl Default for Order<'_> {
    fn default() -> Self {
        Self {
            name: "child",
            place: (0, ""),
            grants: &["net.listen:127.0.0.1:0", "net.connect:127.0.0.0/8", "datagram:*"],
            memory: None,
            url: None,
            config: "",
        }
    }
}

impl Order<'_> {
    /// The record in memory, with its texts behind it.
    fn image(&self) -> Vec<u8> {
        const AT: usize = 262_144;
        const RECORD: usize = 96;
        let mut image = vec![0; RECORD];
        let text = |image: &mut Vec<u8>, place: usize, text: &[u8], count: usize| {
            let at = AT + image.len();
            image.extend_from_slice(text);
            image.resize(image.len().next_multiple_of(8), 0);
            image[place..place + 4].copy_from_slice(&(at as u32).to_le_bytes());
            image[place + 4..place + 8].copy_from_slice(&(count as u32).to_le_bytes());
        };
        let digest = Digest::of(&probe()).to_string();
        text(&mut image, 0, self.name.as_bytes(), self.name.len());
        text(&mut image, 8, digest.as_bytes(), digest.len());
        if let Some(url) = self.url {
            image[16] = 1;
            text(&mut image, 20, url.as_bytes(), url.len());
        }
        image[28] = self.place.0;
        text(&mut image, 32, self.place.1.as_bytes(), self.place.1.len());
        let mut list = Vec::new();
        for grant in self.grants {
            list.extend_from_slice(&((AT + image.len()) as u32).to_le_bytes());
            list.extend_from_slice(&(grant.len() as u32).to_le_bytes());
            image.extend_from_slice(grant.as_bytes());
        }
        image.resize(image.len().next_multiple_of(8), 0);
        text(&mut image, 40, &list, self.grants.len());
        if let Some(memory) = self.memory {
            image[48] = 1;
            image[56..64].copy_from_slice(&memory.to_le_bytes());
        }
        text(&mut image, 88, self.config.as_bytes(), self.config.len());
        image
    }
}

/// A connection to a launcher.
struct Peer(BufReader<TcpStream>);

impl Peer {
    fn of(node: &Node, name: &str) -> Self {
        let status = node.json(&["status", name]);
        let address: SocketAddr = status["listening"][0]["address"].as_str().unwrap().parse().unwrap();
        let tcp = TcpStream::connect(address).unwrap();
        tcp.set_nodelay(true).unwrap();
        // A bound for what must come.
        tcp.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self(BufReader::new(tcp))
    }

    fn say(&mut self, command: u8, what: &[u8]) -> String {
        self.0.get_mut().write_all(&[&[command], what].concat()).unwrap();
        self.hear()
    }

    /// What it says next.
    fn hear(&mut self) -> String {
        let mut heard = Vec::new();
        self.0.read_until(0, &mut heard).unwrap();
        assert_eq!(heard.pop(), Some(0), "the launcher has gone: {}", String::from_utf8_lossy(&heard));
        String::from_utf8(heard).unwrap()
    }

    fn launch(&mut self, order: &Order<'_>) -> String {
        self.say(b'L', &order.image())
    }
}

/// Loads the launcher with what else its manifest says.
fn load_launcher(node: &Node, more: Value) -> Peer {
    std::fs::write(node.dir.path().join("launcher.wasm"), launcher()).unwrap();
    let digest = Digest::of(&launcher()).to_string();
    let mut manifest = json!({ "proxylet": {"url": "launcher.wasm", "sha256": digest} });
    manifest.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    std::fs::write(node.dir.path().join("launcher.yaml"), manifest.to_string()).unwrap();
    done(&node.eep(&["load", "--manifest", "launcher.yaml"]));
    Peer::of(node, "launcher")
}

/// The node holds the code of the probe.
fn keep_probe(node: &Node) {
    std::fs::write(node.dir.path().join("probe.wasm"), probe()).unwrap();
    let digest = Digest::of(&probe()).to_string();
    done(&node.eep(&["load", "probe.wasm", "--sha256", &digest, "--name", "keeper"]));
}

#[test]
fn a_service_launches_others_near_somebody_and_stops_them() {
    let domain = Domain::new("isp-a");
    let a = domain.node_with("edge-a", json!({}));
    let mesh = json!({
        "seeds": [a.mesh().to_string()], "prefixes": ["10.0.0.0/8"],
        "placed": {"services": 1, "memory": "128MiB", "grant": ["net.listen:127.0.0.1:0", "net.connect", "datagram:*"]},
    });
    let b = domain.node_with("edge-b", mesh);
    until("one map", || (a.map().1 == 1).then_some(()));
    until("whose users are served there", || {
        let nearest = a.json(&["topology", "nearest", "10.1.0.0/16"]);
        (nearest["nodes"][0]["name"] == "edge-b").then_some(())
    });
    keep_probe(&a);
    let mut peer = load_launcher(&a, json!({ "limits": {"memory": "96MiB"}, "record": "on" }));
    // It sees what its node sees.
    until("a view of the mesh", || (peer.say(b'T', b"10.1.0.0/16") == b.id()).then_some(()));
    until("a way", || (peer.say(b'R', b.id().as_bytes()) == "2").then_some(()));
    assert_eq!(peer.say(b'T', b"nowhere"), "");
    assert_eq!(peer.say(b'R', "0".repeat(64).as_bytes()), "0");
    let near = Order { place: (2, "10.1.0.0/16"), ..Order::default() };
    assert_eq!(peer.launch(&near), format!("+{}", b.id()));
    assert!(runs(&b, "child"));
    assert_eq!(peer.say(b'N', b""), "child 1\n");
    let status = b.json(&["status", "child"]);
    assert_eq!(status["grants"], json!(near.grants));
    assert_eq!(status["limits"]["memory"], "96MiB");
    assert_eq!(a.json_of("/v1/placements")["placements"][0]["launched_by"], "launcher");

    // The other node has its say, and what it says is told.
    let second = Order { name: "second", ..near };
    let told = peer.launch(&second);
    assert!(told.starts_with("-1 services are placed on this node"), "{told}");
    // Only what it has launched itself is its to stop.
    let told = peer.say(b'S', b"keeper");
    assert!(told.starts_with("-launcher has launched nothing called \"keeper\""), "{told}");
    assert_eq!(peer.say(b'S', b"child"), "+");
    assert_eq!(state(&b, "child"), None);
    assert_eq!(peer.say(b'N', b""), "");
    // Its name is free at once.
    assert_eq!(peer.launch(&Order { place: (1, "edge-b"), ..Order::default() }), format!("+{}", b.id()));
    // All of it can be done again.
    let file = a.json(&["status", "launcher"])["recording"]["file"].as_str().unwrap().to_owned();
    done(&a.eep(&["stop", "launcher"]));
    assert!(runs(&b, "child"), "it goes on while its launcher is stopped");
    let again = done(&eep().args(["proxylet", "replay", &file, "--json"]).output().unwrap());
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_eq!(again["equal"], true, "{again}");
    done(&a.eep(&["unload", "launcher"]));
    until("what it has launched goes with it", || state(&b, "child").is_none().then_some(()));
    assert_eq!(a.json_of("/v1/placements")["placements"], json!([]));
}

#[test]
fn a_service_launches_on_another_node_what_is_fetched_from_an_address() {
    let domain = Domain::new("isp-a");
    let a = domain.node("edge-a", &[]);
    let b = domain.node("edge-b", &[a.mesh()]);
    until("one map", || (a.map().1 == 1).then_some(()));
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/probe.wasm", server.local_addr().unwrap());
    std::thread::spawn(move || {
        for tcp in server.incoming() {
            let mut asked = BufReader::new(tcp.unwrap());
            let mut line = String::new();
            while asked.read_line(&mut line).unwrap() > 2 {
                line.clear();
            }
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", probe().len());
            asked.get_mut().write_all(&[head.as_bytes(), &probe()].concat()).unwrap();
        }
    });
    let order = Order { url: Some(&url), place: (1, "edge-b"), ..Order::default() };
    let told = load_launcher(&a, json!({})).launch(&order);
    assert!(told.starts_with('-'), "who may not connect everywhere has nothing fetched: {told}");
    done(&a.eep(&["unload", "launcher"]));
    let grants = ["net.listen:127.0.0.1:0", "net.connect", "datagram:*", "deploy:2", "topology", "mesh"];
    assert_eq!(load_launcher(&a, json!({ "grant": grants })).launch(&order), format!("+{}", b.id()));
    let status = b.json(&["status", "child"]);
    let digest = Digest::of(&probe()).to_string();
    assert_eq!((&status["state"], &status["digest"]), (&json!("running"), &json!(digest)));
    assert!(
        status["url"].as_str().unwrap().starts_with("eep:"),
        "by its digest, from the node that fetched it: {status}"
    );
}

#[test]
fn what_is_launched_can_do_no_more_than_its_launcher() {
    let domain = Domain::new("isp-a");
    let a = domain.node("edge-a", &[]);
    keep_probe(&a);
    std::fs::write(a.dir.path().join("policy.yaml"), POLICY).unwrap();
    let mut peer = load_launcher(&a, json!({ "policy": "policy.yaml" }));
    for (order, why) in [
        (
            Order { grants: &["net.connect"], ..Order::default() },
            "-launcher has no right to net.connect that",
        ),
        (
            Order { grants: &["net.connect:0.0.0.0/0"], ..Order::default() },
            "-launcher has no right to net.connect:0",
        ),
        (Order { grants: &["deploy:1"], ..Order::default() }, "-what was launched cannot launch others"),
        (Order { grants: &["everything"], ..Order::default() }, "-\"everything\" is not a grant"),
        (
            Order { memory: Some(1 << 30), ..Order::default() },
            "-the limit of memory is higher than that of launcher",
        ),
        (Order { memory: Some(1), ..Order::default() }, "-limits: memory"),
        (Order { name: "No", ..Order::default() }, "-the service name \"No\""),
        (Order { config: "[]", ..Order::default() }, "-the configuration is no JSON object"),
        (
            Order { url: Some("file:///etc/passwd"), ..Order::default() },
            "-a proxylet names no files of the node",
        ),
        (Order { url: Some("/etc/passwd"), ..Order::default() }, "-a proxylet names no files of the node"),
        (
            Order { url: Some("http://127.0.0.1:1/x.wasm"), ..Order::default() },
            "-launcher has no right to fetch",
        ),
        (Order { place: (1, "edge-z"), ..Order::default() }, "-no node \"edge-z\" was found"),
        // Nothing is added to what was listed: the code wants more.
        (Order { grants: &[], ..Order::default() }, "-"),
    ] {
        let told = peer.launch(&order);
        assert!(told.starts_with(why), "{why}: {told}");
        assert_eq!(state(&a, "child"), None, "{why}");
    }
    assert_eq!(peer.launch(&Order::default()), format!("+{}", a.id()));
    assert!(runs(&a, "child"));
    assert_eq!(a.json(&["status", "child"])["policy"]["policy"], "test", "it is under the same policy");
    assert!(peer.launch(&Order::default()).starts_with("-"), "its name is taken");
    assert_eq!(peer.launch(&Order { name: "other", ..Order::default() }), format!("+{}", a.id()));
    let told = peer.launch(&Order { name: "third", ..Order::default() });
    assert!(told.starts_with("-launcher has launched 2 services, and may have 2"), "{told}");
    assert_eq!(peer.say(b'N', b""), "child 1\nother 1\n");
    assert_eq!(peer.say(b'S', b"other"), "+");

    // It is on disk whose it is.
    drop(peer);
    let a = Node::over(a.kill());
    let mut peer = Peer::of(&a, "launcher");
    assert_eq!(peer.say(b'N', b""), "child 1\n");
    // What the launcher may no longer do, what it has launched may not either.
    done(&a.eep(&[
        "modify",
        "launcher",
        "--grant",
        "net.listen:127.0.0.1:0",
        "--grant",
        "deploy",
        "--grant",
        "topology",
        "--grant",
        "mesh",
    ]));
    until("it is unloaded", || state(&a, "child").is_none().then_some(()));
    assert_eq!(state(&a, "keeper").as_deref(), Some("running"));
}

#[test]
fn services_speak_to_services_on_other_nodes_and_know_who_that_is() {
    let domain = Domain::new("isp-a");
    let a = domain.node("edge-a", &[]);
    let mesh = json!({ "seeds": [a.mesh().to_string()], "serve": ["launcher"] });
    let b = domain.node_with("edge-b", mesh);
    until("one map", || (a.map().1 == 1).then_some(()));
    let mut here = load_launcher(&a, json!({}));
    let mut there = load_launcher(&b, json!({}));
    until("it is served", || (here.say(b'O', b"edge-b") == "edge-a@isp-a").then_some(()));
    assert_eq!(here.say(b'O', b.id().as_bytes()), "edge-a@isp-a");
    // A node that serves nothing, and one that there is not.
    assert_eq!(there.say(b'O', b"edge-a"), "-");
    assert_eq!(there.say(b'O', b"edge-z"), "-");
    assert_eq!(there.say(b'W', b""), "", "this connection is of the same machine");

    assert_eq!(here.say(b'M', b"good day"), "+");
    assert_eq!(there.hear(), format!("launcher@{} good day", a.id()));
    assert_eq!(there.say(b'M', b"to myself"), "launcher to myself");
    assert_eq!(there.hear(), "+");
}
