//! The analysis against brute force over small domains: a rule is dead where no event of a small world is decided by
//! it, and the index finds the rules that `match` names.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::decide::policy::Policy;
use crate::event::{Content, Direction, Event, Message, Peer};
use crate::facts::Facts;
use crate::model::rule::Chain;

const SETS: &str = "\
sets:
  low: {cidr: [10.0.0.0/31]}
  mid: {cidr: [10.0.0.1, 10.0.0.2]}
  all: {cidr: [10.0.0.0/30]}
  as1: {asn: [1]}
  as12: {asn: [1, 2]}
  bots: {user-agent: [\"bot*\"]}
  both: {user-agent: [\"bot*\", cat]}
  red: {keywords: [red]}
  any: {keywords: [red, blue]}
  file: {sha1: [da39a3ee5e6b4b0d3255bfef95601890afd80709]}
";

/// Every event that the sets and words of these tests can tell apart.
fn world(mut each: impl FnMut(&Event<'_>)) {
    let addresses = [None, Some(0), Some(1), Some(2), Some(3), Some(9)];
    let digest = crate::grammar::lexical::sha1("da39a3ee5e6b4b0d3255bfef95601890afd80709").unwrap();
    let files = [None, Some(digest)].into_iter().flat_map(|d| [None, Some(50), Some(500)].map(|b| (d, b)));
    let files: Vec<_> = files.collect();
    // Kinds that no rule of these tests names are all alike.
    for message in [Message::Connect, Message::Ping, Message::Query, Message::Download, Message::QueryHit] {
        let (files, texts) = if message.has_content() {
            (&files[..], &["", "red", "blue", "red blue"][..])
        } else {
            (&files[..1], &[""][..])
        };
        for direction in Direction::ALL {
            for address in addresses {
                for asn in [None, Some(1), Some(2)] {
                    for user_agent in ["", "bot", "cat"] {
                        for text in texts {
                            for (sha1, bytes) in files.iter().copied() {
                                each(&Event {
                                    message,
                                    direction,
                                    peer: Peer {
                                        address: address.map(|n| [10, 0, 0, n].into()),
                                        asn,
                                        group: None,
                                        user_agent,
                                    },
                                    content: Content { text, sha1, file_type: None, bytes },
                                    ..Event::default()
                                });
                            }
                        }
                    }
                }
            }
        }
    }
}

fn names(all: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::subsequence(all, 1..=2).prop_map(|names| format!("[{}]", names.join(", ")))
}

fn members(all: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop_oneof![
        names(all).prop_map(|n| format!("in: {n}")),
        names(all).prop_map(|n| format!("not-in: {n}")),
        (names(all), names(all)).prop_map(|(a, b)| format!("in: {a}, not-in: {b}")),
    ]
}

fn rule() -> impl Strategy<Value = String> {
    let message = prop::option::of(names(&["connect", "query", "download"]));
    let direction = prop::option::weighted(0.3, prop_oneof![Just("inbound"), Just("outbound")]);
    let peer = prop::option::weighted(0.7, members(&["low", "mid", "all", "as1", "as12", "bots", "both"]));
    let content = prop::option::weighted(0.4, members(&["red", "any", "file"]));
    let size = prop::option::weighted(0.2, prop_oneof![Just("min: 100B"), Just("max: 99B"), Just("min: 0B")]);
    let when = prop::bool::weighted(0.15);
    (message, direction, peer, content, size, when).prop_map(
        |(message, direction, peer, content, size, when)| {
            let mut parts = Vec::new();
            parts.extend(message.map(|m| format!("message: {m}")));
            parts.extend(direction.map(|d| format!("direction: {d}")));
            parts.extend(peer.map(|p| format!("peer: {{{p}}}")));
            let inner: Vec<String> =
                content.into_iter().chain(size.map(|s| format!("size: {{{s}}}"))).collect();
            if !inner.is_empty() {
                parts.push(format!("content: {{{}}}", inner.join(", ")));
            }
            let matching =
                if parts.is_empty() { String::new() } else { format!("match: {{{}}}, ", parts.join(", ")) };
            let when = if when { "when: node.cpu > 0.5, " } else { "" };
            format!("{matching}{when}then: deny")
        },
    )
}

fn policy(rules: &[String]) -> String {
    let rules: String = rules.iter().enumerate().map(|(i, r)| format!("    - {{id: r{i}, {r}}}\n")).collect();
    let empty = if rules.is_empty() { " []" } else { "" };
    format!("policy: eep/v1\nname: t\n{SETS}access:\n  default: allow\n  rules:{empty}\n{rules}")
}

fn load(text: &str) -> Result<Policy, Vec<String>> {
    let files = BTreeMap::from([("p.yaml".to_owned(), text.to_owned())]);
    match Policy::load(&files, "p.yaml", 1) {
        Ok(loaded) => Ok(loaded.policy),
        Err(report) => {
            let of = |f: &crate::text::diagnostic::Diagnostic| {
                assert!(matches!(f.code, "dead-rule" | "contradiction"), "{text}\n{report}");
                f.message.split('`').nth(1).unwrap_or_default().to_owned()
            };
            Err(report.findings.iter().map(of).collect())
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Rules are added one by one; each is dead exactly where brute force says so, and dead ones are left out.
    #[test]
    fn dead_rules_are_those_that_no_event_reaches(all in prop::collection::vec(rule(), 1..7)) {
        let mut kept: Vec<String> = Vec::new();
        for next in all {
            let text = policy(&[kept.clone(), vec![next.clone()]].concat());
            let number = kept.len();
            // A condition keeps a rule from covering others, not from being covered; ask for its `match` alone.
            let alone = load(&policy(std::slice::from_ref(&next)));
            let mut reached = false;
            if let Ok(alone) = &alone {
                let earlier = if kept.is_empty() { None } else { Some(load(&policy(&kept)).unwrap()) };
                world(|event| {
                    let covers = |i: usize, p: &Policy| {
                        !kept[i].contains("when:") && p.matches(Chain::Access, i, event)
                    };
                    reached |= alone.matches(Chain::Access, 0, event)
                        && earlier.as_ref().is_none_or(|p| !(0..number).any(|i| covers(i, p)));
                });
            }
            match load(&text) {
                Ok(_) => {
                    prop_assert!(reached, "not found to be dead: r{number} in\n{text}");
                    kept.push(next);
                }
                Err(dead) => prop_assert!(!reached, "{dead:?} is not dead in\n{text}"),
            }
        }
    }

    /// The index and rule-by-rule matching agree on who decides, for every event.
    #[test]
    fn the_index_agrees_with_the_rules(all in prop::collection::vec(rule(), 1..6)) {
        let mut kept: Vec<String> = Vec::new();
        for next in all {
            let with = [kept.clone(), vec![next]].concat();
            if load(&policy(&with)).is_ok() {
                kept = with;
            }
        }
        let Ok(policy) = load(&policy(&kept)) else { return Ok(()) };
        for cpu in [0.1, 0.9] {
            let mut facts = Facts::default();
            facts.set(crate::facts::Fact::CPU, cpu);
            let mut wrong = None;
            world(|event| {
                let decides = |i: &usize| {
                    policy.matches(Chain::Access, *i, event) && (cpu > 0.5 || !kept[*i].contains("when:"))
                };
                let wanted = (0..kept.len()).find(decides).map(|i| format!("r{i}"));
                let got = policy.decide(Chain::Access, event, &facts);
                if got.rule != wanted.as_deref() {
                    wrong = Some(format!("{event:?}: {:?}, not {wanted:?}", got.rule));
                }
            });
            prop_assert!(wrong.is_none(), "{wrong:?}\n{kept:?}");
        }
    }
}
