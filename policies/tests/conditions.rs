//! Conditions: what they mean, which are refused, and what they may cost.

#![allow(clippy::unwrap_used)]

use policies::condition::{COST_MAX, Condition};
use policies::event::{Content, Figures, Peer, Scope};
use policies::facts::Fact;
use policies::text::diagnostic::Diagnostic;
use policies::text::node::{Node, Style, Value};
use policies::text::source::{Sources, Span};
use policies::{Event, Facts};
use proptest::prelude::*;

fn compile(text: &str) -> Result<Condition, Box<Diagnostic>> {
    let mut sources = Sources::default();
    let file = sources.add("c", format!("\"{text}\""));
    let value = Value::Scalar(text.to_owned(), Style::Quoted);
    Condition::new(&Node { span: Span::new(file, 0, text.len() + 2), value }, &sources, &["b".to_owned()])
}

/// What a condition comes to: nothing where it has no value.
fn value(text: &str) -> Option<bool> {
    let compiled = compile(text).unwrap_or_else(|e| panic!("{text}: {}", e.message));
    let event = Event {
        peer: Peer { group: Some("leaf"), ..Peer::default() },
        content: Content { text: "Großer Film", bytes: Some(5), ..Content::default() },
        figures: Figures { ttl: Some(7), rtt_ms: Some(30.5), ..Figures::default() },
        ..Event::default()
    };
    let mut facts = Facts::default();
    facts.set(Fact::HOUR, 20.0);
    facts.set(Fact::UPLINK, 0.75);
    compiled.holds(&Scope { event: &event, facts: &facts }).ok()
}

#[test]
fn conditions_mean_what_cel_means() {
    for (text, wanted) in [
        ("node.uplink.util > 0.7 && now.hour >= 18", Some(true)),
        ("now.hour == 20 ? link.rtt_ms < 31.0 : false", Some(true)),
        ("message.ttl - 1 == 6 && -message.ttl == -7", Some(true)),
        ("7 / 2 == 3 && 7 % 2 == 1 && 7.0 / 2.0 == 3.5", Some(true)),
        ("-7 / 2 == -3 && -7 % 2 == -1", Some(true)),
        ("1 + 2 * 3 == 7 && (1 + 2) * 3 == 9 && 10 - 3 - 2 == 5", Some(true)),
        ("now.hour > 19.5 && now.hour < 20.5", Some(true)),
        ("peer.group in ['leaf', 'node'] && !(now.hour in [1, 2])", Some(true)),
        (
            "content.text.startsWith('Gro') && content.text.endsWith('Film') && content.text.contains('er F')",
            Some(true),
        ),
        ("size(content.text) == 11 && content.text.size() == 11", Some(true)),
        ("has(now.hour) && !has(node.cpu) && !has(content.sha1)", Some(true)),
        ("double(message.ttl) + 0.5 == 7.5 && int(link.rtt_ms) == 30", Some(true)),
        ("'a' < 'b' && message.direction == 'inbound'", Some(true)),
        ("true || false && false", Some(true)),
        // An error on one side does not matter where the other decides.
        ("node.cpu > 0.5 || now.hour == 20", Some(true)),
        ("node.cpu > 0.5 && now.hour == 1", Some(false)),
        ("node.cpu > 0.5 && now.hour == 20", None),
        ("!(node.cpu > 0.5)", None),
        ("1 / (now.hour - 20) == 1", None),
        ("1.0 / (link.rtt_ms - 30.5) > 1.0", None),
        ("9223372036854775807 + now.hour > 0", None),
        ("int(1.0e300) > 0", None),
        ("budget.b.used > 0.5", None),
    ] {
        assert_eq!(value(text), wanted, "{text}");
    }
}

#[test]
fn what_does_not_fit_is_refused_at_the_operand() {
    for (text, code, operand) in [
        ("now.hour > '18'", "condition-type", "'18'"),
        ("peer.group == 1", "condition-type", "1"),
        ("now.hour", "condition-type", "now.hour"),
        ("now.hour + 0.5 > 1.0", "condition-type", "now.hour"),
        ("!now.hour", "condition-type", "now.hour"),
        ("true < false", "condition-type", "true"),
        ("now.hour in []", "empty", "[]"),
        ("now.hour in [1, 'a']", "condition-type", "'a'"),
        ("peer.address == '10.0.0.1'", "condition-type", "peer.address"),
        ("message.type == 'quer'", "condition-value", "'quer'"),
        ("now.hour / 0 == 1", "condition-value", "0"),
        ("now.hours > 1", "unknown-fact", "now.hours"),
        ("budget.c.used > 1.0", "unknown-fact", "budget.c.used"),
        ("size(now.hour) > 1", "condition-type", "now.hour"),
        ("lower(content.text) == 'a'", "condition", "lower(content.text)"),
        ("has(1 > 0)", "condition-type", "1 > 0"),
        ("link.loss % 2.0 == 0.0", "condition-type", "link.loss % 2.0"),
        ("now.hour = 3", "condition", "="),
        ("1 < 2 < 3", "condition", "<"),
    ] {
        let told = compile(text).expect_err(text);
        // The place is that of the text in its quotes.
        let at = &text[told.span.start as usize - 1..told.span.end as usize - 1];
        assert_eq!((told.code, at), (code, operand), "{text}: {}", told.message);
        assert!(!told.fix.is_empty(), "{text}");
    }
}

#[test]
fn what_costs_too_much_is_refused() {
    let looks = |n: usize| vec!["content.text.contains('a')"; n].join(" || ");
    assert!(compile(&looks(20)).is_ok());
    assert_eq!(compile(&looks(40)).unwrap_err().code, "condition-cost");
    // The left side of `in` is evaluated for each value of the list.
    let long = |sum: usize, list: usize| {
        format!("{} in [{}]", vec!["now.hour"; sum].join(" + "), vec!["1"; list].join(", "))
    };
    assert!(compile(&long(4, 20)).is_ok());
    assert_eq!(compile(&long(30, 60)).unwrap_err().code, "condition-cost");
    let deep = format!("{}true{}", "(".repeat(200), ")".repeat(200));
    assert_eq!(compile(&deep).unwrap_err().code, "condition-cost");
    assert_eq!(compile(&format!("{}true", "!".repeat(200))).unwrap_err().code, "condition-cost");
    assert_eq!(compile(&"true || ".repeat(400)).unwrap_err().code, "condition");
    let told = compile(&looks(40)).unwrap_err().message;
    assert!(told.contains(&format!("more than {COST_MAX}")), "{told}");
}

/// An expression over whole numbers, with its value as CEL has it; nothing where it has none.
#[derive(Clone, Debug)]
struct Number(String, Option<i64>);

/// A condition with its value.
#[derive(Clone, Debug)]
struct Truth(String, Option<bool>);

fn number() -> impl Strategy<Value = Number> {
    let leaf = prop_oneof![
        (0..20i64).prop_map(|n| Number(n.to_string(), Some(n))),
        Just(Number("now.hour".to_owned(), Some(20))),
        Just(Number("message.ttl".to_owned(), Some(7))),
        Just(Number("content.bytes".to_owned(), Some(5))),
        Just(Number("now.minute".to_owned(), None)),
        Just(Number("9223372036854775807".to_owned(), Some(i64::MAX))),
    ];
    leaf.prop_recursive(3, 12, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone(), 0..5usize).prop_map(|(a, b, how)| {
                let operate = [
                    i64::checked_add,
                    i64::checked_sub,
                    i64::checked_mul,
                    i64::checked_div,
                    i64::checked_rem,
                ][how];
                let value = a.1.zip(b.1).and_then(|(a, b)| operate(a, b));
                Number(format!("({} {} {})", a.0, ["+", "-", "*", "/", "%"][how], b.0), value)
            }),
            inner.prop_map(|a| Number(format!("(-{})", a.0), a.1.and_then(i64::checked_neg))),
        ]
    })
}

fn truth() -> impl Strategy<Value = Truth> {
    let leaf = (number(), number(), 0..6usize).prop_map(|(a, b, how)| {
        let compare: [fn(&i64, &i64) -> bool; 6] = [i64::lt, i64::le, i64::gt, i64::ge, i64::eq, i64::ne];
        let value = a.1.zip(b.1).map(|(a, b)| compare[how](&a, &b));
        Truth(format!("{} {} {}", a.0, ["<", "<=", ">", ">=", "==", "!="][how], b.0), value)
    });
    leaf.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|a| Truth(format!("!({})", a.0), a.1.map(|v| !v))),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| {
                let value = match (a.1, b.1) {
                    (Some(false), _) | (_, Some(false)) => Some(false),
                    (Some(true), Some(true)) => Some(true),
                    _ => None,
                };
                Truth(format!("({}) && ({})", a.0, b.0), value)
            }),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| {
                let value = match (a.1, b.1) {
                    (Some(true), _) | (_, Some(true)) => Some(true),
                    (Some(false), Some(false)) => Some(false),
                    _ => None,
                };
                Truth(format!("({}) || ({})", a.0, b.0), value)
            }),
            (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| {
                let value = a.1.and_then(|a| if a { b.1 } else { c.1 });
                Truth(format!("({}) ? ({}) : ({})", a.0, b.0, c.0), value)
            }),
        ]
    })
}

proptest! {
    #[test]
    fn any_condition_comes_to_what_it_comes_to_by_hand(condition in truth()) {
        match compile(&condition.0) {
            Ok(_) => prop_assert_eq!(value(&condition.0), condition.1, "{}", condition.0),
            // Only for its length, or because of a zero that can be seen.
            Err(told) => prop_assert!(
                told.code == "condition-cost"
                    || told.message == "a division by zero"
                    || condition.0.len() > policies::condition::EXPRESSION_BYTES_MAX,
                "{}: {}", condition.0, told.message
            ),
        }
    }

    #[test]
    fn no_text_is_too_odd_to_be_refused(text in "[a-z0-9.()\\[\\]!&|<>=+*/%?:,' \"é-]{0,60}") {
        // Either it is taken or refused with a place inside the text; nothing else may happen.
        if let Err(told) = compile(&text) {
            prop_assert!(told.span.start <= told.span.end && told.span.end as usize <= text.len() + 2);
        }
    }
}
