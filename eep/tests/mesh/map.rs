//! Nodes find each other, and everyone's map shows the same.

use serde_json::{Value, json};

use crate::node::{Domain, Node, curl, done, until};

fn all_see(nodes: &[&Node], names: &[&str]) {
    let links = names.len() * (names.len() - 1) / 2;
    for node in nodes {
        until(&format!("a map of {names:?} with {links} links"), || {
            let (on_map, edges) = node.map();
            (on_map == names && edges == links).then_some(())
        });
    }
}

#[test]
fn five_nodes_become_one_mesh() {
    let domain = Domain::new("isp-a");
    let a = domain.node_with("edge-a", json!({ "prefixes": ["10.1.0.0/16"] }));
    let seed = [a.mesh()];
    let b =
        domain.node_with("edge-b", json!({ "seeds": [a.mesh().to_string()], "prefixes": ["10.0.0.0/8"] }));
    let c = domain.node("edge-c", &seed);
    let d = domain.node("edge-d", &[b.mesh()]);
    let e = domain.node("edge-e", &seed);
    let names = ["edge-a", "edge-b", "edge-c", "edge-d", "edge-e"];
    all_see(&[&a, &b, &c, &d, &e], &names);

    // On loopback all are near each other: one region, and whoever asks is told the same.
    until("one region of all", || {
        let regions = d.json(&["topology", "regions"]);
        let members = regions["regions"][0]["members"].as_array()?.len();
        (regions["regions"].as_array()?.len() == 1 && members == 5).then_some(())
    });

    // By name, by id, by the first digits of one, at random.
    for what in ["edge-d", "edge-d@isp-a", &d.id(), &d.id()[..12]] {
        // What a node is called is asked of it, and an answer that comes late is none.
        until(what, || {
            let found = c.answer(&["topology", "find", what])?;
            (found["nodes"][0]["id"] == d.id()).then_some(())
        });
    }
    let random = until("a node at random", || c.answer(&["topology", "find", "random"]));
    assert!(names.contains(&random["nodes"][0]["name"].as_str().unwrap_or("edge-a")), "{random}");
    let refused = c.eep(&["topology", "find", "edge-z"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no node \"edge-z\" was found"));

    let route = until("two routes", || {
        let route = c.answer(&["topology", "route", "edge-d", "--count", "2"])?;
        (route["routes"].as_array()?.len() == 2).then_some(route)
    });
    for way in route["routes"].as_array().unwrap() {
        let nodes = way["nodes"].as_array().unwrap();
        assert_eq!(
            (&nodes[0]["id"], &nodes[nodes.len() - 1]["id"]),
            (&json!(c.id()), &json!(d.id())),
            "{route}"
        );
    }
    let told = until("edge-d's own words", || c.answer(&["topology", "node", "edge-d"]));
    assert_eq!((&told["node"]["id"], &told["facts"]["domain"]), (&json!(d.id()), &json!("isp-a")), "{told}");

    // The longest prefix decides; where no node serves it, all are candidates.
    let nearest = |cidr: &str, is: &dyn Fn(&Value) -> bool| {
        until(cidr, || is(&e.answer(&["topology", "nearest", cidr])?["nodes"]).then_some(()));
    };
    nearest("10.1.2.0/24", &|nodes| nodes[0]["name"] == "edge-a");
    nearest("10.2.0.1", &|nodes| nodes[0]["name"] == "edge-b");
    nearest("192.0.2.1", &|nodes| nodes.as_array().is_some_and(|nodes| nodes.len() == 5));

    let alto = |path: &str| -> Value {
        serde_json::from_str(&curl(&format!("{}/alto/{path}", e.api()), None)).unwrap()
    };
    let directory = alto("directory");
    assert_eq!(directory["resources"]["mesh-network-map"]["uri"], "/alto/networkmap");
    until("both maps", || {
        let (map, costs) = (alto("networkmap"), alto("costmap"));
        let of_one_network = costs["meta"]["dependent-vtags"][0] == map["meta"]["vtag"];
        let served = map["network-map"]["edge-b@isp-a"]["ipv4"][0] == "10.0.0.0/8";
        let cost = costs["cost-map"]["edge-a@isp-a"]["edge-b@isp-a"].as_f64()?;
        (of_one_network && served && cost > 0.0).then_some(())
    });
    let asked = json!({
        "cost-type": {"cost-mode": "ordinal", "cost-metric": "routingcost"},
        "endpoints": {"srcs": ["ipv4:10.1.0.1"], "dsts": ["ipv4:10.1.0.2", "ipv4:10.9.9.9"]},
    });
    until("the order of two endpoints", || {
        let answer = curl(&format!("{}/alto/endpointcost", e.api()), Some(&asked.to_string()));
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let wanted = json!({"ipv4:10.1.0.2": 1, "ipv4:10.9.9.9": 2});
        (answer["endpoint-cost-map"]["ipv4:10.1.0.1"] == wanted).then_some(())
    });
    let wrong = curl(&format!("{}/alto/endpointcost", e.api()), Some("{\"endpoints\": {}}"));
    assert_eq!(wrong, r#"{"meta":{"code":"E_MISSING_FIELD"}}"#);

    alto_is_spoken_as_it_is_written(&e);
    for verb in [
        &["map"][..],
        &["regions"],
        &["route", "edge-d"],
        &["node", "edge-d"],
        &["nearest", "10.1.2.0/24"],
        &["find", "edge-d"],
    ] {
        // `answer` reads JSON.
        until(verb[0], || e.answer(&[&["topology"], verb].concat()).filter(Value::is_object));
    }

    // Killed without warning, it goes from the map; started again, it is the same node.
    let (id, left) = (b.id(), b.kill());
    all_see(&[&a, &c, &d, &e], &["edge-a", "edge-c", "edge-d", "edge-e"]);
    let b = Node::over(left);
    assert_eq!(b.id(), id);
    all_see(&[&a, &b, &c, &d, &e], &names);
    let shown = done(&a.eep(&["topology", "map"]));
    assert!(shown.starts_with("edge-a@isp-a at 127.0.0.1:"), "{shown}");
}

/// Media types and errors of RFC 7285 (sections 8.5.2, 11.5.1.3 and 14).
fn alto_is_spoken_as_it_is_written(node: &Node) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ask = |path: &str, body: Option<&str>| {
        runtime.block_on(async {
            let (client, url) = (reqwest::Client::new(), format!("{}/alto/{path}", node.api()));
            let params = "application/alto-endpointcostparams+json";
            let request = match body {
                Some(body) => client.post(url).header("content-type", params).body(body.to_owned()),
                None => client.get(url),
            };
            let answer = request.send().await.unwrap();
            let media = answer.headers()["content-type"].to_str().unwrap().to_owned();
            (
                answer.status().as_u16(),
                media,
                serde_json::from_str::<Value>(&answer.text().await.unwrap()).unwrap(),
            )
        })
    };
    for (path, media) in [("directory", "directory"), ("networkmap", "networkmap"), ("costmap", "costmap")] {
        let (status, told, _) = ask(path, None);
        assert_eq!((status, told), (200, format!("application/alto-{media}+json")));
    }
    let kind = r#""cost-type": {"cost-mode": "numerical", "cost-metric": "routingcost"}"#;
    let of = |rest: &str| format!("{{{kind}, {rest}}}");
    let error = |body: &str, code: &str, field: Value| {
        let (status, media, told) = ask("endpointcost", Some(body));
        assert_eq!((status, media.as_str()), (400, "application/alto-error+json"), "{body}");
        assert_eq!((&told["meta"]["code"], &told["meta"]["field"]), (&json!(code), &field), "{body}: {told}");
    };
    error("{", "E_SYNTAX", Value::Null);
    error(r#"{"endpoints": {"dsts": ["ipv4:10.1.0.1"]}}"#, "E_MISSING_FIELD", Value::Null);
    error(&of(r#""endpoints": {}"#), "E_MISSING_FIELD", json!("endpoints"));
    error(&of(r#""endpoints": {"dsts": "ipv4:10.1.0.1"}"#), "E_INVALID_FIELD_TYPE", Value::Null);
    error(&of(r#""endpoints": {"dsts": ["10.1.0.1"]}"#), "E_INVALID_FIELD_VALUE", json!("endpoints/dsts"));
    let constrained = of(r#""endpoints": {"dsts": ["ipv4:10.1.0.1"]}, "constraints": ["lt 5"]"#);
    error(&constrained, "E_INVALID_FIELD_VALUE", json!("constraints"));
    let other = r#"{"cost-type": {"cost-mode": "numerical", "cost-metric": "hopcount"}, "endpoints": {"dsts": ["ipv4:10.1.0.1"]}}"#;
    error(other, "E_INVALID_FIELD_VALUE", json!("cost-type/cost-metric"));

    // Who names one side only is the other.
    for named in ["srcs", "dsts"] {
        until("costs from and to this machine", || {
            let (status, media, told) =
                ask("endpointcost", Some(&of(&format!(r#""endpoints": {{"{named}": ["ipv4:10.1.0.1"]}}"#))));
            assert_eq!((status, media.as_str()), (200, "application/alto-endpointcost+json"));
            let (from, to) = match named {
                "srcs" => ("ipv4:10.1.0.1", "ipv4:127.0.0.1"),
                _ => ("ipv4:127.0.0.1", "ipv4:10.1.0.1"),
            };
            told["endpoint-cost-map"][from][to].as_f64()
        });
    }
}

#[test]
fn domains_that_trust_each_other_are_one_mesh() {
    let (isp_a, isp_b) = (Domain::new("isp-a"), Domain::new("isp-b"));
    let a = isp_a.node_with("edge", json!({ "trust": [isp_b.ca()] }));
    let b = isp_b.node_with(
        "edge",
        json!({ "seeds": [a.mesh().to_string()], "trust": [{"ca": isp_a.ca(), "may": []}] }),
    );
    all_see(&[&a, &b], &["edge", "edge"]);
    let told = until("its own words", || b.answer(&["topology", "node", "edge@isp-a"]));
    assert_eq!(told["facts"]["domain"], "isp-a", "{told}");
    // Nothing but upkeep travels between them: their link is tried out.
    until("the throughput of the link", || {
        let kbps = a.ask("/v1/topology/map").unwrap()["links"][0]["throughput_kbps"].as_u64();
        kbps.filter(|kbps| *kbps > 0)
    });
    let links = done(&a.eep(&["topology", "map", "--by", "throughput"]));
    let row: Vec<&str> = links.lines().nth(1).unwrap().split_whitespace().collect();
    assert!(links.starts_with("FROM ") && row[3].parse::<f64>().unwrap() > 0.0, "{links}");
}

#[test]
fn a_node_without_a_mesh_says_how_to_get_one() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("eep.yaml"), "node: {data: data}\nlisten: {api: \"127.0.0.1:0\"}\n")
        .unwrap();
    let node = Node::over(dir);
    let told = node.eep(&["topology", "map"]);
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(told.contains("this node is in no mesh") && told.contains("eep init"), "{told}");
}
