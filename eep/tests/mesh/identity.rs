//! Certificates: made, the operator's own, refused where they do not fit, exchanged while the mesh stands.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use eep::mesh::authority::Authority;
use eep::mesh::trust::{Domains, read_authorities};
use rcgen::KeyPair;
use serde_json::json;

use crate::node::{Domain, Node, done, eep, until};

#[test]
fn what_init_makes_is_a_domain_and_a_node() {
    let dir = tempfile::tempdir().unwrap();
    let init = |args: &[&str]| eep().arg("init").args(args).arg("--data").arg(dir.path()).output().unwrap();
    let told = done(&init(&["--domain", "isp-a", "--name", "edge-1"]));
    assert!(told.starts_with("edge-1 of the domain isp-a\n"), "{told}");
    let mode = |name: &str| {
        std::fs::metadata(dir.path().join("mesh").join(name)).unwrap().permissions().mode() & 0o777
    };
    assert_eq!((mode("node.key"), mode("ca.key")), (0o600, 0o600));
    assert_eq!(std::fs::metadata(dir.path().join("mesh")).unwrap().permissions().mode() & 0o777, 0o700);

    let again = init(&["--domain", "isp-a"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("this node has an identity already"));
}

#[test]
fn the_operators_own_certificate_is_taken_where_it_fits() {
    let (domain, other) = (Domain::new("isp-a"), Domain::new("isp-b"));
    let theirs =
        |domain: &Domain| Authority::read(&domain.ca(), &domain.ca_key()).unwrap().certify("core-7").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let init = |data: &str| {
        let mut command = eep();
        command.args(["init", "--json", "--ca"]).arg(domain.ca()).arg("--certificate").arg(at("own.pem"));
        command.arg("--key").arg(at("own.key")).arg("--data").arg(at(data)).output().unwrap()
    };
    let pair = theirs(&other);
    std::fs::write(at("own.pem"), &pair.certificate).unwrap();
    std::fs::write(at("own.key"), &pair.key).unwrap();
    let refused = init("refused");
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no trusted domain vouches"), "{refused:?}");
    assert!(!at("refused").exists(), "nothing is written where it is refused");

    let pair = theirs(&domain);
    std::fs::write(at("own.pem"), &pair.certificate).unwrap();
    let refused = init("refused");
    assert_eq!(refused.status.code(), Some(1), "a key that is another certificate's");
    std::fs::write(at("own.key"), &pair.key).unwrap();
    let told: serde_json::Value = serde_json::from_str(&done(&init("data"))).unwrap();
    assert_eq!(
        (&told["name"], &told["domain"], &told["authority"]),
        (&json!("core-7"), &json!("isp-a"), &json!(false))
    );
}

fn refused_at_start(change: impl Fn(&std::path::Path)) -> String {
    let domain = Domain::new("isp-a");
    let dir = tempfile::tempdir().unwrap();
    domain.certify("edge", &dir.path().join("data"));
    let file = "node: {domain: isp-a, data: data}\nlisten: {api: \"127.0.0.1:0\", mesh: \"127.0.0.1:0\"}\n";
    std::fs::write(dir.path().join("eep.yaml"), file).unwrap();
    change(dir.path());
    let out = eep().args(["run", "--config", "eep.yaml"]).current_dir(dir.path()).output().unwrap();
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    String::from_utf8(out.stderr).unwrap()
}

#[test]
fn an_identity_that_does_not_fit_is_refused_with_its_fix() {
    let missing = refused_at_start(|dir| std::fs::remove_dir_all(dir.join("data/mesh")).unwrap());
    assert!(missing.contains("ca.pem") && missing.contains("eep init"), "{missing}");
    let open = refused_at_start(|dir| {
        let key = dir.join("data/mesh/node.key");
        std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o644)).unwrap();
    });
    assert!(open.contains("can be read by others") && open.contains("chmod 600"), "{open}");
    let domain = refused_at_start(|dir| {
        let file = dir.join("eep.yaml");
        let text = std::fs::read_to_string(&file).unwrap().replace("isp-a", "isp-c");
        std::fs::write(file, text).unwrap();
    });
    assert!(
        domain.contains("the node file says domain \"isp-c\", and the certificate \"isp-a\""),
        "{domain}"
    );
}

#[test]
fn a_certificate_near_its_end_is_exchanged_without_dropping_the_mesh() {
    // A machine that halts a node for seconds has it miss its probes; an exchange that dropped a link would every time.
    let lost: Vec<f64> = (0..3).map(|_| links_lost_by_an_exchange()).take_while(|lost| *lost > 0.0).collect();
    assert!(lost.len() < 3, "links were lost over each exchange: {lost:?}");
}

/// Has a node exchange its certificate, and returns how many links its neighbour found dead meanwhile.
fn links_lost_by_an_exchange() -> f64 {
    let domain = Domain::new("isp-a");
    let a = domain.node("edge-a", &[]);
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    domain.certify("edge-b", &data);
    // It ends in an hour; the node has the CA's key beside its certificate and so signs itself a new one.
    let authority = Authority::read(&domain.ca(), &domain.ca_key()).unwrap();
    let key = KeyPair::from_pem(&std::fs::read_to_string(data.join("mesh/node.key")).unwrap()).unwrap();
    let old = authority.certify_key("edge-b", &key, Duration::from_secs(3600)).unwrap();
    std::fs::write(data.join("mesh/node.pem"), &old).unwrap();
    std::fs::copy(domain.ca_key(), data.join("mesh/ca.key")).unwrap();
    let file = json!({
        "node": {"data": "data"}, "listen": {"api": "127.0.0.1:0", "mesh": "127.0.0.1:0"},
        "mesh": {"seeds": [a.mesh().to_string()]},
    });
    std::fs::write(dir.path().join("eep.yaml"), file.to_string()).unwrap();
    let b = Node::over(dir);
    until("both on the map", || (a.map().0.len() == 2).then_some(()));
    let renewed = until("a new certificate", || {
        Some(std::fs::read_to_string(b.data().join("mesh/node.pem")).unwrap()).filter(|now| *now != old)
    });
    assert!(renewed.starts_with("-----BEGIN CERTIFICATE-----"));
    // A connection that is made from now on is made with it: the old one would be refused after an hour.
    let c = domain.node("edge-c", &[b.mesh()]);
    until("all on the map", || (c.map().0 == ["edge-a", "edge-b", "edge-c"]).then_some(()));
    a.figure("eep_mesh_links_died_total")
}

#[test]
fn two_domains_of_one_name_are_told_apart_before_either_has_the_others_rights() {
    let own = Domain::new("isp-a");
    let twins = [Domain::new("isp-b"), Domain::new("isp-b")];
    let [own, one, other] = [&own, &twins[0], &twins[1]].map(|d| read_authorities(&d.ca()).unwrap());
    let domains = Domains::new(&rustls::crypto::aws_lc_rs::default_provider(), &own).unwrap();
    let prefix = |text: &str| text.parse().unwrap();
    domains.trust(&one, vec![prefix("10.2.0.0/16")]).unwrap();
    let told = domains.trust(&other, vec![prefix("10.0.0.0/8")]).unwrap_err();
    assert!(told.contains("\"isp-b\""), "{told}");
    let may = |domain, text| domains.may_serve(domain, &prefix(text));
    assert!(may("isp-b", "10.2.0.0/16") && may("isp-b", "10.2.3.0/24"));
    assert!(!may("isp-b", "10.3.0.0/16") && !may("isp-b", "10.0.0.0/8") && !may("isp-c", "10.2.0.0/16"));
    assert!(may("isp-a", "10.3.0.0/16"));
}
