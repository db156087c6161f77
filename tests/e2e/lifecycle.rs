//! A service's life as its operator sees it: load, stop, start, modify, unload, and what survives.

use eep_tests::capture::tshark::Capture;
use eep_tests::http::{Served, Server};
use eep_tests::loopback::Loopback;
use eep_tests::namespace::Machines;
use eep_tests::node::{GNUTELLA_PORT, MESH_PORT, Node, other_version, proxylet, sha256};
use eep_tests::peer::{Config, Link, Peer, SharedFile};
use eep_tests::probe;
use eep_tests::wait::{until, until_true};
use eep_tests::wire::{self, HitFile, Message, Query, kind};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

fn leaf(net: &Loopback) -> Peer {
    Peer::start(Config::leaf(net.ip())).expect("a port")
}

/// Joins as soon as the ultrapeer listens. Both sides know of the relation then: the last word of a handshake is the
/// peer's, and only an answer to what follows says that it was heard.
fn join(peer: &Peer, address: SocketAddr) -> Link {
    let link = until("a relation", || peer.dial(address).ok());
    link.ping(peer.fresh_guid());
    link
}

#[test]
fn a_proxylet_is_fetched_over_http_verified_and_used() {
    let net = Loopback::claim();
    let code = std::fs::read(proxylet("gnutella-peer")).expect("the guest");
    let server = Server::start(net.at(0)).expect("a port");
    let url = server.put("/gnutella-peer.wasm", Served::Whole(code.clone()));
    let node = Node::start(&net);
    let listen = net.at(GNUTELLA_PORT);

    let said = node
        .eep(&[
            "load",
            &url,
            "--name",
            "edge",
            "--sha256",
            &sha256(&code),
            "--set",
            &format!("listen={listen}"),
            "--set",
            "allow-private-addresses=true",
        ])
        .done();
    assert!(said.contains(&listen.to_string()), "{said}");
    assert_eq!(server.requests(), 1);
    let services = node.json(&["list"]);
    assert_eq!(services[0]["name"], "edge");
    assert_eq!(services[0]["state"], "running");
    assert_eq!(services[0]["digest"], json!(sha256(&code)));

    let peer = leaf(&net);
    let link = join(&peer, listen);
    link.ping(peer.fresh_guid());
    until_true("the leaf in the figures", || node.metrics().sum("avp_links", &[("role", "leaf")]) == 1.0);
}

#[test]
fn stop_start_and_unload_do_what_they_say() {
    let net = Loopback::claim();
    let node = Node::start(&net);
    let address = node.load_peer("edge", net.ip(), &json!({}));
    let peer = leaf(&net);
    let link = join(&peer, address.into());

    let _ = node.eep(&["stop", "edge"]).done();
    let bye = link.expect("Bye", |m| m.kind == kind::BYE);
    assert_eq!(wire::bye(&bye.payload).map(|(code, _)| code), Some(200));
    assert!(peer.dial(address.into()).is_err(), "nobody listens");
    assert_eq!(node.json(&["status", "edge"])["state"], "stopped");

    let _ = node.eep(&["start", "edge"]).done();
    join(&peer, address.into()).ping(peer.fresh_guid());
    let logs = node.eep(&["logs", "edge"]).done();
    assert!(!logs.trim().is_empty(), "a service that ran has said something");

    let _ = node.eep(&["unload", "edge"]).done();
    assert_eq!(node.json(&["list"]), json!([]));
    assert!(peer.dial(address.into()).is_err(), "nobody listens");
}

#[test]
fn a_new_configuration_takes_effect_without_dropping_a_leaf() {
    let net = Loopback::claim();
    let node = Node::start(&net);
    let address = node.load_peer("edge", net.ip(), &json!({}));
    let (first, second) = (leaf(&net), leaf(&net));
    let link = join(&first, address.into());

    let _ = node.eep(&["modify", "edge", "--set", "leaves=1"]).done();
    until_true("a refusal", || second.dial(address.into()).is_err());
    link.ping(first.fresh_guid());
    assert_eq!(node.json(&["status", "edge"])["config"]["leaves"], 1);
}

/// Gives a service other code, and returns what the node says of it.
fn swap(node: &Node, mark: &str) -> Value {
    let code = std::fs::read(proxylet("gnutella-peer")).expect("the guest");
    let other = other_version(&code, mark);
    let file = node.path(&format!("{mark}.wasm"));
    std::fs::write(&file, &other).expect("a file");
    let file = file.to_str().expect("temporary folders have UTF-8 names");
    let _ = node.eep(&["modify", "edge", "--url", file, "--health-window-ms", "100"]).done();
    let status = node.json(&["status", "edge"]);
    assert_eq!(status["digest"], json!(sha256(&other)));
    status["last_swap"].clone()
}

#[test]
fn other_code_goes_on_with_every_connection_and_every_message_exactly_where_it_stood() {
    let net = Loopback::claim();
    let node = Node::start(&net);
    let address = node.load_peer("edge", net.ip(), &json!({}));
    let compressing = Config { compress: true, ..Config::leaf(net.ip()) };
    let file = SharedFile::filled("walrus concerto.mp3", 2_000);
    let sharing = Peer::start(compressing.sharing(vec![file.clone()])).expect("a port");
    let neighbour = Peer::start(Config::ultrapeer(net.ip())).expect("a port");
    let (searching, slow) = (leaf(&net), leaf(&net));
    let [there, beside, here, halting] =
        [&sharing, &neighbour, &searching, &slow].map(|peer| join(peer, address.into()));
    assert_eq!(there.compressed(), (true, true));
    let mut guids = Vec::new();
    until("a hit, once the table is known", || {
        guids.push(searching.search(&here, &Query::words("walrus")).expect("sent"));
        here.find(Duration::from_millis(500), |m| m.kind == kind::HIT && guids.contains(&m.guid)).ok()
    });
    let joined = |node: &Node| node.metrics().sum("avp_joined_total", &[]);
    until_true("the figures", || joined(&node) == 4.0);

    // A search, a message and a handshake that have not come to their end.
    let asked = searching.search(&here, &Query::words("platypus")).expect("sent");
    beside.expect("search", |m| m.kind == kind::QUERY && m.guid == asked);
    let half = Message::new(slow.fresh_guid(), kind::QUERY, 4, Query::words("concerto walrus").encode());
    let bytes = half.encode();
    halting.ping(slow.fresh_guid());
    halting.send_bytes(&bytes[..30]).expect("sent");
    let swapped = |mark: &str, connections: u32| {
        let told = swap(&node, mark);
        assert_eq!(told["outcome"], "held", "{told}");
        assert_eq!(
            (&told["connections"], &told["connections_closed"]),
            (&json!(connections), &json!(0)),
            "{told}"
        );
        for (peer, link) in [(&sharing, &there), (&neighbour, &beside), (&searching, &here)] {
            link.ping(peer.fresh_guid());
        }
    };
    swapped("one", 4);
    swapped("two", 4);
    // A handshake has 20 s: on a busy machine that is enough for one swap.
    let mut shaking = TcpStream::connect(address).expect("a connection");
    shaking.write_all(b"GNUTELLA CONNECT/0.6\r\nUser-Agent: Slow/1.0\r\nX-Ultra").expect("sent");
    until_true("all of that has arrived", || node.metrics().sum("avp_openings", &[]) == 1.0);
    swapped("three", 5);

    let hit = wire::Hit {
        address: neighbour.address(),
        kbit_per_s: 1_000,
        files: vec![HitFile { index: 1, size: 9, name: "platypus.ogg".to_owned(), urn: None }],
        vendor: *b"TEST",
        push: false,
        servent: neighbour.guid(),
    };
    beside.send(&Message::new(asked, kind::HIT, 3, hit.encode())).expect("sent");
    assert_eq!(here.expect_hit(asked), hit);
    halting.send_bytes(&bytes[30..]).expect("sent");
    assert_eq!(halting.expect_hit(half.guid).files[0].name, file.name);
    let copies = there.received(kind::QUERY).iter().filter(|m| m.guid == half.guid).count();
    assert_eq!(copies, 1);
    shaking.write_all(b"peer: False\r\n\r\n").expect("sent");
    let mut answer = [0; 16];
    shaking.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"GNUTELLA/0.6 200");
    for link in [&there, &beside, &here, &halting] {
        assert_eq!(link.closed(), None);
    }
    assert_eq!(joined(&node), 4.0, "figures go on");
}

#[test]
fn after_kill_9_the_same_services_come_back_by_themselves() {
    let net = Loopback::claim();
    let code = std::fs::read(proxylet("gnutella-peer")).expect("the guest");
    let server = Server::start(net.at(0)).expect("a port");
    let url = server.put("/gnutella-peer.wasm", Served::Whole(code.clone()));
    let mut node = Node::start(&net);
    let (running, stopped) = (net.at(GNUTELLA_PORT), net.at(GNUTELLA_PORT));
    for (name, listen) in [("edge", running), ("spare", stopped)] {
        let _ = node
            .eep(&[
                "load",
                &url,
                "--name",
                name,
                "--sha256",
                &sha256(&code),
                "--set",
                &format!("listen={listen}"),
            ])
            .done();
    }
    let _ = node.eep(&["stop", "spare"]).done();
    drop(server);

    node.kill();
    node.run();
    let peer = leaf(&net);
    join(&peer, running).ping(peer.fresh_guid());
    // They come back side by side, each in its own time.
    let services = until("both", || {
        let services = node.json(&["list"]);
        (services.as_array().map(Vec::len) == Some(2)).then_some(services)
    });
    let states: Vec<_> =
        services.as_array().expect("a list").iter().map(|s| (&s["name"], &s["state"])).collect();
    assert_eq!(states, [(&json!("edge"), &json!("running")), (&json!("spare"), &json!("stopped"))]);
    assert!(peer.dial(stopped).is_err(), "what was stopped stays stopped");
}

#[test]
fn a_trap_costs_its_own_service_only() {
    let net = Loopback::claim();
    let node = Node::start(&net);
    let address = node.load_peer("edge", net.ip(), &json!({}));
    let peer = leaf(&net);
    let link = join(&peer, address.into());
    let probe = probe::load(&node);

    probe::say(probe, b"T");
    until_true("the restart", || node.json(&["status", "probe"])["restarts"] == 1);
    until_true("it runs again", || node.json(&["status", "probe"])["state"] == "running");
    let trap = node.json(&["status", "probe"])["last_trap"].clone();
    assert!(trap["message"].as_str().is_some_and(|m| m.contains("unreachable")), "{trap}");
    link.ping(peer.fresh_guid());
    assert_eq!(node.json(&["status", "edge"])["restarts"], 0);
}

#[test]
fn an_endless_loop_ends_and_its_neighbour_goes_on_meanwhile() {
    let net = Loopback::claim();
    let node = Node::start(&net);
    let address = node.load_peer("edge", net.ip(), &json!({}));
    let peer = leaf(&net);
    let link = join(&peer, address.into());
    let probe = probe::load(&node);

    probe::say(probe, b"L");
    until_true("the restart", || {
        link.ping(peer.fresh_guid());
        node.json(&["status", "probe"])["restarts"] == 1
    });
    link.ping(peer.fresh_guid());
}

#[test]
fn two_nodes_route_a_search_across() {
    let net = Loopback::claim();
    let (near, far) = (Node::start(&net), Node::start(&net));
    let far_address = far.load_peer("edge", net.ip(), &json!({}));
    let near_address = near.load_peer("edge", net.ip(), &json!({ "connect": [far_address.to_string()] }));
    let file = SharedFile::filled("merlin symphony.ogg", 2_000);
    let sharing = Peer::start(Config::leaf(net.ip()).sharing(vec![file.clone()])).expect("a port");
    let _there = join(&sharing, far_address.into());
    let searching = leaf(&net);
    let here = join(&searching, near_address.into());
    for node in [&near, &far] {
        until_true("the relation between the nodes", || {
            // Each may have dialled the other: they dial from an address that is not the one they listen on.
            node.metrics().sum("avp_links", &[("role", "ultrapeer")]) >= 1.0
        });
    }

    let mut guids = Vec::new();
    let hit = until("a hit from the other node's leaf", || {
        guids.push(searching.search(&here, &Query::words("merlin symphony")).expect("sent"));
        here.find(Duration::from_secs(1), |m| m.kind == kind::HIT && guids.contains(&m.guid)).ok()
    });
    let hit = wire::Hit::decode(&hit.payload).expect("a well-formed hit");
    assert_eq!((hit.address, hit.files[0].name.as_str()), (sharing.address(), file.name.as_str()));
}

#[test]
fn two_virtual_peers_are_neighbours_over_the_mesh() {
    let net = Loopback::claim();
    let b = Node::start_in_mesh(&net, None, "edge-b", &json!({ "serve": ["edge"] }));
    let link = net.at(GNUTELLA_PORT).to_string();
    let mesh = json!({
        "seeds": [b.mesh_address()],
        "links": [{ "listen": link, "node": "edge-b", "service": "edge" }],
    });
    let a = Node::start_in_mesh(&net, Some(&b), "edge-a", &mesh);
    // A peer that finds nobody at first waits for a while before it dials again.
    until_true("a link between the nodes", || {
        [&a, &b].iter().all(|node| node.metrics().sum("eep_mesh_links", &[]) >= 1.0)
    });
    let _ = b.load_peer("edge", net.ip(), &json!({}));
    let _ = a.load_peer("edge", net.ip(), &json!({ "connect": [link] }));
    let neighbours = |node: &Node| node.metrics().sum("avp_links", &[("role", "ultrapeer")]);
    // Each may have dialled the other, as above.
    until_true("a relation over the mesh", || neighbours(&a) >= 1.0 && neighbours(&b) >= 1.0);
    assert!(b.metrics().sum("eep_mesh_streams_accepted_total", &[]) >= 1.0);
}

/// The connections to an address that stand in this network, by their other ends (proc_net_tcp(5)).
fn connections_to(address: SocketAddr) -> Vec<String> {
    let SocketAddr::V4(address) = address else { panic!("an IPv4 address") };
    let to = format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port());
    let table = std::fs::read_to_string("/proc/thread-self/net/tcp").expect("the table of connections");
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    // 01 is an established one.
    rows.filter(|row| row.get(2..4) == Some(&[&to, "01"])).map(|row| row[1].to_owned()).collect()
}

#[test]
fn a_relation_over_the_mesh_outlives_its_way_and_shows_nothing_on_the_wire() {
    let machines = Machines::new(3);
    let nets: Vec<Loopback> = (0..3).map(|i| machines.on(i, Loopback::claim)).collect();
    let link_address = nets[0].at(GNUTELLA_PORT);
    let link = link_address.to_string();
    let start = |i: u8, of: Option<&Node>, mesh: &Value| {
        let at = SocketAddr::from((Machines::address(i), MESH_PORT));
        let name = format!("edge-{i}");
        machines.on(i, || Node::start_in_mesh_at(at, &nets[usize::from(i)], of, &name, mesh))
    };
    let b = start(1, None, &json!({ "serve": ["edge"] }));
    let seeds = json!([format!("{}:{MESH_PORT}", Machines::address(1))]);
    let c = start(2, Some(&b), &json!({ "seeds": seeds }));
    let links = json!([{ "listen": link, "node": "edge-1", "service": "edge" }]);
    let a = start(0, Some(&b), &json!({ "seeds": seeds, "links": links }));
    let sum = |i: u8, node: &Node, name: &str, labels: &[(&str, &str)]| {
        machines.on(i, || node.metrics().sum(name, labels))
    };
    until_true("all links", || {
        [(0, &a), (1, &b), (2, &c)].iter().all(|(i, node)| sum(*i, node, "eep_mesh_links", &[]) >= 2.0)
    });

    // All of a's wire, and for comparison what its processes say to each other.
    let wire = machines.on(0, || Capture::begin("eth0", a.path("wire.pcapng")));
    let inside = machines.on(0, || Capture::begin("lo", a.path("inside.pcapng")));
    let far = machines.on(1, || b.load_peer("edge", nets[1].ip(), &json!({})));
    let near = machines.on(0, || a.load_peer("edge", nets[0].ip(), &json!({ "connect": [link] })));
    let neighbours = |i: u8, node: &Node| sum(i, node, "avp_links", &[("role", "ultrapeer")]);
    until_true("a relation over the mesh", || neighbours(0, &a) == 1.0 && neighbours(1, &b) == 1.0);
    let names = ["merlin symphony.ogg", "walrus concerto.ogg"];
    let files = names.map(|name| SharedFile::filled(name, 2_000)).to_vec();
    let (_sharing, _there) = machines.on(1, || {
        let sharing = Peer::start(Config::leaf(nets[1].ip()).sharing(files)).expect("a port");
        let there = join(&sharing, far.into());
        (sharing, there)
    });
    let (searching, here) = machines.on(0, || {
        let searching = leaf(&nets[0]);
        let here = join(&searching, near.into());
        (searching, here)
    });
    let finds = |words: &str, name: &str| {
        let mut guids = Vec::new();
        let hit = until(&format!("a hit for {words}"), || {
            guids.push(searching.search(&here, &Query::words(words)).expect("sent"));
            here.find(Duration::from_millis(200), |m| m.kind == kind::HIT && guids.contains(&m.guid)).ok()
        });
        assert_eq!(wire::Hit::decode(&hit.payload).expect("a well-formed hit").files[0].name, name);
    };
    finds("merlin symphony", names[0]);
    let relation = || machines.on(0, || connections_to(link_address));
    let before = relation();
    assert_eq!(before.len(), 1, "{before:?}");
    let resumed = || sum(0, &a, "eep_mesh_streams_resumed_total", &[]);
    let resumed_before = resumed();
    machines.cut(0, 1);
    let cut = Instant::now();
    finds("walrus concerto", names[1]);
    println!("a search is answered {:.2} s after the direct way was cut", cut.elapsed().as_secs_f64());
    if resumed() == resumed_before {
        // The direct link was slow when it was measured first, on a busy machine, and the relation took the other way.
        machines.heal(0, 1);
        until_true("the link again", || sum(0, &a, "eep_mesh_links", &[]) >= 2.0);
        machines.cut(0, 2);
        finds("merlin symphony", names[0]);
    }
    assert!(resumed() > resumed_before, "over another way");
    assert_eq!(relation(), before, "it is the same relation");
    assert!(sum(2, &c, "eep_mesh_streams_relayed_total", &[]) >= 1.0);

    let (wire, inside) = (wire.end(), inside.end());
    let says = |capture: &[u8], words: &str| capture.windows(words.len()).any(|w| w == words.as_bytes());
    for words in ["GNUTELLA CONNECT", "merlin symphony", "walrus concerto", "X-Ultrapeer"] {
        assert!(says(&inside, words), "{words:?} in what is said inside of the machine");
        assert!(!says(&wire, words), "{words:?} on the wire");
    }
    assert!(wire.len() > 10_000, "{} bytes captured", wire.len());
}
