//! What the peers say of their settings is what the shell reads.

use std::collections::BTreeSet;

use avp::Config;
use serde_json::Value;

/// What `eep` checks a configuration against is what the peer reads.
#[test]
fn the_manifests_describe_every_setting_and_its_default() {
    described(include_str!("../../gnutella-peer/proxylet.json"));
    described(include_str!("../../examples/directed-search/proxylet.json"));
}

fn described(manifest: &str) {
    let manifest: Value = serde_json::from_str(manifest).expect("the manifest is JSON");
    let described = manifest["schema"]["properties"].as_object().expect("properties");
    let Value::Object(settings) = serde_json::to_value(Config::default()).expect("JSON") else {
        panic!("a configuration is an object")
    };
    let names = |map: &serde_json::Map<String, Value>| map.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(described), names(&settings));
    for (name, property) in described {
        if let Some(default) = property.get("default") {
            assert_eq!(default, &settings[name], "{name}");
        }
    }
    let config: Config = serde_json::from_value(manifest["config"].clone()).expect("a configuration");
    assert_eq!(config.validate(), Ok(()));
}
