//! Rego.

use std::collections::BTreeMap;

use regorus::{CompiledPolicy, Value};
use serde_json::json;

use crate::scenario::{Given, Scenario};

/// The first line that fits decides; words are looked up, prefixes are tried one by one, as Rego has no set of them.
const POLICY: &str = "\
package access

default allow := true

allow := false if {
    some prefix in data.by_address[input.message]
    net.cidr_contains(prefix, input.address)
}

allow := false if {
    input.message == \"query\"
    some word in input.words
    data.by_word[word]
}

allow := false if {
    input.message == \"push\"
    input.util > 70
    input.hour >= 18
    some prefix in data.by_condition
    net.cidr_contains(prefix, input.address)
}
";

pub(crate) struct Engine {
    policy: CompiledPolicy,
    inputs: Vec<Value>,
}

impl Engine {
    pub(crate) fn new(scenario: &Scenario, given: &[Given]) -> Self {
        let shown = |prefixes: &[(std::net::Ipv4Addr, u8)]| -> Vec<String> {
            prefixes.iter().map(|(ip, length)| format!("{ip}/{length}")).collect()
        };
        let mut by_address: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (message, prefixes) in &scenario.by_address {
            by_address.entry(message).or_default().extend(shown(prefixes));
        }
        let rule =
            |(n, words): (usize, &Vec<String>)| words.iter().map(move |w| (w.clone(), n)).collect::<Vec<_>>();
        let by_word: BTreeMap<String, usize> = scenario.by_word.iter().enumerate().flat_map(rule).collect();
        let conditions = &scenario.by_address[..scenario.by_condition];
        let by_condition: Vec<String> = conditions.iter().flat_map(|(_, prefixes)| shown(prefixes)).collect();
        let data = json!({"by_address": by_address, "by_word": by_word, "by_condition": by_condition});
        let value = |json: &serde_json::Value| Value::from_json_str(&json.to_string()).expect("a value");
        let mut engine = regorus::Engine::new();
        engine.add_policy("access.rego".to_owned(), POLICY.to_owned()).expect("a policy");
        engine.add_data(value(&data)).expect("data");
        let policy = engine.compile_with_entrypoint(&"data.access.allow".into()).expect("an entry point");
        let input = |given: &Given| {
            let words: Vec<&str> = given.text.split(' ').collect();
            value(&json!({"message": given.message, "address": given.address.to_string(), "words": words,
                "util": given.util, "hour": given.hour}))
        };
        Self { policy, inputs: given.iter().map(input).collect() }
    }

    pub(crate) fn allows(&self, n: usize) -> bool {
        self.policy.eval_with_input(self.inputs[n].clone()).expect("a decision") == Value::from(true)
    }
}
