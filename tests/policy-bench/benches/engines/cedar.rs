//! Cedar.

use std::fmt::Write as _;

use cedar_policy::{
    Authorizer, Context, Decision, Entities, EntityUid, PolicySet, Request, RestrictedExpression,
};

use crate::scenario::{Given, Scenario};

pub(crate) struct Engine {
    authorizer: Authorizer,
    policies: PolicySet,
    entities: Entities,
    requests: Vec<Request>,
}

fn ranges(prefixes: &[(std::net::Ipv4Addr, u8)]) -> String {
    let each =
        prefixes.iter().map(|(ip, length)| format!("context.address.isInRange(ip(\"{ip}/{length}\"))"));
    each.collect::<Vec<_>>().join(" || ")
}

impl Engine {
    pub(crate) fn new(scenario: &Scenario, given: &[Given]) -> Self {
        let mut text = "permit (principal, action, resource);\n".to_owned();
        for (message, prefixes) in &scenario.by_address {
            let when = ranges(prefixes);
            writeln!(
                text,
                "forbid (principal, action == Action::\"{message}\", resource) when {{ {when} }};"
            )
            .expect("a String");
        }
        for words in &scenario.by_word {
            writeln!(
                text,
                "forbid (principal, action == Action::\"query\", resource) when {{ context.words.containsAny({words:?}) }};"
            )
            .expect("a String");
        }
        for (_, prefixes) in &scenario.by_address[..scenario.by_condition] {
            let when = ranges(prefixes);
            writeln!(
                text,
                "forbid (principal, action == Action::\"push\", resource) \
                 when {{ context.util > 70 && context.hour >= 18 && ({when}) }};"
            )
            .expect("a String");
        }
        let uid = |text: &str| text.parse::<EntityUid>().expect("an entity");
        let request = |given: &Given| {
            let words = given.text.split(' ').map(|w| RestrictedExpression::new_string(w.to_owned()));
            let context = Context::from_pairs([
                ("address".to_owned(), RestrictedExpression::new_ip(given.address.to_string())),
                ("words".to_owned(), RestrictedExpression::new_set(words)),
                ("util".to_owned(), RestrictedExpression::new_long(given.util)),
                ("hour".to_owned(), RestrictedExpression::new_long(given.hour)),
            ]);
            let action = uid(&format!("Action::\"{}\"", given.message));
            let (peer, node) = (uid("Peer::\"p\""), uid("Node::\"n\""));
            Request::new(peer, action, node, context.expect("a context"), None).expect("a request")
        };
        Self {
            authorizer: Authorizer::new(),
            policies: text.parse().expect("policies"),
            entities: Entities::empty(),
            requests: given.iter().map(request).collect(),
        }
    }

    pub(crate) fn allows(&self, n: usize) -> bool {
        let response = self.authorizer.is_authorized(&self.requests[n], &self.policies, &self.entities);
        response.decision() == Decision::Allow
    }
}
