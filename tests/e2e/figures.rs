//! The names of all figures: dashboards and alarms of others stand on them. `EEP_BLESS=1` writes them anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use eep_tests::http;
use eep_tests::loopback::Loopback;
use eep_tests::node::Node;
use eep_tests::peer::{Config, Peer};
use eep_tests::wait::until_true;
use serde_json::json;

/// Each metric: its name, its type and the names of its labels.
fn figures(text: &str) -> String {
    let mut kinds = BTreeMap::new();
    let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a type");
            kinds.insert(name, kind);
        } else if !line.starts_with('#') {
            let (series, _) = line.rsplit_once(' ').expect("a series and a value");
            let (name, rest) = series.split_once('{').unwrap_or((series, ""));
            // A label's name is what stands before `="`; values here have no quotes in them.
            let names = rest.split("=\"").filter_map(|part| part.rsplit(['"', ',', '{']).next());
            let keys = labels.entry(name).or_default();
            keys.extend(names.filter(|n| !n.is_empty() && !n.contains('}')));
        }
    }
    let of = |name: &str| {
        // A histogram's series have endings of their own.
        let keys =
            ["", "_bucket", "_total"].iter().find_map(|end| labels.get(format!("{name}{end}").as_str()));
        keys.map(|k| k.iter().copied().collect::<Vec<_>>().join(",")).unwrap_or_default()
    };
    kinds.iter().map(|(name, kind)| format!("{name} {kind} {}\n", of(name)).replace(" \n", "\n")).collect()
}

#[test]
fn every_figure_keeps_its_name() {
    let net = Loopback::claim();
    let node = Node::start(&net);
    let address = node.load_peer("edge", net.ip(), &json!({ "leaves": 1 }));
    // Some reasons are told from the first time on that there was one.
    let (first, second) = (Peer::start(Config::leaf(net.ip())), Peer::start(Config::leaf(net.ip())));
    let link = first.expect("a port").dial(address.into()).expect("a relation");
    assert!(second.expect("a port").dial(address.into()).is_err(), "one leaf is enough");
    link.close();
    until_true("both in the figures", || {
        let now = node.metrics();
        now.has("avp_ended_total", &[]) && now.has("avp_refused_total", &[])
    });
    let answer = http::get(node.api(), "/metrics").expect("an answer");
    let now = figures(&String::from_utf8_lossy(&answer.body));
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/golden/figures.txt");
    if std::env::var_os("EEP_BLESS").is_some() {
        std::fs::write(&golden, &now).expect("a file of ours");
    }
    let kept = std::fs::read_to_string(&golden).unwrap_or_default();
    assert!(now == kept, "the figures are no longer those of {}:\n{now}", golden.display());
    let unlike: Vec<_> = now.lines().filter(|l| !l.starts_with("eep_") && !l.starts_with("avp_")).collect();
    assert_eq!(unlike, [] as [&str; 0], "names begin with eep_ or avp_");
}
