//! Proxylets that come from an OCI registry.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

use crate::golden::compare;
use crate::guest::{probe, probe_2};
use crate::node::{Ended, Node, address, digest, eep};
use crate::port::Port;
use crate::registry::Registry;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn run(dir: &Path, args: &[&str]) -> Ended {
    eep().args(args).current_dir(dir).output().unwrap().into()
}

fn publish(dir: &Path, image: &str) -> Value {
    serde_json::from_str(&run(dir, &["proxylet", "publish", "probe.wasm", image, "--json"]).done()).unwrap()
}

#[test]
fn what_is_published_is_loaded_with_its_signatures() {
    let registry = Registry::start();
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().to_owned();
    std::fs::write(at.join("probe.wasm"), probe()).unwrap();
    run(&at, &["proxylet", "keygen", "--no-password", "--out", "a"]).done();
    std::fs::write(at.join("eep.yaml"), "trust: {keys: [a.pub]}\n").unwrap();
    let config = at.join("eep.yaml");
    let node = Node::over(dir, &["--config", config.to_str().unwrap()]);

    let image = registry.image("isp-a/probe:1.0");
    let unsigned = publish(&at, &image);
    let sha = digest(&probe());
    assert_eq!(unsigned["sha256"], sha.as_str());
    let told = node.eep(&["load", &image, "--sha256", &sha]).refused();
    assert!(told.contains("is not signed") && told.contains("eep proxylet publish FILE"), "{told}");

    run(&at, &["proxylet", "sign", "probe.wasm", "--key", "a.key"]).done();
    let signed = publish(&at, &image);
    assert_ne!(signed["by_digest"], unsigned["by_digest"]);
    assert_eq!(publish(&at, &image), signed, "the same is the same image");
    let service = node.json(&["load", &image, "--sha256", &sha, "--name", "by-tag"]);
    assert_eq!((&service["url"], &service["state"]), (&image.as_str().into(), &"running".into()));
    address(&service);

    // The tag moves on; what was published stays under its digest.
    std::fs::write(at.join("probe.wasm"), probe_2()).unwrap();
    run(&at, &["proxylet", "sign", "probe.wasm", "--key", "a.key"]).done();
    publish(&at, &image);
    let seen = run(&at, &["proxylet", "inspect", &image, "--json"]).done();
    assert_eq!(serde_json::from_str::<Value>(&seen).unwrap()["sha256"], digest(&probe_2()).as_str());
    let by_digest = signed["by_digest"].as_str().unwrap();
    node.json(&["load", by_digest, "--sha256", &sha, "--name", "by-digest"]);
    run(&at, &["proxylet", "verify", by_digest, "--key", "a.pub"]).done();
}

#[test]
fn a_registry_that_wants_a_user_gets_the_one_that_is_for_it() {
    let registry = Registry::of_user("isp-a", "open sesame");
    let stranger = Registry::of_user("isp-a", "open sesame");
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("probe.wasm"), probe()).unwrap();
    let image = registry.image("probe:1.0");
    let with = |password: &str, args: &[&str]| -> Ended {
        let mut command = eep();
        command.args(["proxylet"]).args(args).current_dir(dir.path());
        command
            .env("EEP_REGISTRY_HOST", registry.host())
            .env("EEP_REGISTRY_USER", "isp-a")
            .env("EEP_REGISTRY_PASSWORD", password);
        command.output().unwrap().into()
    };
    with("open sesame", &["publish", "probe.wasm", &image]).done();
    with("open sesame", &["inspect", &image]).done();
    let told = with("close sesame", &["inspect", &image]).refused();
    assert!(told.contains("the registry does not allow it") && !told.contains("sesame"), "{told}");
    let told = with("open sesame", &["inspect", &stranger.image("probe:1.0")]).refused();
    assert!(told.contains("does not allow it") && told.contains("EEP_REGISTRY_HOST"), "{told}");
    assert!(!stranger.was_told_a_password() && registry.was_told_a_password());
}

#[test]
fn images_that_cannot_be_had_say_why() {
    let registry = Registry::start();
    let closed = Registry::of_user("somebody", "else");
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    std::fs::write(at.join("probe.wasm"), probe()).unwrap();
    std::fs::write(at.join("text.wasm"), "no proxylet").unwrap();
    publish(at, &registry.image("probe:1"));
    registry.damage(probe().len());
    let of_layers = |layers: Value| {
        let config = serde_json::json!({"mediaType": "application/vnd.oci.empty.v1+json", "size": 2,
            "digest": format!("sha256:{}", digest(b"{}"))});
        serde_json::json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers})
    };
    let huge = serde_json::json!([{"mediaType": "application/wasm", "size": 1_u64 << 40,
        "digest": format!("sha256:{}", digest(b""))}]);
    registry.put("huge/1", MANIFEST, of_layers(huge).to_string().as_bytes());
    registry.put("tar/1", MANIFEST, of_layers(serde_json::json!([])).to_string().as_bytes());
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []});
    registry.put("index/1", INDEX, index.to_string().as_bytes());
    registry.put("text/1", MANIFEST, b"<!doctype html>");
    registry.put("long/1", MANIFEST, &vec![b' '; (4 << 20) + 1]);
    let nobody = Port::reserve();
    let gone = nobody.address();
    let (gone_image, image) = (format!("oci://{gone}/probe:1"), |name: &str| registry.image(name));
    let cases: &[(&str, &[&str])] = &[
        ("no such image", &["inspect", &image("none:1")]),
        ("no such tag", &["inspect", &image("probe:2")]),
        ("changed on the registry", &["inspect", &image("probe:1")]),
        ("too large", &["inspect", &image("huge:1")]),
        ("an image of something else", &["inspect", &image("tar:1")]),
        ("an index", &["inspect", &image("index:1")]),
        ("a manifest that is none", &["inspect", &image("text:1")]),
        ("a manifest without an end", &["inspect", &image("long:1")]),
        ("not allowed", &["inspect", &closed.image("probe:1")]),
        ("nobody there", &["inspect", &gone_image]),
        ("publish under a digest", &["publish", "probe.wasm", &image(&format!("p@sha256:{}", digest(b"")))]),
        ("publish to a file", &["publish", "probe.wasm", "elsewhere.wasm"]),
        ("publish what is no proxylet", &["publish", "text.wasm", &image("text:1")]),
        ("publish where it is not allowed", &["publish", "probe.wasm", &closed.image("probe:1")]),
    ];
    let names = [
        (registry.host(), "REGISTRY"),
        (closed.host(), "CLOSED"),
        (gone.to_string(), "GONE"),
        (digest(b""), "SHA256"),
    ];
    let mut told = String::new();
    for (title, args) in cases {
        let words = run(at, &[&["proxylet"], *args].concat()).refused();
        let mut words = format!("### {title}: eep proxylet {}\n{words}", args.join(" "));
        names.iter().for_each(|(what, name)| words = words.replace(what, name));
        writeln!(told, "{words}").unwrap();
    }
    compare("oci.txt", &told);
}
