//! The analysis against brute force over small domains: a rule is dead where no event of a small world is decided by
//! it, and the index finds the rules that `match` names.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::decide::policy::Policy;
use crate::event::{Content, Direction, Event, Link, Message, Peer, Region};
use crate::facts::Facts;
use crate::model::rule::Chain;
use crate::proof::given::Given;

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
  mine: {group: [vip, node]}
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
    let shadow = prop::bool::weighted(0.15);
    (message, direction, peer, content, size, when, shadow).prop_map(
        |(message, direction, peer, content, size, when, shadow)| {
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
            let shadow = if shadow { "mode: shadow, " } else { "" };
            format!("{shadow}{matching}{when}then: deny")
        },
    )
}

/// Events that differ in what [`world`] leaves alike.
fn other_world(mut each: impl FnMut(&Event<'_>)) {
    for message in [Message::Ping, Message::Query, Message::Download] {
        let types = if message.has_content() { &[None, Some("iso"), Some("mp3")][..] } else { &[None] };
        for region in Region::ALL {
            for link in Link::ALL {
                for group in [None, Some("leaf"), Some("vip"), Some("node"), Some("ultrapeer")] {
                    for file_type in types {
                        each(&Event {
                            message,
                            region,
                            link,
                            peer: Peer { group, ..Peer::default() },
                            content: Content { file_type: *file_type, ..Content::default() },
                            ..Event::default()
                        });
                    }
                }
            }
        }
    }
}

fn other_rule() -> impl Strategy<Value = String> {
    let some = |all: &'static [&'static str]| {
        prop::option::weighted(0.5, prop::sample::subsequence(all, 1..all.len()))
            .prop_map(|words| words.map(|w| format!("[{}]", w.join(", "))))
    };
    let message = prop::option::weighted(0.3, prop_oneof![Just("ping"), Just("query")]);
    let group = some(&["leaf", "vip", "node", "ultrapeer"]);
    let peer = prop::option::weighted(0.3, prop_oneof![Just("in: mine"), Just("not-in: mine")]);
    let parts =
        (message, some(&["same", "other", "unknown"]), some(&["good", "congested", "lossy", "unknown"]));
    (parts, group, peer, some(&["iso", "mp3"]), prop::bool::weighted(0.2)).prop_map(
        |((message, region, link), group, peer, types, shadow)| {
            let mut parts = Vec::new();
            parts.extend(message.map(|m| format!("message: {m}")));
            parts.extend(region.map(|r| format!("region: {r}")));
            parts.extend(link.map(|l| format!("link: {l}")));
            parts.extend(group.map(|g| format!("group: {g}")));
            parts.extend(peer.map(|p| format!("peer: {{{p}}}")));
            parts.extend(types.map(|t| format!("content: {{type: {t}}}")));
            let matching =
                if parts.is_empty() { String::new() } else { format!("match: {{{}}}, ", parts.join(", ")) };
            format!("{}{matching}then: deny", if shadow { "mode: shadow, " } else { "" })
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

/// Calls for every event of a world.
type World = fn(&mut dyn FnMut(&Event<'_>));

fn whole(each: &mut dyn FnMut(&Event<'_>)) {
    world(each);
}

fn other(each: &mut dyn FnMut(&Event<'_>)) {
    other_world(each);
}

/// Whether a rule decides where it matches: it is not in shadow, and its condition, if any, holds.
fn bites(rule: &str, cpu: f64) -> bool {
    !rule.contains("mode: shadow") && (cpu > 0.5 || !rule.contains("when:"))
}

/// Rules are added one by one; each is dead exactly where brute force says so, and dead ones are left out.
fn dead_where_nothing_reaches(world: World, all: Vec<String>) -> Result<(), TestCaseError> {
    let mut kept: Vec<String> = Vec::new();
    for next in all {
        let text = policy(&[kept.clone(), vec![next.clone()]].concat());
        let number = kept.len();
        // A condition keeps a rule from covering others, not from being covered; ask for its `match` alone.
        let alone = load(&policy(std::slice::from_ref(&next)));
        let (mut matched, mut reached) = (false, false);
        if let Ok(alone) = &alone {
            let earlier = if kept.is_empty() { None } else { Some(load(&policy(&kept)).unwrap()) };
            world(&mut |event| {
                let covers =
                    |i: usize, p: &Policy| bites(&kept[i], 0.0) && p.matches(Chain::Access, i, event);
                let matches = alone.matches(Chain::Access, 0, event);
                matched |= matches;
                reached |= matches && earlier.as_ref().is_none_or(|p| !(0..number).any(|i| covers(i, p)));
            });
        }
        match load(&text) {
            Ok(_) => {
                prop_assert!(reached, "not found to be dead: r{} in\n{}", number, text);
                kept.push(next);
            }
            Err(dead) => {
                prop_assert!(!reached, "{:?} is not dead in\n{}", dead, text);
                // What can never match is told from what comes too late.
                prop_assert_eq!(alone.is_ok(), matched, "{}", text);
            }
        }
    }
    Ok(())
}

/// As many of some rules as make a policy without dead ones.
fn without_dead(all: Vec<String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for next in all {
        let with = [kept.clone(), vec![next]].concat();
        if load(&policy(&with)).is_ok() {
            kept = with;
        }
    }
    kept
}

/// The index and rule-by-rule matching agree on who decides, and which rule in shadow would have, for every event.
fn index_and_rules_agree(world: World, all: Vec<String>) -> Result<(), TestCaseError> {
    let kept = without_dead(all);
    let Ok(policy) = load(&policy(&kept)) else { return Ok(()) };
    for cpu in [0.1, 0.9] {
        let mut facts = Facts::default();
        facts.set(crate::facts::Fact::CPU, cpu);
        let mut wrong = None;
        world(&mut |event| {
            let matches = |i: &usize| policy.matches(Chain::Access, *i, event);
            let wanted = (0..kept.len()).find(|i| bites(&kept[*i], cpu) && matches(i));
            let holds = |i: &usize| cpu > 0.5 || !kept[*i].contains("when:");
            let shadow = (0..wanted.unwrap_or(kept.len()))
                .find(|i| kept[*i].contains("mode: shadow") && holds(i) && matches(i));
            let name = |i: Option<usize>| i.map(|i| format!("r{i}"));
            let got = policy.decide(Chain::Access, event, &facts);
            if got.rule != name(wanted).as_deref() || got.shadow.map(|s| s.rule) != name(shadow).as_deref() {
                wrong = Some(format!("{event:?}: {got:?}, not {wanted:?} with {shadow:?} in shadow"));
            }
        });
        prop_assert!(wrong.is_none(), "{:?}\n{:?}", wrong, kept);
    }
    Ok(())
}

/// Two policies differ where brute force finds an event on which they do, and what is shown is such an event.
fn differences_are_found(world: World, all: Vec<String>, change: usize) -> Result<(), TestCaseError> {
    let kept = without_dead(all.into_iter().filter(|r| !r.contains("when:")).collect());
    if kept.is_empty() {
        return Ok(());
    }
    let mut other = kept.clone();
    let at = change % kept.len();
    if change.is_multiple_of(2) {
        other.remove(at);
    } else {
        other[at] = other[at].replace("then: deny", "then: {drop: {reason: x}}");
    }
    let (Ok(before), Ok(after)) = (load(&policy(&kept)), load(&policy(&other))) else { return Ok(()) };
    let facts = Facts::default();
    let does = |p: &Policy, event: &Event<'_>| p.decide(Chain::Access, event, &facts).action.to_string();
    let mut differ = false;
    world(&mut |event| differ |= does(&before, event) != does(&after, event));
    let found = crate::proof::diff::diff(&before, &after);
    prop_assert_eq!(differ, !found.is_empty(), "{:?}\n{:?}\n{:?}", kept, other, found);
    for witness in found {
        let given = Given::parse("witness", &witness.event.to_string(), &[]).unwrap();
        let (old, new) = (does(&before, &given.event()), does(&after, &given.event()));
        prop_assert_ne!(&old, &new, "{:?}", witness);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn dead_rules_are_those_that_no_event_reaches(all in prop::collection::vec(rule(), 1..7)) {
        dead_where_nothing_reaches(whole, all)?;
    }

    #[test]
    fn the_index_agrees_with_the_rules(all in prop::collection::vec(rule(), 1..6)) {
        index_and_rules_agree(whole, all)?;
    }

    #[test]
    fn two_policies_differ_where_an_event_shows_it(all in prop::collection::vec(rule(), 1..6), change in 0..12usize) {
        differences_are_found(whole, all, change)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn dead_rules_of_other_dimensions(all in prop::collection::vec(other_rule(), 1..9)) {
        dead_where_nothing_reaches(other, all)?;
    }

    #[test]
    fn the_index_of_other_dimensions(all in prop::collection::vec(other_rule(), 1..9)) {
        index_and_rules_agree(other, all)?;
    }

    #[test]
    fn differences_of_other_dimensions(all in prop::collection::vec(other_rule(), 1..7), change in 0..12usize) {
        differences_are_found(other, all, change)?;
    }
}
