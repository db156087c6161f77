//! Webs: services that are placed together or not at all, and that reach each other wherever they run.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use eep::proxylet::digest::Digest;
use serde_json::{Value, json};

use crate::guest::probe;
use crate::node::{Domain, Node, done, until};
use crate::placement::{runs, state, three};

/// What comes back for some words; none where the connection ends first.
fn echo(to: SocketAddr, words: &str) -> Option<String> {
    let mut tcp = TcpStream::connect(to).ok()?;
    tcp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    tcp.write_all(format!("E{words}").as_bytes()).ok()?;
    let mut back = vec![0; words.len()];
    tcp.read_exact(&mut back).ok()?;
    Some(String::from_utf8(back).unwrap())
}

fn service(name: &str) -> Value {
    let digest = Digest::of(&probe()).to_string();
    json!({ "name": name, "proxylet": {"url": "probe.wasm", "sha256": digest} })
}

fn load(node: &Node, web: &Value) -> std::process::Output {
    std::fs::write(node.dir.path().join("probe.wasm"), probe()).unwrap();
    std::fs::write(node.dir.path().join("web.yaml"), web.to_string()).unwrap();
    node.eep(&["load", "--manifest", "web.yaml"])
}

pub(crate) fn the_services_of_a_web_reach_each_other_wherever_they_run() {
    let (a, b, c) = three();
    let link = { TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap() };
    let web = json!({ "web": "pair", "services": [
        {"service": service("back"), "near": "10.1.0.0/16"},
        {"service": service("front"), "at": "edge-a", "links": [{"to": "back", "listen": link.to_string()}]},
    ]});
    let told = done(&load(&a, &web));
    assert!(told.contains("back runs on edge-") && told.contains("front runs on edge-a@isp-a"), "{told}");
    let (first, second) = if told.contains("back runs on edge-b") { (b, c) } else { (c, b) };
    assert!(state(&a, "front").is_some() && state(&first, "back").is_some());
    until("the link", || (echo(link, "in the web").as_deref() == Some("in the web")).then_some(()));
    let listed = done(&a.eep(&["list"]));
    assert!(listed.contains("WEB") && listed.contains("pair"), "{listed}");
    let again = load(&a, &web);
    assert_eq!(again.status.code(), Some(1), "its name is taken");

    // The link leads to wherever the other one runs now.
    drop(first);
    until("it runs elsewhere", || runs(&second, "back").then_some(()));
    until("the link leads there", || (echo(link, "moved").as_deref() == Some("moved")).then_some(()));

    done(&a.eep(&["unload", "pair"]));
    until("all of it is gone", || {
        (state(&a, "front").is_none() && state(&second, "back").is_none()).then_some(())
    });
    until("the link is closed", || TcpStream::connect(link).is_err().then_some(()));
    assert_eq!(a.json_of("/v1/placements")["placements"], json!([]));
}

pub(crate) fn copies_run_on_nodes_of_their_own_and_a_link_leads_to_one_that_runs() {
    let (a, b, c) = three();
    let link = { TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap() };
    let web = |copies: usize| {
        json!({ "web": "wide", "services": [
            {"service": service("back"), "near": "10.1.0.0/16", "copies": copies},
            {"service": service("front"), "at": "edge-a", "links": [{"to": "back", "listen": link.to_string()}]},
        ]})
    };
    for (copies, why) in [(3, "3 copies run on as many nodes, and 2 fit"), (1, "1 copies are not possible")] {
        let refused = load(&a, &web(copies));
        let words = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(1) && words.contains(why), "{words}");
        assert_eq!(a.json_of("/v1/placements")["placements"], json!([]));
    }
    let told = done(&load(&a, &web(2)));
    assert!(told.contains("back-1 runs on edge-") && told.contains("back-2 runs on edge-"), "{told}");
    let of = |name: &str| if runs(&b, name) { &b } else { &c };
    assert!(runs(of("back-1"), "back-1") && runs(of("back-2"), "back-2"));
    assert_ne!(of("back-1").id(), of("back-2").id(), "each has a node of its own");
    until("the link", || (echo(link, "to one of them").as_deref() == Some("to one of them")).then_some(()));

    // The web as a whole, and a part of it, as the nodes say that run them.
    let status = a.json(&["status", "wide"]);
    let parts: Vec<(&str, &str)> = status["services"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| (s["name"].as_str().unwrap(), s["service"]["state"].as_str().unwrap()))
        .collect();
    assert_eq!(parts, [("back-1", "running"), ("back-2", "running"), ("front", "running")]);
    assert_eq!((&status["web"], &status["services"][0]["copy_of"]), (&json!(true), &json!("back")));
    let shown = done(&a.eep(&["status", "wide"]));
    assert!(shown.starts_with("wide is a web: 3 of 3 running\nSERVICE "), "{shown}");
    assert_eq!(shown.matches(" edge-").count(), 3, "{shown}");
    let one = done(&a.eep(&["status", "back-2"]));
    assert!(one.starts_with("back-2 is placed by this node: 1 of 1 running\n"), "{one}");
    assert_eq!(b.eep(&["status", "wide"]).status.code(), Some(1), "its owner alone knows it");

    // All of it is stopped, and started again; what is changed is named.
    let states = |status: &Value| -> Vec<String> {
        let services = status["services"].as_array().unwrap().iter();
        services.map(|s| s["service"]["state"].as_str().unwrap().to_owned()).collect()
    };
    let stopped = a.json(&["stop", "wide"]);
    assert_eq!((states(&stopped), &stopped["web"]), (vec!["stopped".to_owned(); 3], &json!(true)));
    assert!(!runs(&b, "back-1") && !runs(&c, "back-1") && !runs(&a, "front"));
    let told = done(&a.eep(&["start", "wide"]));
    assert!(told.starts_with("wide is a web: 3 of 3 running\n"), "{told}");
    for args in [&["modify", "wide", "--on-trap", "stop"][..], &["logs", "wide"]] {
        let out = a.eep(args);
        let words = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.code() == Some(1) && words.contains("back-1, back-2, front"), "{args:?}: {words}");
    }
    until("the link, again", || (echo(link, "again").as_deref() == Some("again")).then_some(()));

    // Where one copy dies, the link leads to the other one, and the copy comes back where a node is left.
    let first = if runs(&b, "back-1") { (b, c) } else { (c, b) };
    let (dead, left) = first;
    drop(dead);
    until("the other copy", || (echo(link, "on").as_deref() == Some("on")).then_some(()));
    until("both run on what is left", || (runs(&left, "back-1") && runs(&left, "back-2")).then_some(()));
    let moved = a.json(&["status", "back-1"]);
    assert_eq!(moved["services"][0]["moves"], 1, "{moved}");
    done(&a.eep(&["unload", "wide"]));
    until("all of it is gone", || {
        (state(&a, "front").is_none() && a.json_of("/v1/placements")["placements"] == json!([])).then_some(())
    });
    until("there, too", || (left.json(&["list"]) == json!([])).then_some(()));
}

#[test]
fn a_web_is_placed_whole_or_not_at_all() {
    let domain = Domain::new("isp-a");
    let a = domain.node_with("edge-a", json!({ "placed": {"services": 1} }));
    let member = |name: &str, at: &str| json!({ "service": service(name), "at": at });
    // What can be known before is told before: nothing is placed for it.
    for (second, why) in [
        (member("two", "edge-z"), "no node \"edge-z\" was found"),
        (member("one", "edge-a"), "a second service is called `one`"),
        (json!({ "service": service("two") }), "it is not said where this service is to run"),
        (
            json!({ "service": service("two"), "at": "edge-a", "links": [{"to": "three", "listen": "127.0.0.1:1"}] }),
            "there is no other service `three` in this web",
        ),
        (
            json!({ "service": service("two"), "at": "edge-a", "links": [{"to": "one", "listen": "0.0.0.0:1"}] }),
            "is not a loopback address",
        ),
        (json!({ "service": {"name": "two", "proxylet": {"url": "probe.wasm"}}, "at": "edge-a" }), "two:"),
    ] {
        let refused = load(&a, &json!({ "web": "pair", "services": [member("one", "edge-a"), second] }));
        let words = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(1) && words.contains(why), "{why}: {words}");
        assert!(!words.contains("taken back"), "{words}");
        assert_eq!(a.json_of("/v1/placements")["placements"], json!([]), "{why}");
        assert_eq!(a.json(&["list"]), json!([]), "{why}");
    }
    // What only the node itself can tell, it tells when the other one runs already.
    let refused =
        load(&a, &json!({ "web": "pair", "services": [member("one", "edge-a"), member("two", "edge-a")] }));
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(words.contains("the web pair is not placed: two: 1 services are placed"), "{words}");
    assert!(words.contains("(one taken back)"), "{words}");
    assert_eq!(a.json_of("/v1/placements")["placements"], json!([]));
    assert_eq!(a.json(&["list"]), json!([]));
    done(&load(&a, &json!({ "web": "pair", "services": [member("one", "edge-a")] })));
    assert_eq!(state(&a, "one").as_deref(), Some("running"));
}
