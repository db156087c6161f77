//! Load, start, stop, modify, unload, and coming back.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use serde_json::json;

use crate::guest::{probe, probe_2};
use crate::node::{Ended, Node, address, digest, eep, lines};
use crate::port::Port;
use crate::web::{Server, exchange, ok};

/// Says a command to the probe; so many bytes of its answer.
fn ask(at: SocketAddr, command: &str, len: usize) -> Vec<u8> {
    let mut peer = TcpStream::connect(at).unwrap();
    peer.write_all(command.as_bytes()).unwrap();
    let mut answer = vec![0; len];
    peer.read_exact(&mut answer).unwrap();
    answer
}

#[test]
fn pinned_code_gets_what_it_asks_for_and_listed_grants_are_all_there_is() {
    let node = Node::start();
    node.file("probe.wasm", &probe());
    let pinned = node.json(&["load", "probe.wasm", "--sha256", &digest(&probe())]);
    assert_eq!(pinned["name"], "probe");
    assert_eq!(pinned["grants"], json!(["net.listen:0", "net.connect:127.0.0.0/8", "datagram:*"]));
    let listed =
        node.json(&["load", "probe.wasm", "--name", "b", "--grant", "net.listen:*", "--grant", "datagram:*"]);
    assert_eq!(listed["grants"], json!(["net.listen:*", "datagram:*"]));
    assert_eq!(ask(address(&listed), "Ehello", 5), b"hello");
    assert_eq!(listed["hint"], format!("speak to {}, leaves ", address(&listed)));
}

#[test]
fn a_manifest_says_all_of_it() {
    let node = Node::start();
    node.file("probe.wasm", &probe());
    node.file(
        "edge.yaml",
        format!(
            "name: edge\nproxylet: {{url: probe.wasm, sha256: {}}}\ngrant: [net.listen:*, datagram:*]\n\
             limits: {{memory: 64MiB, connections: 7}}\non-trap: stop\nconfig: {{leaves: abc}}\n",
            digest(&probe())
        )
        .as_bytes(),
    );
    let edge = node.json(&["load", "--manifest", "edge.yaml", "--set", "port=0"]);
    assert_eq!((&edge["name"], &edge["on_trap"]), (&json!("edge"), &json!("stop")));
    assert_eq!((&edge["limits"]["memory"], &edge["limits"]["connections"]), (&json!("64MiB"), &json!(7)));
    assert_eq!(
        (&edge["settings"], &edge["config"]),
        (&json!({"leaves": "abc", "port": 0}), &json!({"leaves": "abc", "port": 0}))
    );
}

#[test]
fn what_a_node_says_of_itself_has_no_colours_where_it_is_kept_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("eep.yaml");
    fs::write(&file, "services: [{name: gone, proxylet: {url: gone.wasm}}]\n").unwrap();
    let mut command = eep();
    command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE").current_dir(dir.path());
    command.args(["run", "--data", "data", "--api", "127.0.0.1:0", "--config", "eep.yaml"]);
    let mut node = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(node.stderr.take().unwrap()).lines().map(Result::unwrap);
    let warning = said.into_iter().find(|line| line.contains("WARN"));
    node.kill().and_then(|()| node.wait()).unwrap();
    let warning = warning.unwrap();
    assert!(warning.contains("gone") && !warning.contains('\u{1b}'), "{warning:?}");
}

#[test]
fn stop_and_start_keep_the_state_and_unload_forgets_it() {
    let node = Node::start();
    let port = Port::reserve();
    let at = port.address();
    node.file("probe.wasm", &probe());
    let set = format!("port={}", port.number());
    node.json(&["load", "probe.wasm", "--sha256", &digest(&probe()), "--set", &set]);
    assert_eq!(ask(at, "Sx", 1), b".");
    assert_eq!(node.json(&["stop", "probe"])["state"], "stopped");
    assert!(TcpStream::connect(at).is_err(), "a stopped service does not listen");
    let again = address(&node.json(&["start", "probe"]));
    assert_eq!(ask(again, "G", 1), b"x");
    assert_eq!(node.json(&["start", "probe"])["state"], "running", "starting what runs changes nothing");
    node.json(&["unload", "probe"]);
    assert_eq!(node.json(&["list"]), json!([]));
    fs::remove_file(node.dir.path().join("probe.wasm")).unwrap();
    let fresh = node.json(&["load", "probe.wasm", "--sha256", &digest(&probe()), "--set", &set]);
    assert_eq!(ask(address(&fresh), "G", 1), b"?", "a new service knows nothing of an unloaded one");
}

#[test]
fn a_killed_node_comes_back_with_the_same_services_though_their_source_is_gone() {
    let server = Server::of(&probe());
    let node = Node::start();
    let sha = digest(&probe());
    node.json(&["load", &server.url(), "--name", "a", "--sha256", &sha, "--set", "leaves=abc"]);
    node.json(&["load", &server.url(), "--name", "b", "--sha256", &sha]);
    node.json(&["stop", "b"]);
    let mut before = node.kept();
    drop(server);
    let node = Node::over(node.kill(), &[]);
    let mut after = node.kept();
    // The system chooses the port anew.
    let port = |kept: &mut serde_json::Value| kept["services"][0]["listening"].take();
    assert!(port(&mut before).is_array() && port(&mut after).is_array());
    assert_eq!(after, before);
    assert_eq!(after["services"][0]["settings"], json!({"leaves": "abc"}));
    assert_eq!(
        (&after["services"][0]["state"], &after["services"][1]["state"]),
        (&json!("running"), &json!("stopped"))
    );
    let b = address(&node.json(&["start", "b"]));
    assert_eq!(ask(b, "Eok", 2), b"ok");
}

#[test]
fn a_node_that_comes_back_knows_its_services_before_they_run() {
    let node = Node::start();
    node.file("probe.wasm", &probe());
    let (data, file, sha) = (node.data(), node.dir.path().join("probe.wasm"), digest(&probe()));
    let asked = Arc::new(AtomicUsize::new(0));
    let (tell, told) = mpsc::channel();
    let (answer, asked_by) = (ok(probe().len(), &probe()), Arc::clone(&asked));
    let server = Server::new("http", move |mut stream| {
        // It is fetched once to be loaded. The next time is that of a node that brings it back and waits for it.
        if asked_by.fetch_add(1, Ordering::SeqCst) > 0 {
            let say = |args: &[&str]| -> Ended {
                eep().args(args).arg("--data").arg(&data).output().unwrap().into()
            };
            let load = ["load", file.to_str().unwrap(), "--sha256", &sha, "--name", "probe"];
            let _ = tell.send([say(&["list", "--json"]), say(&load)]);
        }
        let _ = exchange(&mut stream, &answer);
    });
    node.json(&["load", &server.url(), "--name", "probe", "--sha256", &digest(&probe())]);
    let dir = node.kill();
    fs::remove_dir_all(dir.path().join("data/store")).unwrap();
    let node = Node::over(dir, &[]);
    let [list, load] = told.recv().unwrap();
    let list: serde_json::Value = serde_json::from_str(&list.done()).unwrap();
    assert_eq!((&list[0]["name"], &list[0]["state"]), (&json!("probe"), &json!("starting")));
    let words = load.refused();
    assert!(words.contains("a service called probe is there already"), "{words}");
    assert_eq!(node.json(&["status", "probe"])["state"], "running");
}

#[test]
fn what_a_service_stored_survives_kill() {
    let node = Node::start();
    let at = node.load_probe("probe");
    assert_eq!(ask(at, "Kvalue", 1), [0]);
    let node = Node::over(node.kill(), &[]);
    let at = address(&node.json(&["status", "probe"]));
    assert_eq!(ask(at, "k", 5), b"value");
}

#[test]
fn a_service_that_cannot_come_back_is_shown_with_the_reason() {
    let node = Node::start();
    node.file("probe.wasm", &probe());
    let port = Port::reserve();
    let set = format!("port={}", port.number());
    node.json(&["load", "probe.wasm", "--sha256", &digest(&probe()), "--set", &set]);
    let dir = node.kill();
    let taken = TcpListener::bind(port.address()).unwrap();
    let node = Node::over(dir, &[]);
    let probe = node.json(&["status", "probe"]);
    assert_eq!((&probe["state"], &probe["wanted"]), (&json!("failed"), &json!("running")));
    assert!(probe["reason"].as_str().unwrap().contains("in use"), "{probe}");
    drop(taken);
    // It is tried again by itself.
    let running = |_: &u32| node.json(&["status", "probe"])["state"] == "running";
    assert!((0..10_000).any(|look| running(&look)), "it did not come back");
}

#[test]
fn an_ended_node_leaves_no_socket_and_comes_back() {
    let node = Node::start();
    node.load_probe("probe");
    let (code, dir) = node.end();
    assert_eq!(code, Some(0));
    assert!(!dir.path().join("data/eep.sock").exists());
    let node = Node::over(dir, &[]);
    assert_eq!(node.said["services"][0]["state"], "running");
}

#[test]
fn a_configuration_alone_is_handed_to_the_running_instance() {
    let node = Node::start();
    let at = node.load_probe("probe");
    let mut peer = TcpStream::connect(at).unwrap();
    let changed = node.json(&["modify", "probe", "--set", "leaves=xyz"]);
    assert_eq!(changed["config"]["leaves"], "xyz");
    assert_eq!(address(&changed), at, "it was not started anew");
    peer.write_all(b"Q").unwrap();
    let mut counted = [0; 6];
    peer.read_exact(&mut counted).unwrap();
    assert_eq!(counted[5], 1, "the connection lived on, and the proxylet was told once");
    let back = node.json(&["modify", "probe", "--set", "leaves=null"]);
    assert_eq!((&back["config"]["leaves"], &back["settings"]), (&json!(""), &json!({})));
}

#[test]
fn other_code_takes_over_with_the_state() {
    let node = Node::start();
    let at = node.load_probe("probe");
    assert_eq!(ask(at, "Sx", 1), b".");
    node.file("probe-2.wasm", &probe_2());
    let new = node.json(&[
        "modify",
        "probe",
        "--url",
        "probe-2.wasm",
        "--sha256",
        &digest(&probe_2()),
        "--health-window-ms",
        "0",
    ]);
    assert_eq!((&new["version"], &new["digest"]), (&json!("0.2.0"), &json!(digest(&probe_2()))));
    assert_eq!(ask(address(&new), "G", 1), b"x");
    assert!(node.keeps(&probe_2()));
}

#[test]
fn limits_what_follows_a_trap_and_recordings_are_changed_one_by_one() {
    let node = Node::start();
    node.load_probe("probe");
    let modify = |args: &[&str]| node.eep(&[&["modify", "probe", "--health-window-ms", "0"], args].concat());
    modify(&["--limit", "memory=64MiB", "--limit", "cpu=0.5", "--on-trap", "fail-open=127.0.0.1:9"]).done();
    modify(&["--limit", "connections=7", "--record", "2MiB"]).done();
    let probe = node.json(&["status", "probe"]);
    let limits = &probe["limits"];
    assert_eq!(
        (&limits["memory"], &limits["cpu"], &limits["connections"], &limits["call-ms"]),
        (&json!("64MiB"), &json!(0.5), &json!(7), &json!(1000))
    );
    assert_eq!(probe["on_trap"], json!({"fail-open": {"to": "127.0.0.1:9"}}));
    assert!(probe["recording"]["file"].is_string(), "{probe}");
    let kept = node.kept();
    assert!(modify(&["--limit", "cpu=2"]).refused().contains("cpu"));
    assert!(modify(&["--limit", "memry=1"]).refused().contains("memry"));
    assert_eq!(node.kept(), kept);
    modify(&["--record", "off"]).done();
    assert!(node.json(&["status", "probe"])["recording"].is_null());
    for wrong in [["--on-trap", "explode"], ["--on-trap", "fail-open=nowhere"], ["--record", "1KiB"]] {
        assert_eq!(modify(&wrong).code, Some(2), "{wrong:?}");
    }
    let stopped = node.json(&["stop", "probe"]);
    assert_eq!((&stopped["state"], &stopped["memory_bytes"]), (&json!("stopped"), &json!(0)));
}

#[test]
fn a_modification_that_fails_leaves_the_service_with_its_state() {
    let node = Node::start();
    let at = node.load_probe("probe");
    assert_eq!(ask(at, "Sx", 1), b".");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let set = format!("port={}", taken.local_addr().unwrap().port());
    let _ = node.eep(&["modify", "probe", "--set", &set]).refused();
    let probe = node.json(&["status", "probe"]);
    assert_eq!((&probe["state"], &probe["settings"]), (&json!("running"), &json!({})));
    assert_eq!(ask(address(&probe), "G", 1), b"x");
}

#[test]
fn the_node_file_is_applied_once_and_again_when_it_says_something_new() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("probe.wasm"), probe()).unwrap();
    let write = |leaves: &str| {
        let text = format!(
            "services:\n- name: edge\n  proxylet: {{url: probe.wasm, sha256: {}}}\n  config: {{leaves: {leaves}}}\n\
             - name: broken\n  proxylet: {{url: none.wasm}}\n",
            digest(&probe())
        );
        fs::write(dir.path().join("eep.yaml"), text).unwrap();
    };
    write("abc");
    let file = dir.path().join("eep.yaml").to_str().unwrap().to_owned();
    let leaves = |node: &Node| node.json(&["status", "edge"])["config"]["leaves"].clone();
    let data = tempfile::tempdir().unwrap();
    let node = Node::over(data, &["--config", &file]);
    assert_eq!(leaves(&node), "abc");
    assert_eq!(
        node.json(&["list"]).as_array().unwrap().len(),
        1,
        "the broken one is not there, and the node is"
    );
    node.json(&["modify", "edge", "--set", "leaves=byhand"]);
    let node = Node::over(node.kill(), &["--config", &file]);
    assert_eq!(leaves(&node), "byhand");
    write("new");
    let node = Node::over(node.kill(), &["--config", &file]);
    assert_eq!(leaves(&node), "new");
}

#[test]
fn a_node_file_that_cannot_be_applied_leaves_the_policy_as_it_was_too() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    fs::write(dir.path().join("probe.wasm"), probe()).unwrap();
    let service = |policy: &str, port: &str| {
        let text = format!("policy: eep/v1\nname: {policy}\naccess: {{default: allow}}\n");
        write(&format!("{policy}.yaml"), &text);
        let code = digest(&probe());
        let text = format!(
            "services:\n- {{name: edge, proxylet: {{url: probe.wasm, sha256: {code}}}, policy: {policy}.yaml, config: {{port: {port}}}}}\n"
        );
        write("eep.yaml", &text);
    };
    let file = dir.path().join("eep.yaml").to_str().unwrap().to_owned();
    let in_force = |node: &Node| {
        let now = node.json(&["policy", "history", "edge"]);
        (now["policy"].clone(), now["generation"].clone(), now["history"].as_array().unwrap().len())
    };
    service("one", "0");
    let node = Node::over(tempfile::tempdir().unwrap(), &["--config", &file]);
    assert_eq!(in_force(&node), (json!("one"), json!(1), 1));
    service("two", "no");
    let node = Node::over(node.kill(), &["--config", &file]);
    assert_eq!(in_force(&node), (json!("one"), json!(1), 1));
    assert_eq!(node.json(&["status", "edge"])["state"], "running");
    service("two", "0");
    let node = Node::over(node.kill(), &["--config", &file]);
    assert_eq!(in_force(&node), (json!("two"), json!(2), 2));
}

#[test]
fn a_service_whose_policy_is_lost_is_started_by_nobody_without_it() {
    let node = Node::start();
    let text = "policy: eep/v1\nname: closed\naccess: {default: {deny: {reason: closed}}}\n";
    node.file("closed.yaml", text.as_bytes());
    node.load_probe("probe");
    node.eep(&["policy", "apply", "probe", "closed.yaml"]).done();
    let dir = node.kill();
    let database = redb::Database::open(dir.path().join("data/state.redb")).unwrap();
    let change = database.begin_write().unwrap();
    let texts = redb::TableDefinition::<&[u8], &[u8]>::new("policy-texts");
    change.open_table(texts).unwrap().retain(|_, _| false).unwrap();
    change.commit().unwrap();
    drop(database);
    let node = Node::over(dir, &[]);
    assert_eq!(node.json(&["status", "probe"])["state"], "failed");
    // The node tries to bring it back at times, and no change gets between.
    let alone = |args: &[&str]| loop {
        let ended = node.eep(args);
        if !ended.stderr.contains("under way") {
            return ended;
        }
    };
    for bypass in [&["start", "probe"][..], &["modify", "probe", "--set", "leaves=x"]] {
        let told = alone(bypass).refused();
        assert!(told.contains("`closed.yaml` is no longer kept"), "{told}");
    }
    alone(&["policy", "apply", "probe", "closed.yaml"]).done();
    alone(&["start", "probe"]).done();
    assert_eq!(node.json(&["policy", "history", "probe"])["policy"], "closed");
}

#[test]
fn a_proxylet_named_at_the_start_runs_once_and_takes_over_its_new_build() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("probe.wasm"), probe()).unwrap();
    let node = Node::over(dir, &["--service", "probe.wasm"]);
    assert_eq!(
        (&node.said["services"][0]["name"], &node.said["services"][0]["state"]),
        (&json!("probe"), &json!("running"))
    );
    let node = Node::over(node.kill(), &["--service", "probe.wasm"]);
    assert_eq!(node.said["services"].as_array().unwrap().len(), 1);
    let dir = node.kill();
    fs::write(dir.path().join("probe.wasm"), probe_2()).unwrap();
    let node = Node::over(dir, &["--service", "probe.wasm"]);
    assert_eq!(node.said["services"][0]["version"], "0.2.0");
}

#[test]
fn logs_are_followed_until_the_service_is_unloaded() {
    let node = Node::start();
    let at = node.load_probe("probe");
    assert_eq!(ask(at, "Oone", 1), b".");
    let mut follow = eep()
        .args(["logs", "probe", "-f", "--json", "--data"])
        .arg(node.data())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = lines(&mut follow).map(|line| line["text"].as_str().unwrap().to_owned());
    assert!(told.by_ref().any(|text| text == "one"));
    assert_eq!(ask(at, "Otwo", 1), b".");
    assert!(told.by_ref().any(|text| text == "two"));
    node.json(&["unload", "probe"]);
    assert!(told.any(|text| text == "stopped"), "it ends, with what was said last");
    assert!(follow.wait().unwrap().success());
    let tail = node.load_probe("probe");
    assert_eq!(ask(tail, "Othree", 1), b".");
    let last = node.eep(&["logs", "probe", "--tail", "1"]).done();
    assert!(last.trim_end().ends_with("three") && last.lines().count() == 1, "{last}");
}

#[test]
fn two_changes_of_one_name_do_not_mix() {
    let node = Node::start();
    node.file("probe.wasm", &probe());
    let sha = digest(&probe());
    let load = || {
        let args = ["load", "probe.wasm", "--name", "edge", "--sha256", &sha, "--data"];
        eep().args(args).arg(node.data()).current_dir(node.dir.path()).output().unwrap().status.code()
    };
    let codes: Vec<_> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..6).map(|_| scope.spawn(load)).collect();
        all.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(codes.iter().filter(|code| **code == Some(0)).count(), 1, "{codes:?}");
    assert!(codes.iter().all(|code| matches!(code, Some(0 | 1))), "{codes:?}");
    assert_eq!(node.json(&["list"]).as_array().unwrap().len(), 1);
}

#[test]
fn words_of_a_proxylet_do_not_steer_the_terminal() {
    let node = Node::start();
    let sly = crate::guest::with_manifest(&json!({
        "name": "sly", "version": "1\u{1b}[2J", "about": "\u{1b}]0;owned\u{7}", "hint": "\u{1b}[31m",
        "wants": ["net.listen:0", "datagram:*"], "config": {"port": 0}
    }));
    node.file("sly.wasm", &sly);
    let words = [
        node.eep(&["load", "sly.wasm", "--sha256", &digest(&sly)]).done(),
        node.eep(&["status", "sly"]).done(),
        eep()
            .args(["proxylet", "inspect", "sly.wasm"])
            .current_dir(node.dir.path())
            .output()
            .unwrap()
            .stdout
            .iter()
            .map(|b| *b as char)
            .collect(),
    ];
    for words in words {
        assert!(words.contains("sly") && words.contains("\\u{1b}[2J"), "{words}");
        assert!(!words.contains(['\u{1b}', '\u{7}']), "{words:?}");
    }
}

#[test]
fn a_new_build_runs_as_soon_as_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("probe.wasm"), probe()).unwrap();
    let node = Node::over(dir, &["--dev", "--service", "probe.wasm"]);
    assert_eq!(ask(address(&node.said["services"][0]), "Sx", 1), b".");
    node.file("new", &probe_2());
    fs::rename(node.dir.path().join("new"), node.dir.path().join("probe.wasm")).unwrap();
    let new = |_: &u32| node.json(&["status", "probe"])["version"] == "0.2.0";
    assert!((0..10_000).any(|look| new(&look)), "it was not taken over");
    assert_eq!(ask(address(&node.json(&["status", "probe"])), "G", 1), b"x");
}
