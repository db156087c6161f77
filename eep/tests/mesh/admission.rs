//! What nodes of other domains may ask for, and what they may say of themselves.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use eep::mesh::wire::{OPENING_BYTES_MAX, Opening, Purpose, Refusal, Reply, read, write};
use eep::proxylet::digest::Digest;
use serde_json::{Value, json};

use crate::fabric::Fabric;
use crate::guest::probe;
use crate::node::{Domain, Node, done, own_address, until};
use crate::placement::{load, runs};
use crate::port::Port;
use crate::raw::Raw;
use crate::session::pair;
use crate::talk::{Talk, serve};

const SOME: &str = "\
policy: eep/v1
name: neighbours
sets: {isp-b: {group: [isp-b]}}
access:
  default: {deny: {reason: not agreed}}
  rules:
    - id: isp-b-reaches-probe
      match: {message: [connect], direction: inbound, peer: {in: isp-b}}
      when: content.text == 'probe'
      then: allow
";
const MORE: &str = "\
policy: eep/v1
name: friends
access:
  default: {deny: {reason: not agreed}}
  rules:
    - id: code-of-isp-b
      match: {message: [download]}
      when: peer.group == 'isp-b' && peer.user_agent == 'peer@isp-b'
      then: allow
";

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// Opens a stream to a service; the answer.
async fn opens(raw: &Raw, service: &str) -> Reply {
    let (mut send, mut recv) = raw.connection.open_bi().await.unwrap();
    write(&mut send, &Opening::to(Purpose::Service, None, Some(service.to_owned()))).await.unwrap();
    read(&mut recv, OPENING_BYTES_MAX).await.unwrap()
}

/// A question that has to be refused; the words.
async fn refused(raw: &Raw, question: &str, body: &[u8]) -> String {
    let (done, words) = raw.ask(question, body).await;
    let words = String::from_utf8(words).unwrap();
    assert!(!done, "{question}: {words}");
    words
}

#[test]
fn a_policy_decides_what_another_domain_may_ask_for_and_says_why() {
    let (own, other) = (Domain::new("isp-a"), Domain::new("isp-b"));
    let file = |name: &str, text: &str| {
        let path = own.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let policy = file("mesh.yaml", SOME);
    let mesh = json!({ "trust": [other.ca()], "policy": policy, "serve": ["*"] });
    let node = own.node_with("edge", mesh);
    std::fs::write(node.dir.path().join("probe.wasm"), probe()).unwrap();
    let digest = Digest::of(&probe());
    done(&node.eep(&["load", "probe.wasm", "--sha256", &digest.to_string(), "--name", "probe"]));

    let runtime = runtime();
    let raw = runtime.block_on(Raw::honest(node.mesh(), &pair(&other, "peer")));
    until("the service takes streams", || (runtime.block_on(opens(&raw, "probe")).code == 0).then_some(()));
    let order =
        json!({ "name": "placed", "service": {"proxylet": {"url": "eep:00"}}, "epoch": 1, "lease_ms": 9000 });
    let message = json!({ "from": "x", "to": "elsewhere", "bytes": [] });
    let stop = json!({ "name": "probe", "epoch": 1, "what": "stop" });
    let [order, message, stop] = [order, message, stop].map(|question| question.to_string());
    runtime.block_on(async {
        let no = opens(&raw, "other").await;
        assert_eq!(no.code, Refusal::NotAllowed.number());
        let why = no.why.unwrap();
        assert!(why.contains("isp-b may not ask this node to stream: `default` says not agreed"), "{why}");
        for (question, body, word) in [
            ("place", order.as_bytes(), "place"),
            ("operate", stop.as_bytes(), "place"),
            ("message", message.as_bytes(), "stream"),
            ("code", digest.bytes(), "fetch"),
        ] {
            let words = refused(&raw, question, body).await;
            assert!(words.contains(&format!("may not ask this node to {word}: `default`")), "{words}");
        }
        // The own domain is not asked about.
        let friend = Raw::honest(node.mesh(), &pair(&own, "friend")).await;
        assert!(friend.ask("code", digest.bytes()).await.0);
        // What it has not placed here it does not stop either.
        assert!(
            refused(&friend, "operate", stop.as_bytes()).await.contains("there is no service called probe")
        );
    });

    // Counted, on record, explained.
    let denied = "eep_policy_decisions_total{service=\"@mesh\",chain=\"access\",rule=\"default\",verdict=\"deny\",shadow=\"false\"}";
    assert_eq!(node.figure(denied), 5.0);
    assert_eq!(node.refused("stream-not-allowed"), 1.0);
    let records = done(&node.eep(&["policy", "tap", "@mesh", "--json"]));
    let records: Vec<Value> = records.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |message: &str| {
        let fits = |r: &&Value| r["event"]["message"] == message && r["rule"] == "default";
        records.iter().find(fits).unwrap_or_else(|| panic!("no {message} in {records:?}")).clone()
    };
    assert_eq!(of("deploy")["event"]["peer"], json!({"group": "isp-b", "user-agent": "peer@isp-b"}));
    assert_eq!(of("download")["event"]["content"]["text"], digest.to_string());
    let id = of("connect")["id"].as_str().unwrap().to_owned();
    let told = done(&node.eep(&["policy", "explain", "@mesh", "--live", "--id", &id]));
    assert!(told.contains("isp-b-reaches-probe") && told.contains("not agreed"), "{told}");

    // Another one in force; then one that is none; then the first one again; then none at all.
    done(&node.eep(&["policy", "apply", "@mesh", &file("more.yaml", MORE)]));
    runtime.block_on(async {
        assert!(raw.ask("code", digest.bytes()).await.0);
        assert_eq!(opens(&raw, "probe").await.code, Refusal::NotAllowed.number());
    });
    let broken =
        node.eep(&["policy", "apply", "@mesh", &file("broken.yaml", &MORE.replace("allow", "alow"))]);
    assert_eq!(broken.status.code(), Some(1), "{broken:?}");
    assert!(runtime.block_on(raw.ask("code", digest.bytes())).0, "what was in force still is");
    done(&node.eep(&["policy", "rollback", "@mesh"]));
    runtime.block_on(refused(&raw, "code", digest.bytes()));
    done(&node.eep(&["policy", "rollback", "@mesh", "--to", "2"]));

    // What is in force stays so over a crash; without a policy, nobody is allowed anything.
    let node = Node::over(node.kill());
    let shown = node.json(&["policy", "history", "@mesh"]);
    assert_eq!((&shown["generation"], &shown["policy"]), (&json!(2), &json!("friends")), "{shown}");
    done(&node.eep(&["policy", "rollback", "@mesh", "--to", "0"]));
    let raw = runtime.block_on(Raw::honest(node.mesh(), &pair(&other, "peer")));
    let words = runtime.block_on(refused(&raw, "code", digest.bytes()));
    assert!(words.contains("its mesh has no policy"), "{words}");
}

#[test]
fn streams_that_a_new_policy_forbids_end() {
    let (own, other) = (Domain::new("isp-a"), Domain::new("isp-b"));
    let file = |name: &str, text: &str| {
        let path = own.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (some, none) = (file("mesh.yaml", SOME), file("more.yaml", MORE));
    let node = own.node_with("edge", json!({ "trust": [other.ca()], "policy": some, "serve": ["probe"] }));
    serve(&node);
    let links = [Port::reserve(), Port::reserve()];
    let to = |link: &Port| json!([{"listen": link.address().to_string(), "node": "edge@isp-a", "service": "probe"}]);
    let seeds = json!([node.mesh().to_string()]);
    let guest =
        other.node_with("guest", json!({ "seeds": seeds, "trust": [own.ca()], "links": to(&links[0]) }));
    let friend = own.node_with("friend", json!({ "seeds": seeds, "links": to(&links[1]) }));
    let [talk, own_talk] = [(); 2].map(|()| Arc::<Talk>::default());
    let talking = [talk.with(links[0].address(), || ()), own_talk.with(links[1].address(), || ())];
    talk.goes_on("that is allowed");
    own_talk.goes_on("of the own domain");
    // One that allows the same changes nothing.
    done(&node.eep(&["policy", "apply", "@mesh", &file("same.yaml", &SOME.replace("not agreed", "no"))]));
    talk.goes_on("that is still allowed");
    // A node of the version before opens one that is not resumed.
    let runtime = runtime();
    let raw = runtime.block_on(Raw::honest(node.mesh(), &pair(&other, "peer")));
    let (_plain, mut ended) = runtime.block_on(async {
        let (mut send, mut recv) = raw.connection.open_bi().await.unwrap();
        write(&mut send, &Opening::to(Purpose::Service, None, Some("probe".to_owned()))).await.unwrap();
        assert_eq!(read::<Reply>(&mut recv, OPENING_BYTES_MAX).await.unwrap().code, 0);
        send.write_all(b"Ehello").await.unwrap();
        let mut back = [0; 5];
        recv.read_exact(&mut back).await.unwrap();
        (send, recv)
    });

    done(&node.eep(&["policy", "apply", "@mesh", &none]));
    until("the end of the stream", || (talk.failures.load(Relaxed) == 1).then_some(()));
    assert!(!matches!(runtime.block_on(ended.read(&mut [0])), Ok(Some(n)) if n > 0));
    until("both are counted", || (node.figure("eep_mesh_streams_forbidden_total") == 2.0).then_some(()));
    own_talk.goes_on("of the own domain, which nobody is asked about");
    // It is allowed again, and nothing of it is left.
    done(&node.eep(&["policy", "rollback", "@mesh"]));
    talk.goes_on("that is allowed again");
    for talk in [&talk, &own_talk] {
        talk.ending.store(true, Relaxed);
    }
    talking.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(own_talk.failures.load(Relaxed), 0);
    assert_eq!(guest.figure("eep_mesh_streams_broken_total"), 1.0);
    assert_eq!(friend.figure("eep_mesh_streams_broken_total"), 0.0);
}

#[test]
fn streams_that_are_passed_on_end_when_a_new_policy_forbids_them() {
    let (own, other, fabric) = (Domain::new("isp-a"), Domain::new("isp-b"), Fabric::new(3));
    let [public, left, right] = [(); 3].map(|()| own_address());
    let front = fabric.front(public);
    let file = |name: &str, text: &str| {
        let path = own.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let passes = SOME.replace("message: [connect], direction: inbound,", "message: [relay],");
    let passes = passes.replace("      when: content.text == 'probe'\n", "");
    let (passes, none) = (file("passes.yaml", &passes), file("more.yaml", MORE));
    let mesh = json!({ "advertise": front.to_string(), "trust": [other.ca()], "policy": passes });
    let middle = own.node_in("middle", mesh, &public.to_string(), None);
    // Two nodes that no other way leads between.
    let (seeds, trust, link) = (json!([front.to_string()]), json!([own.ca()]), Port::reserve());
    let links = json!([{"listen": link.address().to_string(), "node": "right", "service": "probe"}]);
    let mesh = [
        json!({ "seeds": seeds, "trust": trust, "links": links }),
        json!({ "seeds": seeds, "trust": trust, "serve": ["probe"] }),
    ];
    let _left = other.node_in("left", mesh[0].clone(), &left.to_string(), None);
    let right = other.node_in("right", mesh[1].clone(), &right.to_string(), None);
    serve(&right);
    let talk = Arc::<Talk>::default();
    let talking = talk.with(link.address(), || ());
    talk.goes_on("that is passed on");
    assert!(middle.figure("eep_mesh_streams_relayed_total") >= 1.0);
    assert_eq!(middle.figure("eep_mesh_streams_forbidden_total"), 0.0);

    done(&middle.eep(&["policy", "apply", "@mesh", &none]));
    until("the end of the stream", || {
        (middle.figure("eep_mesh_streams_forbidden_total") >= 1.0).then_some(())
    });
    until("it is refused when it is taken up again", || {
        (middle.refused("stream-not-allowed") >= 1.0).then_some(())
    });
    let (answers, relayed) = (talk.answers.load(Relaxed), middle.figure("eep_mesh_streams_relayed_total"));
    until("it is tried again", || (middle.refused("stream-not-allowed") >= 3.0).then_some(()));
    assert_eq!(middle.figure("eep_mesh_streams_relayed_total"), relayed, "nothing more is passed on");
    // One may have been on its way from the node to whoever asked.
    assert!(talk.answers.load(Relaxed) <= answers + 1);
    done(&middle.eep(&["policy", "rollback", "@mesh"]));
    talk.goes_on("that is allowed again");
    talk.ending.store(true, Relaxed);
    talking.join().unwrap();
}

#[test]
fn what_the_node_file_trusts_a_domain_with_is_a_policy_too() {
    let (own, other) = (Domain::new("isp-a"), Domain::new("isp-b"));
    let node = own.node_with("edge", json!({ "trust": [{"ca": other.ca(), "may": ["fetch"]}] }));
    let shown = node.json(&["policy", "history", "@mesh"]);
    assert_eq!(shown["policy"], "mesh-trust", "{shown}");
    let told = done(&node.eep(&[
        "policy",
        "explain",
        "@mesh",
        "--live",
        "{message: download, peer: {group: isp-b}}",
    ]));
    assert!(told.contains("trust-1"), "{told}");
    // It follows the node file, and nothing else does not.
    let left = node.kill();
    let path = left.path().join("eep.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("[\"fetch\"]"), "{text}");
    std::fs::write(&path, text.replace("[\"fetch\"]", "[]")).unwrap();
    let node = Node::over(left);
    assert_eq!(node.json(&["policy", "history", "@mesh"])["generation"], 2);
    let node = Node::over(node.kill());
    assert_eq!(node.json(&["policy", "history", "@mesh"])["generation"], 2, "nothing has changed");
    // One or the other says it.
    let left = node.kill();
    let both = text.replace("\"mesh\":{", "\"mesh\":{\"policy\":\"mesh.yaml\",");
    std::fs::write(left.path().join("eep.yaml"), both).unwrap();
    let out = crate::node::eep().args(["check", "eep.yaml"]).current_dir(left.path()).output().unwrap();
    let words = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(words.contains("both `policy` and `may` say what this domain may ask for"), "{words}");
}

#[test]
fn a_domain_serves_the_prefixes_that_it_is_trusted_with_and_no_others() {
    let (own, other) = (Domain::new("isp-a"), Domain::new("isp-b"));
    let trust = json!([{"ca": other.ca(), "prefixes": ["10.2.0.0/16"]}]);
    let edge = own.node_with("edge", json!({ "trust": trust, "prefixes": ["10.0.0.0/8"] }));
    let seeds = json!([edge.mesh().to_string()]);
    let claims = json!(["10.2.3.0/24", "10.1.0.0/16", "10.0.0.0/7"]);
    let guest = other.node_with("guest", json!({ "seeds": seeds, "trust": [own.ca()], "prefixes": claims }));
    until("one map", || (edge.map().1 == 1 && guest.map().1 == 1).then_some(()));
    let nearest = |node: &Node, cidr: &str| {
        let found = node.answer(&["topology", "nearest", cidr])?;
        Some(found["nodes"][0]["name"].as_str()?.to_owned())
    };
    until("what it may serve", || (nearest(&edge, "10.2.3.4")? == "guest").then_some(()));
    assert_eq!(nearest(&edge, "10.1.2.3").as_deref(), Some("edge"), "its word alone is nothing");
    assert!(edge.refused("prefix-claim") >= 2.0);
    let told = until("its own words", || edge.answer(&["topology", "node", "guest@isp-b"]));
    assert_eq!(told["facts"]["prefixes"], json!(["10.2.3.0/24"]));
    // Nobody has said to the other one what this domain serves.
    assert_eq!(nearest(&guest, "10.200.0.1").as_deref(), Some("guest"));
}

#[test]
fn a_node_is_in_no_region_by_its_word_alone() {
    let (own, other) = (Domain::new("isp-a"), Domain::new("isp-b"));
    let edge = own.node_with("edge", json!({ "trust": [{"ca": other.ca(), "may": ["fetch"]}] }));
    let runtime = runtime();
    let raw = runtime.block_on(Raw::honest(edge.mesh(), &pair(&other, "liar")));
    // The region is called after its lowest member, which is the only one.
    let facts = json!({ "name": "edge-2", "domain": "isp-a", "locator": [edge.id()] }).to_string();
    let connection = raw.connection.clone();
    runtime.spawn(async move { Raw::answer_all(&connection, facts.as_bytes()).await });
    until("its word is asked for and not taken", || {
        let out = load(&edge, &["--name", "probe", "--region", &edge.id()]);
        if out.status.success() {
            assert!(String::from_utf8_lossy(&out.stdout).contains("edge@isp-a"), "{out:?}");
            done(&edge.eep(&["unload", "probe"]));
        }
        (edge.refused("region-claim") >= 1.0).then_some(())
    });
    let told = edge.answer(&["topology", "node", &raw.id.to_string()]).unwrap();
    let node = (&told["facts"]["name"], &told["facts"]["domain"]);
    assert_eq!(node, (&json!("liar"), &json!("isp-b")), "who it is, its certificate says");
    assert!(!runs(&edge, "probe"));
}
