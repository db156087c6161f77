//! Services that one node places on another: code by digest, one place at a time, elsewhere when a node dies.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::guest::{probe, teller};
use crate::node::{Domain, Node, done, eep, until};

/// The state of a service on a node; none where there is none of this name.
pub(crate) fn state(node: &Node, name: &str) -> Option<String> {
    let services = node.json(&["list"]);
    let service = services.as_array().unwrap().iter().find(|s| s["name"] == name)?;
    Some(service["state"].as_str().unwrap().to_owned())
}

pub(crate) fn runs(node: &Node, name: &str) -> bool {
    state(node, name).as_deref() == Some("running")
}

pub(crate) fn load(node: &Node, more: &[&str]) -> std::process::Output {
    std::fs::write(node.dir.path().join("probe.wasm"), probe()).unwrap();
    let digest = eep::proxylet::digest::Digest::of(&probe()).to_string();
    node.eep(&[&["load", "probe.wasm", "--sha256", &digest], more].concat())
}

/// The owner, and two nodes that serve the same users.
pub(crate) fn three() -> (Node, Node, Node) {
    three_with(8)
}

/// The same, with leases of so many seconds.
fn three_with(lease_s: u64) -> (Node, Node, Node) {
    let domain = Domain::new("isp-a");
    let a = domain.node_with("edge-a", json!({ "lease-s": lease_s }));
    let mesh = json!({ "seeds": [a.mesh().to_string()], "prefixes": ["10.0.0.0/8"] });
    let b = domain.node_with("edge-b", mesh.clone());
    let c = domain.node_with("edge-c", mesh);
    for node in [&a, &b, &c] {
        until("one map", || {
            (node.map() == (["edge-a", "edge-b", "edge-c"].map(str::to_owned).to_vec(), 3)).then_some(())
        });
    }
    (a, b, c)
}

#[test]
fn a_service_runs_where_it_is_placed_with_code_by_its_digest() {
    let (a, b, c) = three();
    let told = done(&load(&a, &["--name", "probe", "--at", "edge-b"]));
    assert!(told.starts_with("probe runs on edge-b@isp-a\n"), "{told}");
    assert!(runs(&b, "probe") && state(&a, "probe").is_none() && state(&c, "probe").is_none());
    let status = b.json(&["status", "probe"]);
    let address: SocketAddr = status["listening"][0]["address"].as_str().unwrap().parse().unwrap();
    TcpStream::connect(address).unwrap();
    assert!(status["url"].as_str().unwrap().starts_with("eep:"), "{status}");
    until("its record", || {
        let found = c.json(&["topology", "find", "service:probe"]);
        (found["nodes"][0]["name"] == "edge-b").then_some(())
    });
    let listed = done(&a.eep(&["list"]));
    assert!(listed.contains("PLACED") && listed.contains("edge-b@isp-a"), "{listed}");

    let again = load(&a, &["--name", "probe", "--at", "edge-c"]);
    assert_eq!(again.status.code(), Some(1), "its name is taken");
    let nobody = load(&a, &["--name", "other", "--at", "edge-z"]);
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("no node \"edge-z\" was found"));
    // What is refused over there is refused here, with its words, and leaves nothing behind.
    let refused = load(&a, &["--name", "other", "--at", "edge-c", "--set", "port=no"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert_eq!(a.json(&["list"]), json!([]));
    assert_eq!(state(&c, "other"), None);

    // Anybody may run what somebody holds.
    let digest = eep::proxylet::digest::Digest::of(&probe()).to_string();
    until("the code is found", || {
        let out = c.eep(&["load", &format!("eep:{digest}"), "--sha256", &digest, "--name", "copy"]);
        out.status.success().then_some(())
    });
    assert!(runs(&c, "copy"));

    done(&a.eep(&["unload", "probe"]));
    until("it is gone", || state(&b, "probe").is_none().then_some(()));
}

pub(crate) fn a_placed_service_is_stopped_started_read_and_modified_from_where_it_was_placed() {
    let (a, b, c) = three();
    done(&load(&a, &["--name", "probe", "--near", "10.1.0.0/16"]));
    let (first, second) = if runs(&b, "probe") { (b, c) } else { (c, b) };
    assert_eq!(a.json(&["stop", "probe"])["state"], "stopped");
    assert_eq!(state(&first, "probe").as_deref(), Some("stopped"));
    // Its lease is renewed again and again meanwhile, and does not start it.
    let renewed = || first.json(&["status", "probe"])["state"].as_str().map(str::to_owned);
    assert_eq!(a.json_of("/v1/placements")["placements"][0]["stopped"], true);
    assert_eq!(a.json(&["start", "probe"])["state"], "running");
    assert_eq!(renewed().as_deref(), Some("running"));

    until("the same log", || {
        let [here, there] = [&a, &first].map(|node| done(&node.eep(&["logs", "probe", "--json"])));
        (here == there && here.lines().count() > 0).then_some(())
    });
    let refused = a.eep(&["modify", "probe", "--set", "port=no"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let more = a.json(&["modify", "probe", "--limit", "memory=48MiB", "--health-window-ms", "50"]);
    assert_eq!(more["state"], "running", "{more}");
    assert_eq!(first.json(&["status", "probe"])["limits"]["memory"], more["limits"]["memory"]);

    let versions = [1, 2].map(|version| {
        let (file, code) = (format!("{version}.wasm"), teller(version, ""));
        std::fs::write(a.dir.path().join(&file), &code).unwrap();
        (file, eep::proxylet::digest::Digest::of(&code).to_string())
    });
    let [(file, sha256), (other, other_sha256)] = &versions;
    done(&a.eep(&["load", file, "--sha256", sha256, "--name", "teller", "--near", "10.1.0.0/16"]));
    let change = ["modify", "teller", "--url", other, "--sha256", other_sha256, "--health-window-ms", "50"];
    let runs_it = |service: &Value| service["url"].as_str().unwrap().contains(other_sha256);
    assert!(runs_it(&a.json(&change)));
    let status = a.json(&["status", "teller"]);
    assert!(runs_it(&status["services"][0]["service"]) && status["services"][0]["sha256"] == **other_sha256);
    done(&a.eep(&["unload", "teller"]));

    // Who has not placed it cannot: it knows no such service.
    for verb in ["stop", "start", "logs", "modify"] {
        let more: &[&str] = if verb == "modify" { &["--limit", "memory=32MiB"] } else { &[] };
        let out = second.eep(&[&[verb, "probe"], more].concat());
        assert_eq!(out.status.code(), Some(1), "{verb}: {out:?}");
    }
    assert!(runs(&first, "probe"));

    // Stopped, it is not started elsewhere when its node dies; started, it is, as it was modified.
    done(&a.eep(&["stop", "probe"]));
    drop(first.kill());
    let gone = a.eep(&["modify", "probe", "--limit", "memory=32MiB"]);
    assert_eq!(gone.status.code(), Some(1), "{gone:?}");
    until("it is missed", || {
        let placed = a.json_of("/v1/placements");
        (placed["placements"][0]["alive"] == false).then_some(())
    });
    assert_eq!(state(&second, "probe"), None);
    until("it is started elsewhere", || a.eep(&["start", "probe"]).status.success().then_some(()));
    assert!(runs(&second, "probe"));
    assert_eq!(second.json(&["status", "probe"])["limits"]["memory"], more["limits"]["memory"]);
}

/// Has the probe on a node write something to its log.
fn write_to_log(node: &Node, text: &str) {
    let status = node.json(&["status", "probe"]);
    let address: SocketAddr = status["listening"][0]["address"].as_str().unwrap().parse().unwrap();
    let mut tcp = TcpStream::connect(address).unwrap();
    tcp.write_all(format!("O{text}").as_bytes()).unwrap();
    tcp.read_exact(&mut [0]).unwrap();
}

pub(crate) fn a_log_is_followed_from_the_owner_to_wherever_the_service_runs() {
    let (a, b, c) = three();
    done(&load(&a, &["--name", "probe", "--near", "10.1.0.0/16"]));
    let (first, second) = if runs(&b, "probe") { (b, c) } else { (c, b) };
    write_to_log(&first, "before");
    let mut follow = eep();
    follow.args(["logs", "probe", "--follow", "--json", "--data"]).arg(a.data()).stdout(Stdio::piped());
    let mut follow = follow.spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    let mut heard: Vec<String> = Vec::new();
    let mut hear = |wanted: &str| {
        let said = |line: String| {
            let line: Value = serde_json::from_str(&line).unwrap();
            line["text"].as_str().unwrap().to_owned()
        };
        while heard.last().is_none_or(|last| last != wanted) {
            heard.push(said(lines.next().unwrap().unwrap()));
        }
    };
    hear("before");
    write_to_log(&first, "meanwhile");
    hear("meanwhile");
    drop(first.kill());
    until("it runs elsewhere", || runs(&second, "probe").then_some(()));
    write_to_log(&second, "elsewhere");
    hear("elsewhere");
    for wanted in ["before", "meanwhile", "elsewhere"] {
        assert_eq!(heard.iter().filter(|line| *line == wanted).count(), 1, "{wanted}: {heard:?}");
    }
    done(&a.eep(&["unload", "probe"]));
    assert!(follow.wait().unwrap().success(), "it ends with the service");
}

pub(crate) fn a_stop_that_is_not_heard_is_told_again() {
    let (a, b, c) = three();
    done(&load(&a, &["--name", "probe", "--near", "10.1.0.0/16"]));
    let (first, second) = if runs(&b, "probe") { (b, c) } else { (c, b) };
    first.suspend();
    until("it is not heard of", || (a.map().1 == 1).then_some(()));
    let out = a.eep(&["stop", "probe"]);
    let words = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.code() == Some(1) && words.contains("probe is to be stopped"), "{words}");
    let placed = || a.json_of("/v1/placements")["placements"][0].clone();
    assert_eq!(placed()["stopped"], true);
    until("its lease is over", || (placed()["alive"] == false).then_some(()));
    first.signal(Signal::CONT);
    until("it is heard of again", || (placed()["alive"] == true).then_some(()));
    until("it is stopped", || (state(&first, "probe").as_deref() == Some("stopped")).then_some(()));
    assert_eq!(state(&second, "probe"), None);
    until("it is started", || a.eep(&["start", "probe"]).status.success().then_some(()));
    assert!(runs(&first, "probe"));
}

#[test]
fn another_domain_places_services_only_where_it_may() {
    let (isp_a, isp_b) = (Domain::new("isp-a"), Domain::new("isp-b"));
    let closed = isp_a.node_with("closed", json!({ "trust": [isp_b.ca()] }));
    let seeds = [closed.mesh().to_string()];
    let open =
        isp_a.node_with("open", json!({ "seeds": seeds, "trust": [{"ca": isp_b.ca(), "may": ["place"]}] }));
    let guest =
        isp_b.node_with("guest", json!({ "seeds": seeds, "trust": [{"ca": isp_a.ca(), "may": ["fetch"]}] }));
    until("one map", || (guest.map().1 == 3).then_some(()));
    let refused = load(&guest, &["--name", "probe", "--at", "closed@isp-a"]);
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(words.contains("the domain isp-b may not ask this node to place"), "{words}");
    done(&load(&guest, &["--name", "probe", "--at", "open@isp-a"]));
    assert!(runs(&open, "probe") && state(&closed, "probe").is_none());
}

pub(crate) fn a_service_whose_node_dies_runs_elsewhere_and_never_twice() {
    let (a, b, c) = three();
    done(&load(&a, &["--name", "probe", "--near", "10.1.0.0/16"]));
    let (first, second) = if runs(&b, "probe") { (b, c) } else { (c, b) };
    assert!(runs(&first, "probe") && state(&second, "probe").is_none());
    let left = first.kill();
    until("it runs elsewhere", || runs(&second, "probe").then_some(()));
    // The node comes back with the service on its disk: it finds that another one runs it now, and lets go.
    let back = Node::over(left);
    until("it lets go", || {
        let state = state(&back, "probe");
        assert_ne!(state.as_deref(), Some("running"), "the service runs twice");
        state.is_none().then_some(())
    });
    assert!(runs(&second, "probe"));
    let placed: Value = a.json_of("/v1/placements");
    assert_eq!(placed["placements"][0]["moves"], 1, "{placed}");

    // Without its owner nobody could say that it does not run elsewhere: it stops, and goes on when the owner is back.
    let left = a.kill();
    until("it stops", || (!runs(&second, "probe")).then_some(()));
    let a = Node::over(left);
    until("it goes on", || {
        let running = usize::from(runs(&second, "probe")) + usize::from(runs(&back, "probe"));
        assert!(running <= 1, "the service runs twice");
        (running == 1).then_some(())
    });
    drop(a);
}

pub(crate) fn a_node_that_slept_through_its_lease_says_nothing_more() {
    let (a, b, c) = three_with(8);
    done(&load(&a, &["--name", "probe", "--near", "10.1.0.0/16"]));
    let (first, second) = if runs(&b, "probe") { (b, c) } else { (c, b) };
    let status = first.json(&["status", "probe"]);
    let address: SocketAddr = status["listening"][0]["address"].as_str().unwrap().parse().unwrap();
    let mut peer = TcpStream::connect(address).unwrap();
    let mut heard = [0; 5];
    peer.write_all(b"Eawake").unwrap();
    peer.read_exact(&mut heard).unwrap();
    first.suspend();
    // What it finds when it wakes up.
    peer.write_all(b"Easleep").unwrap();
    until("it runs elsewhere", || runs(&second, "probe").then_some(()));
    first.signal(Signal::CONT);
    assert!(!matches!(peer.read(&mut heard), Ok(n) if n > 0), "it has answered while another node ran it");
    until("it lets go", || state(&first, "probe").is_none().then_some(()));
    assert!(runs(&second, "probe"));
}

#[test]
fn a_policy_goes_with_the_service_that_it_is_for() {
    let (a, b, _c) = three_with(15);
    let list = a.dir.path().join("far.cidr");
    std::fs::write(&list, "192.0.2.0/24\n").unwrap();
    let policy = "policy: eep/v1\nname: goes-along\nsets:\n  far: {cidr: {file: far.cidr}}\naccess:\n  default: allow\n  \
                  rules:\n    - {id: far, match: {peer: {in: far}}, then: {deny: {reason: far}}}\n";
    std::fs::write(a.dir.path().join("policy.yaml"), policy).unwrap();
    done(&load(&a, &["--name", "probe", "--at", "edge-b", "--policy", "policy.yaml"]));
    let status = b.json(&["status", "probe"]);
    assert_eq!(status["policy"]["policy"], "goes-along");
    assert!(status["policy"]["file"].as_str().unwrap().ends_with("policies/probe/policy.yaml"), "{status}");
    done(&a.eep(&["unload", "probe"]));
    until("it is gone", || state(&b, "probe").is_none().then_some(()));
    assert!(!b.data().join("policies/probe").exists());
}
