//! What decisions say, and what alarms and budgets do, as a node meets them.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use policies::event::{Content, Figures, Message, Peer, Scope};
use policies::facts::Fact;
use policies::model::alarm::State;
use policies::model::topology::Adjust;
use policies::{Action, Chain, Event, Facts, Policy};

fn load(text: &str) -> Policy {
    let files = BTreeMap::from([("p.yaml".to_owned(), format!("policy: eep/v1\nname: p\n{text}"))]);
    Policy::load(&files, "p.yaml", 7).unwrap_or_else(|report| panic!("{report}")).policy
}

fn from(address: [u8; 4]) -> Event<'static> {
    Event { peer: Peer { address: Some(address.into()), ..Peer::default() }, ..Event::default() }
}

#[test]
fn a_decision_says_what_it_rests_on() {
    let policy = load(
        "sets: {bad: {cidr: [192.0.2.0/24]}}\n\
         access:\n  default: allow\n  rules:\n\
         \x20   - {id: bad, match: {peer: {in: bad}}, then: deny}\n\
         \x20   - {id: late, mode: shadow, match: {message: connect}, when: now.hour >= 18, then: {deny: {reason: late}}}\n",
    );
    let mut facts = Facts::default();
    facts.set(Fact::HOUR, 20.0);
    let bad = policy.decide(Chain::Access, &from([192, 0, 2, 1]), &facts);
    assert_eq!((bad.generation, bad.chain, bad.rule_or_default()), (7, Chain::Access, "bad"));
    assert_eq!(
        (bad.action, bad.enforced, bad.shadow),
        (&Action::Deny { reason: "bad".to_owned() }, true, None)
    );
    // Rules after the one that decided were not looked at.
    assert_eq!(bad.facts.iter().collect::<Vec<_>>(), [Fact::ADDRESS]);
    let other = policy.decide(Chain::Access, &from([198, 51, 100, 1]), &facts);
    assert_eq!((other.rule, other.action), (None, &Action::Allow));
    assert_eq!(other.shadow.unwrap().rule, "late");
    assert!(other.facts.contains(Fact::HOUR));
    let json = other.json(policy.budget_names());
    assert_eq!((&json["rule"], &json["shadow"]["rule"]), (&"default".into(), &"late".into()));
}

#[test]
fn a_whole_policy_in_shadow_decides_and_enforces_nothing() {
    let policy = load("mode: shadow\naccess: {default: {deny: {reason: closed}}}\n");
    let decision = policy.decide(Chain::Access, &Event::default(), &Facts::default());
    assert!(policy.is_shadow() && !decision.enforced);
    assert_eq!(decision.action.name(), "deny");
}

#[test]
fn a_condition_without_a_value_does_what_the_rule_says() {
    let rule = |fail: &str| {
        load(&format!(
            "access:\n  default: allow\n  rules:\n    - {{id: busy, when: node.cpu > 0.9,{fail} then: {{drop: {{reason: busy}}}}}}\n"
        ))
    };
    let nothing = Facts::default();
    let closed = rule("");
    let refused = closed.decide(Chain::Access, &Event::default(), &nothing);
    assert_eq!(refused.action, &Action::Deny { reason: "condition-failed".to_owned() });
    let failed = refused.failed.unwrap();
    assert_eq!((failed.rule, failed.why.words(&[]).as_str()), ("busy", "`node.cpu` is not known"));
    let open = rule(" fail: open,");
    let passed = open.decide(Chain::Access, &Event::default(), &nothing);
    assert_eq!((passed.action, passed.rule), (&Action::Allow, None));
    assert!(passed.failed.is_some(), "it is told all the same");
    // A condition is not looked at where `match` does not hold.
    let narrow = load(
        "access:\n  default: allow\n  rules:\n    - {id: busy, match: {message: ping}, when: node.cpu > 0.9, then: deny}\n",
    );
    let elsewhere = narrow.decide(Chain::Access, &Event::default(), &nothing);
    assert_eq!((elsewhere.failed, elsewhere.facts.contains(Fact::CPU)), (None, false));
    let mut idle = Facts::default();
    idle.set(Fact::CPU, 0.1);
    assert!(closed.decide(Chain::Access, &Event::default(), &idle).failed.is_none());
}

const TRAFFIC: &str = "sets:\n  transit: {asn: [64500]}\n  own: {cidr: [10.0.0.0/8]}\n\
    traffic:\n  classes: {fast: {dscp: ef, rate: 1mbit, ceil: 2mbit}, slow: {dscp: le, rate: 1mbit, ceil: 2mbit}}\n\
    \x20 default: {class: fast}\n\
    \x20 rules:\n    - {id: files, match: {message: download}, then: {class: fast}}\n\
    \x20 budgets:\n    month: {peers: transit, volume: 40TiB, per: 30d, then: {class: slow}}\n\
    \x20   own-day: {peers: own, volume: 1GiB, per: 1d, then: {deny: {reason: quota}}}\n\
    alarms:\n  - {id: soon, when: budget.month.used > 0.8, for: 10m, severity: warning}\n";

#[test]
fn budgets_hold_before_rules_once_they_are_used_up() {
    let policy = load(TRAFFIC);
    let budgets = policy.budgets();
    assert_eq!((budgets[0].volume_bytes, budgets[0].per_s), (40 << 40, 30.0 * 86_400.0));
    let mut event = Event { message: Message::Download, ..from([10, 0, 0, 1]) };
    event.peer.asn = Some(64_500);
    assert_eq!(policy.counts_against(&event).collect::<Vec<_>>(), [0, 1], "a peer counts against both");
    assert_eq!(policy.counts_against(&from([192, 0, 2, 1])).count(), 0);
    let class = |month: f64, day: f64| {
        let mut facts = Facts::default();
        facts.set(Fact::budget(0), month);
        facts.set(Fact::budget(1), day);
        let decision = policy.decide(Chain::Traffic, &event, &facts);
        (decision.rule_or_default().to_owned(), decision.action.to_string())
    };
    assert_eq!(class(0.99, 0.0), ("files".to_owned(), "class fast".to_owned()));
    assert_eq!(class(1.0, 0.0), ("budget:month".to_owned(), "class slow".to_owned()));
    assert_eq!(class(0.5, 1.5), ("budget:own-day".to_owned(), "deny (quota)".to_owned()));
    // While nobody has counted yet, nothing is taken for used up.
    assert_eq!(policy.decide(Chain::Traffic, &event, &Facts::default()).rule, Some("files"));
}

#[test]
fn alarms_are_raised_after_their_time_and_end_with_their_cause() {
    let policy = load(TRAFFIC);
    let alarm = &policy.alarms()[0];
    let event = Event::default();
    let look = |state: State, now_s: f64, used: Option<f64>| {
        let mut facts = Facts::default();
        if let Some(used) = used {
            facts.set(Fact::budget(0), used);
        }
        alarm.look(state, now_s, &Scope { event: &event, facts: &facts })
    };
    let quiet = look(State::Quiet, 0.0, Some(0.5)).unwrap();
    assert_eq!(quiet, State::Quiet);
    let pending = look(quiet, 100.0, Some(0.9)).unwrap();
    assert_eq!(pending, State::Pending { since_s: 100.0 });
    assert_eq!(look(pending, 699.0, Some(0.9)).unwrap(), pending);
    // What is not known changes nothing, and is told.
    assert!(look(pending, 700.0, None).is_err());
    let raised = look(pending, 700.0, Some(0.9)).unwrap();
    assert_eq!(raised, State::Raised { since_s: 100.0 });
    assert_eq!(look(raised, 800.0, Some(0.1)).unwrap(), State::Quiet);
    assert_eq!(look(pending, 800.0, Some(0.8)).unwrap(), State::Quiet, "not more than 0.8");
}

#[test]
fn the_topology_is_told_in_numbers() {
    let policy = load(
        "topology: {degree: {min: 4, target: 8, max: 12}, path-length: {max: 5}, link-cost: \"rtt_ms + 200.0 * link.util\"}\n",
    );
    assert_eq!(policy.degree().unwrap().adjust(2), Adjust::Seek(6));
    assert_eq!(policy.path_length_max(), Some(5));
    let figures = Figures { rtt_ms: Some(30.0), util: Some(0.5), ..Figures::default() };
    let event = Event { figures, ..Event::default() };
    let facts = Facts::default();
    let cost = policy.link_cost().unwrap();
    assert_eq!(cost.value(&Scope { event: &event, facts: &facts }), Ok(130.0));
    assert!(cost.value(&Scope { event: &Event::default(), facts: &facts }).is_err());
}

#[test]
fn a_chain_of_which_the_policy_does_not_speak_changes_nothing() {
    let policy = load("access: {default: deny}\n");
    let event = Event { content: Content { text: "debian", ..Content::default() }, ..Event::default() };
    let does = |chain| policy.decide(chain, &event, &Facts::default()).action.to_string();
    assert!(policy.speaks_of(Chain::Access) && !policy.speaks_of(Chain::Routing));
    assert_eq!(does(Chain::Access), "deny (default)");
    assert_eq!(does(Chain::Routing), "forward to 255, ttl 7");
    assert_eq!((does(Chain::Cache), does(Chain::Traffic)), ("pass".to_owned(), "unclassed".to_owned()));
}
