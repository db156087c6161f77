//! The HTTP API itself: its description, its refusals, its streams.

use serde_json::Value;

use crate::golden::compare;
use crate::guest::probe;
use crate::node::{Ended, Node, digest, eep};
use crate::web::say;

fn request(node: &Node, method: &str, path: &str, more: &str, body: &str) -> (u16, String) {
    let text = format!(
        "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {}\r\n{more}\r\n{body}",
        node.api(),
        body.len()
    );
    split(&say(node.api(), &text))
}

fn split(answer: &str) -> (u16, String) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

pub(crate) fn get(node: &Node, path: &str) -> (u16, String) {
    request(node, "GET", path, "", "")
}

#[test]
fn the_description_is_what_it_was() {
    let text = serde_json::to_string_pretty(&eep::api::openapi::description()).unwrap();
    compare("openapi.json", &(text + "\n"));
}

#[test]
fn every_described_path_is_served() {
    let node = Node::start();
    node.load_probe("probe");
    let (status, text) = get(&node, "/openapi.json");
    assert_eq!(status, 200);
    let api: Value = serde_json::from_str(&text).unwrap();
    for (path, verbs) in api["paths"].as_object().unwrap() {
        for (verb, operation) in verbs.as_object().unwrap() {
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let stands_there = path.contains(&format!("{{{}}}", parameter["name"].as_str().unwrap()));
                assert_eq!(parameter["in"] == "path", stands_there, "{verb} {path}: {parameter}");
            }
            let path = path.replace("{name}", "nobody");
            let (status, body) = request(&node, &verb.to_uppercase(), &path, "", "");
            assert!(!body.contains("no-such-path") && status != 405, "{verb} {path}: {status} {body}");
        }
    }
    let (status, body) = get(&node, "/v2/services");
    assert!(status == 404 && body.contains("no-such-path"), "{body}");
    let (status, body) = request(&node, "PUT", "/v1/services", "", "");
    assert!(status == 405 && body.contains("wrong-method"), "{body}");
}

#[test]
fn a_node_is_reached_directly_where_the_user_has_a_proxy() {
    let node = Node::start();
    let url = format!("http://{}", node.api());
    let list =
        eep().args(["list", "--json", "--node", &url]).env("http_proxy", "http://127.0.0.1:1").output();
    assert_eq!(Ended::from(list.unwrap()).done(), "[]\n");
}

#[test]
fn bodies_are_read_strictly() {
    let node = Node::start();
    let load = |body: &str| {
        let (status, body) = request(&node, "POST", "/v1/services", "", body);
        let problem: Value = serde_json::from_str(&body).unwrap();
        (
            status,
            problem["place"].as_str().unwrap_or_default().to_owned(),
            problem["title"].as_str().unwrap().to_owned(),
        )
    };
    let (status, place, title) = load("{");
    assert_eq!((status, place.as_str()), (400, "body"), "{title}");
    let (status, place, title) = load(r#"{"proxylet": {"url": "x", "sha": "y"}}"#);
    assert_eq!((status, place.as_str()), (400, "proxylet.sha"), "{title}");
    let (_, place, title) = load(r#"{"proxylet": {"url": "x"}, "limits": {"memory": "many"}}"#);
    assert_eq!((place.as_str(), title.split(':').next()), ("limits.memory", Some("\"many\" is not a size")));
    let (_, place, _) = load(r#"{"proxylet": {"url": "x"}, "grant": ["net.connect", "everything"]}"#);
    assert_eq!(place, "grant[1]");
    let (status, _, _) = load(&format!(r#"{{"proxylet": {{"url": "{}"}}}}"#, "x".repeat(2 << 20)));
    assert_eq!(status, 413);
}

#[test]
fn foreign_pages_are_refused_on_tcp() {
    let node = Node::start();
    let api = node.api();
    let with = |host: &str, more: &str| {
        let text = format!("GET /v1/node HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{more}\r\n");
        split(&say(api, &text)).0
    };
    assert_eq!(with(&api.to_string(), ""), 200);
    assert_eq!(with(&format!("localhost:{}", api.port()), ""), 200);
    assert_eq!(with("rebound.example", ""), 403);
    assert_eq!(with(&api.to_string(), "origin: http://evil.example\r\n"), 403);
    assert_eq!(with(&api.to_string(), &format!("origin: http://{api}\r\n")), 200);
}

#[test]
fn steps_are_told_to_a_client_that_accepts_them() {
    let node = Node::start();
    node.file("probe.wasm", &probe());
    let file = node.dir.path().join("probe.wasm");
    let body = serde_json::json!({"proxylet": {"url": file, "sha256": digest(&probe())}}).to_string();
    let answer =
        |body: &str| request(&node, "POST", "/v1/services", "accept: application/x-ndjson\r\n", body).1;
    let first = answer(&body);
    let at = |word: &str| first.find(word).unwrap_or_else(|| panic!("no {word} in {first}"));
    assert!(
        at("fetching") < at("preparing")
            && at("preparing") < at("starting")
            && at("starting") < at("\"done\"")
    );
    assert!(answer(&body).contains(r#""refused":{"code":"name-in-use""#));
}

#[test]
fn figures_and_health() {
    let node = Node::start();
    node.load_probe("probe");
    assert_eq!(get(&node, "/healthz"), (200, "ok\n".to_owned()));
    let (status, text) = get(&node, "/metrics");
    assert!(status == 200 && text.contains("service=\"probe\"") && text.contains("eep_"), "{text}");
    let (status, page) = get(&node, "/");
    assert!(status == 200 && page.contains("<title>eep</title>") && !page.contains("https://"), "{page}");
}

#[test]
fn the_control_socket_is_for_its_user_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let node = Node::start();
    let mode = |path: std::path::PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(node.data()), mode(node.data().join("eep.sock"))), (0o700, 0o600));
    let over_tcp = eep().args(["list", "--node", &format!("http://{}", node.api())]).output().unwrap();
    assert!(over_tcp.status.success());
}

#[test]
fn idle_connections_have_a_bound_and_the_control_socket_does_not_suffer() {
    let node = Node::start();
    let idle: Vec<_> = (0..150).map(|_| std::net::TcpStream::connect(node.api()).unwrap()).collect();
    let open = || std::fs::read_dir(format!("/proc/{}/fd", node.pid())).unwrap().count();
    // Asked again and again, so that the node has had the time to take every connection that it would take.
    for _ in 0..50 {
        assert_eq!(node.json(&["list"]), serde_json::json!([]));
        assert!(open() < 150, "{} open files", open());
    }
    assert!(open() > 90, "they are served, {} open files", open());
    drop(idle);
    assert_eq!(get(&node, "/healthz").0, 200);
}
