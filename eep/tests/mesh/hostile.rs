//! Peers that lie, forge, flood or speak nonsense: refused, counted, and no harm to the mesh.

use std::time::Duration;

use eep::mesh::authority::{Authority, Pair};
use eep::mesh::wire::{DHT, VERSION};
use rcgen::{KeyPair, PKCS_ED25519};
use serde_json::json;
use topology::NodeId;
use topology::dht::message::{Body, Message};
use topology::soar::report::{Edge, Message as Soar, Report, Sealed};

use crate::node::{Domain, Node, until};
use crate::raw::{Raw, dial};

/// How the node closes; see `docs/decisions/`.
const BANNED: u64 = 2;
const VERSION_REFUSED: u64 = 3;
const BROKEN: u64 = 4;

struct Target {
    domain: Domain,
    node: Node,
    runtime: tokio::runtime::Runtime,
}

impl Target {
    fn new() -> Self {
        let domain = Domain::new("isp-a");
        let node = domain.node("edge", &[]);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { domain, node, runtime }
    }

    fn pair(&self, name: &str) -> Pair {
        Authority::read(&self.domain.ca(), &self.domain.ca_key()).unwrap().certify(name).unwrap()
    }

    /// Waits until a refusal was counted so often.
    fn counted(&self, reason: &str, times: f64) {
        until(&format!("{times} refusals for {reason}"), || {
            (self.node.refused(reason) >= times).then_some(())
        });
    }

    /// The node still does what it is there for.
    fn is_well(&self) {
        let friend = self.domain.node("friend", &[self.node.mesh()]);
        until("a friend on the map", || self.node.map().0.contains(&"friend".to_owned()).then_some(()));
        until("a link on its map", || (friend.map().1 > 0).then_some(()));
    }
}

#[test]
fn forged_certificates_are_refused_and_counted() {
    let target = Target::new();
    // A CA of the same name is not the same CA.
    let (forger, _) = Authority::make("isp-a").unwrap();
    let forged = forger.certify("edge-2").unwrap();
    target.runtime.block_on(async {
        for pair in [Some(&forged), None] {
            // The client's side of TLS may be done before the node has judged: then the connection ends with its first use.
            if let Ok(connection) = dial(target.node.mesh(), pair).await {
                let closed = connection.closed().await;
                assert!(matches!(closed, quinn::ConnectionError::ConnectionClosed(_)), "{closed}");
            }
        }
    });
    target.counted("untrusted-certificate", 2.0);
    assert_eq!(target.node.figure("eep_mesh_connections"), 0.0);
    // One of the domain's own is worth nothing from its last second on.
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let authority = Authority::read(&target.domain.ca(), &target.domain.ca_key()).unwrap();
    let certificate = authority.certify_key("late", &key, Duration::ZERO).unwrap();
    let late = Pair { certificate, key: key.serialize_pem() };
    until("it is refused when it has ended", || {
        if let Ok(connection) = target.runtime.block_on(dial(target.node.mesh(), Some(&late))) {
            connection.close(0_u32.into(), b"");
        }
        (target.node.refused("untrusted-certificate") >= 3.0).then_some(())
    });
    target.is_well();
}

#[test]
fn versions_may_differ_by_one() {
    let target = Target::new();
    let raw = target.runtime.block_on(async {
        let (mut raw, hello) =
            Raw::greet(target.node.mesh(), &target.pair("newer"), VERSION + 1).await.unwrap();
        assert_eq!(hello.version, VERSION);
        assert!(raw.connection.close_reason().is_none());
        let newest = Raw::greet(target.node.mesh(), &target.pair("newest"), VERSION + 2).await;
        if let Some((raw, _)) = newest {
            assert_eq!(raw.closed_with().await, VERSION_REFUSED);
        }
        // A frame of a kind that is still to come harms nobody.
        raw.frame(9, b"news".to_vec()).await;
        raw
    });
    target.counted("unknown-frame", 1.0);
    assert!(raw.connection.close_reason().is_none());
    target.counted("failed-handshake", 1.0);
    assert_eq!(target.node.figure("eep_mesh_connections"), 1.0);
}

#[test]
fn nonsense_ends_the_connection() {
    let target = Target::new();
    let pair = target.pair("babbler");
    target.runtime.block_on(async {
        for nonsense in [&[0xff, 0xff, 0xff, 0xff][..], &[0, 0, 0, 3, 0x9f, 0xff, 0x1c], &[0, 0, 0, 1, 0xa1]]
        {
            let mut raw = Raw::honest(target.node.mesh(), &pair).await;
            raw.send.write_all(nonsense).await.unwrap();
            assert_eq!(raw.closed_with().await, BROKEN, "{nonsense:?}");
        }
        // Inside a frame it is held against the sender, who is banned for enough of it.
        let mut raw = Raw::honest(target.node.mesh(), &pair).await;
        for _ in 0..8 {
            raw.frame(DHT, vec![0xff; 40]).await;
        }
        assert_eq!(raw.closed_with().await, BANNED);
    });
    assert_eq!(target.node.refused("broken-frame"), 3.0);
    target.counted("malformed", 4.0);
    target.is_well();
}

#[test]
fn who_places_a_service_does_not_choose_what_the_node_reads_or_fetches() {
    let target = Target::new();
    let secret = target.node.dir.path().join("secret");
    std::fs::write(&secret, "the word is swordfish\n").unwrap();
    let digest = "ab".repeat(32);
    let order = |url: &str, policy: Option<&std::path::Path>| {
        let service = json!({ "proxylet": { "url": url, "sha256": digest }, "policy": policy });
        json!({ "name": "placed", "service": service, "epoch": 1, "lease_ms": 10_000 }).to_string()
    };
    let orders = [
        order(secret.to_str().unwrap(), None),
        order("http://127.0.0.1:1/metadata", None),
        order("oci://127.0.0.1:1/echo:1", None),
        order(&format!("eep:{digest}"), Some(&secret)),
    ];
    let pair = target.pair("curious");
    target.runtime.block_on(async {
        let raw = Raw::honest(target.node.mesh(), &pair).await;
        for order in &orders {
            let (done, words) = raw.ask("place", order.as_bytes()).await;
            let words = String::from_utf8(words).unwrap();
            assert!(!done && words.contains("come over the mesh") && !words.contains("swordfish"), "{words}");
        }
    });
    assert_eq!(target.node.json(&["list"]), json!([]));
    target.is_well();
}

#[test]
fn a_flood_of_lookups_is_banned() {
    let target = Target::new();
    let pair = target.pair("flooder");
    target.runtime.block_on(async {
        let mut raw = Raw::honest(target.node.mesh(), &pair).await;
        for transaction in 0..2000 {
            let point = NodeId::of_public_key(&[7]);
            raw.frame(DHT, Message { transaction, body: Body::FindNode(point) }.encode()).await;
        }
        assert_eq!(raw.closed_with().await, BANNED);
        if let Some((raw, _)) = Raw::greet(target.node.mesh(), &pair, VERSION).await {
            assert_eq!(raw.closed_with().await, BANNED, "it is not let in again");
        }
    });
    target.counted("flood", 100.0);
    target.counted("banned", 1.0);
    assert_eq!(target.node.figure("eep_mesh_bans_total"), 1.0);
    target.is_well();
}

#[test]
fn reports_that_are_forged_replayed_or_lies_change_no_map() {
    let target = Target::new();
    let me: NodeId = {
        let id = target.node.id();
        eep::mesh::find::parse_id(&id).unwrap()
    };
    let ghost = NodeId::of_public_key(b"nobody");
    let pair = target.pair("liar");
    let raw = target.runtime.block_on(async {
        let mut raw = Raw::honest(target.node.mesh(), &pair).await;
        let edge = |to, rtt_us| Edge {
            to,
            rtt_us,
            throughput_kbps: None,
            near: true,
            region: None,
            inner: false,
            elected: false,
        };
        let mut edges = [edge(me, 1), edge(ghost, 1)];
        edges.sort_by_key(|e| e.to);
        let report = |origin, version| Report {
            origin,
            level: 0,
            version,
            region: origin,
            home: origin,
            load_milli: 0,
            edges: edges.iter().filter(|e| e.to != origin).copied().collect(),
        };
        // In the name of another node, with our own signature.
        let forged = report(ghost, 1).encode();
        let seal = raw.seal(&forged);
        raw.soar(Soar::Reports(vec![Sealed { report: forged, seal }])).await;
        // In our own name with a signature that is none.
        let unsigned = report(raw.id, 2).encode();
        raw.soar(Soar::Reports(vec![Sealed { report: unsigned, seal: vec![0; 64] }])).await;

        // The node measures us, and reports that; we say it all again to it, and slow ourselves down so that what we
        // claim of the link is a lie.
        let mut told = None;
        while told.is_none() {
            match raw.next_soar().await {
                Soar::Probe(number) | Soar::SureProbe(number) => {
                    tokio::time::sleep(Duration::from_millis(3)).await;
                    raw.soar(Soar::Echo(number)).await;
                }
                Soar::Reports(reports) => {
                    let own = |sealed: &Sealed| {
                        Report::decode(&sealed.report, 256).is_ok_and(|r| r.edge(raw.id).is_some())
                    };
                    told = reports.into_iter().find(own);
                }
                Soar::Echo(_) | Soar::Have { .. } => {}
            }
        }
        raw.soar(Soar::Reports(told.into_iter().collect())).await;
        let lie = report(raw.id, 3).encode();
        let seal = raw.seal(&lie);
        let lie = Sealed { report: lie, seal };
        raw.soar(Soar::Reports(vec![lie.clone()])).await;
        raw.soar(Soar::Reports(vec![lie])).await;
        raw
    });
    target.counted("measurement-forged", 2.0);
    target.counted("measurement-stale", 2.0);
    target.counted("measurement-lie", 1.0);
    let map = target.node.json(&["topology", "map"]);
    let ids: Vec<&str> = map["nodes"].as_array().unwrap().iter().map(|n| n["id"].as_str().unwrap()).collect();
    assert!(!ids.contains(&ghost.to_string().as_str()), "{map}");
    drop(raw);
    target.is_well();
}
