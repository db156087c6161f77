//! Decisions on record, and how they are explained.

use eep_tests::peer::SharedFile;
use eep_tests::wait::until;
use eep_tests::wire::Query;
use serde_json::{Value, json};

use super::{Stage, find, search_once};

#[test]
fn rules_in_shadow_are_counted_and_change_nothing() {
    let stage = Stage::set();
    let file = SharedFile::filled("walrus.mp3", 10);
    let (sharing, there) = stage.leaf(&[&file]);
    let (searching, here) = stage.leaf(&[]);
    find(&searching, &here, "walrus");
    stage.apply(
        "  hot: {keywords: [walrus]}",
        "    - {id: hot, mode: shadow, match: {message: [query], content: {in: hot}}, then: drop}",
    );
    assert_eq!(search_once((&searching, &here), (&sharing, &there), "walrus"), (true, true));
    assert!(stage.counted("hot", "drop", true) >= 1.0);
    // What was decided is on record, in a form that can be replayed.
    let tap = stage.node.eep(&["policy", "tap", "edge", "--json"]).done();
    let records: Vec<Value> = tap.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    let shadowed = |r: &&Value| r["shadow"]["rule"] == "hot";
    let record = records.iter().find(shadowed).expect("the shadow verdict is on record");
    assert_eq!((&record["rule"], &record["enforced"]), (&json!("default"), &json!(true)));
    assert_eq!(record["event"]["content"]["text"], "walrus");
    let lines = stage.node.eep(&["policy", "tap", "edge", "--recording"]).done();
    assert_eq!(lines.lines().count(), records.len());
}

#[test]
fn a_decision_on_record_is_explained_by_the_generation_that_made_it() {
    let stage = Stage::set();
    let (searching, here) = stage.leaf(&[]);
    let rules = "    - {id: no-apes, match: {message: [query], content: {in: apes}}, then: drop}\n    \
                 - {id: no-walrus, match: {message: [query], content: {in: hot}}, when: 'message.hops < 9', then: drop}";
    stage.apply("  hot: {keywords: [walrus]}\n  apes: {keywords: [gorilla]}", rules);
    searching.search(&here, &Query::words("walrus")).expect("sent");
    here.ping(searching.fresh_guid());
    let tap = || -> Vec<Value> {
        let lines = stage.node.eep(&["policy", "tap", "edge", "--json"]).done();
        lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    let record = until("its record", || tap().into_iter().find(|record| record["rule"] == "no-walrus"));
    let id = record["id"].as_str().expect("an id");
    let explain = |more: &[&str]| stage.node.eep(&[&["policy", "explain", "edge", "--live"], more].concat());
    let check = || {
        let told = explain(&["--id", id]).done();
        assert!(told.contains(&format!("{id} by generation 1, ")), "{told}");
        assert!(told.contains("access: drop (no-walrus) by rule `no-walrus`"), "{told}");
        assert!(told.contains("p.yaml:11:12) no match: the content is not in `apes`"), "{told}");
        assert!(told.contains("p.yaml:12:12) decided"), "{told}");
        assert!(told.contains("message.hops 0"), "{told}");
    };
    check();
    // Whatever is in force by now.
    stage.apply("", "");
    check();
    let told: Value = serde_json::from_str(&explain(&["--id", id, "--json"]).done()).expect("JSON");
    assert_eq!((&told["generation"], &told["record"]), (&json!(1), &record));
    assert_eq!(told["explanations"][0]["decision"]["rule"], "no-walrus");
    // An event is decided by what is in force now.
    let told = explain(&["{message: query, content: {text: walrus}}"]).done();
    assert!(told.contains("access: allow by the default"), "{told}");
    assert!(explain(&["--id", "1-999999"]).refused().contains("no decision on record has the id `1-999999`"));
    assert!(explain(&["{message: quer}"]).refused().contains("event:1:11"));
}
