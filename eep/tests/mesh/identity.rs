//! Certificates: made, the operator's own, refused where they do not fit, exchanged while the mesh stands.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use eep::mesh::authority::Authority;
use eep::mesh::trust::{Domains, read_authorities};
use rcgen::KeyPair;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
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

pub(crate) fn a_ca_that_is_replaced_is_taken_up_without_dropping_the_mesh() {
    let (own, old, new) = (Domain::new("isp-a"), Domain::new("isp-b"), Domain::new("isp-b"));
    let text = |domain: &Domain| std::fs::read_to_string(domain.ca()).unwrap();
    let file = own.dir.path().join("isp-b.pem");
    // Always a whole file: what is half written is none.
    let write = |text: &str| {
        let next = file.with_extension("next");
        std::fs::write(&next, text).unwrap();
        std::fs::rename(next, &file).unwrap();
    };
    write(&text(&old));
    let edge = own.node_with("edge", json!({ "trust": [file] }));
    let _friend = own.node("friend", &[edge.mesh()]);
    until("the own domain", || (edge.map().0 == ["edge", "friend"]).then_some(()));
    let join = json!({ "seeds": [edge.mesh().to_string()], "trust": [own.ca()] });
    let guest = new.node_with("guest", join);
    until("it is refused", || (edge.refused("untrusted-certificate") >= 1.0).then_some(()));
    // Both are good for the time that it takes to give out new certificates...
    write(&(text(&old) + &text(&new)));
    until("it is trusted", || (edge.map().0 == ["edge", "friend", "guest"]).then_some(()));
    until("it sees the others", || (guest.map().0.len() == 3).then_some(()));
    // ...and then one alone. Who nobody vouches for goes, and nobody else.
    write(&text(&old));
    until("it is not trusted", || (edge.map().0 == ["edge", "friend"]).then_some(()));
}

#[test]
fn a_new_ca_has_to_be_of_the_same_domain_and_vouch_for_the_node_itself() {
    let [own, twin, other] = ["isp-a", "isp-a", "isp-b"].map(Domain::new);
    let read = |domain: &Domain| read_authorities(&domain.ca()).unwrap();
    let domains = Domains::new(&rustls::crypto::aws_lc_rs::default_provider(), &read(&own)).unwrap();
    let pair = Authority::read(&own.ca(), &own.ca_key()).unwrap().certify("edge").unwrap();
    let mine = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap();
    let mine = std::slice::from_ref(&mine);
    let now = std::time::SystemTime::now();
    let refused = |certificates: &[_], why: &str| {
        let told = domains.replace("isp-a", certificates, mine).unwrap_err();
        assert!(told.contains(why), "{told}");
        assert_eq!(domains.judge(mine, now).unwrap().domain, "isp-a");
    };
    refused(&read(&other), "is called \"isp-b\"");
    refused(&read(&twin), "does not vouch for this node's own certificate");
    assert_eq!(domains.replace("isp-a", &read(&own), mine), Ok(false));
    let theirs = Authority::read(&twin.ca(), &twin.ca_key()).unwrap().certify("core").unwrap();
    let theirs = [CertificateDer::from_pem_slice(theirs.certificate.as_bytes()).unwrap()];
    assert!(domains.judge(&theirs, now).is_err());
    assert_eq!(domains.replace("isp-a", &[read(&own), read(&twin)].concat(), mine), Ok(true));
    assert_eq!(domains.judge(&theirs, now).unwrap().full_name(), "core@isp-a");
    assert_eq!(domains.replace("isp-a", &read(&own), mine), Ok(true));
    assert!(domains.judge(&theirs, now).is_err(), "what was judged before is forgotten");
}
