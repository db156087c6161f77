//! Whatever a file looks like: formatting it twice is formatting it once, and changes neither its meaning nor a word
//! of its comments.

use proptest::prelude::*;

use super::{format, same, words};
use crate::text::node::parse;

fn told(text: &str) -> String {
    format("p.yaml", text).unwrap_or_else(|report| panic!("{report}\n{text}"))
}

fn holds(text: &str) -> Result<(), TestCaseError> {
    let before = parse(text, 0).map_err(|e| TestCaseError::fail(format!("{}\n{text}", e.message)))?;
    let once = match format("p.yaml", text) {
        Ok(once) => once,
        Err(report) => return Err(TestCaseError::fail(format!("{report}\n{text}"))),
    };
    let after = parse(&once, 0).map_err(|e| TestCaseError::fail(format!("{}\n{once}", e.message)))?;
    prop_assert!(same(&before.root, &after.root), "{text}\n---\n{once}");
    prop_assert_eq!(words(&before), words(&after), "{}\n---\n{}", text, once);
    prop_assert_eq!(told(&once), once.clone(), "twice is not once:\n{}", text);
    Ok(())
}

#[test]
fn keys_are_put_in_order_and_comments_stay_with_them() {
    let text = "\
# yaml-language-server: $schema=x.json
# The policy of ISP A.

name:   isp-a   # short
policy: eep/v1


access:

    rules:
        # Abusers first.
        - then: {deny: {reason: abuse}}   # out
          match: { peer: {in: [ abusers,
              bots ]}}

          # Known everywhere.
          id: no-abusers
        # No more rules.
    default: allow
sets:
  abusers: {cidr: [10.0.0.0/8, # ours
    192.0.2.0/24]}
  bots: {user-agent: [\"bot*\"]}
# The end.
";
    let wanted = "\
# yaml-language-server: $schema=x.json
# The policy of ISP A.

policy: eep/v1
name: isp-a  # short
sets:
  abusers:
    cidr:
      - 10.0.0.0/8  # ours
      - 192.0.2.0/24
  bots: {user-agent: [\"bot*\"]}

access:
  default: allow
  rules:
    # Abusers first.
    # Known everywhere.
    - id: no-abusers
      match: {peer: {in: [abusers, bots]}}
      then: {deny: {reason: abuse}}  # out
    # No more rules.
# The end.
";
    assert_eq!(told(text), wanted);
    assert_eq!(told(wanted), wanted);
}

#[test]
fn what_does_not_fit_a_line_is_broken_up() {
    let many: Vec<String> = (0..30).map(|n| format!("10.0.{n}.0/24")).collect();
    let text = format!("policy: eep/v1\nsets: {{a: {{cidr: [{}]}}}} # long\n", many.join(","));
    let once = told(&text);
    assert!(
        once.starts_with("policy: eep/v1\nsets:  # long\n  a:\n    cidr:\n      - 10.0.0.0/24\n"),
        "{once}"
    );
    assert_eq!(told(&once), once);
}

#[test]
fn texts_of_several_lines_are_kept() {
    let text = "policy: eep/v1\nabout: >-\n      two\n      lines\n\n      and more\nname: p\n\
        access: {default: allow, rules: [{id: a, when: 'now.hour > 1 &&\n   now.hour < 3', then: deny}]}\n";
    let wanted = "policy: eep/v1\nname: p\nabout: >-\n  two\n  lines\n\n  and more\n\
        access: {default: allow, rules: [{id: a, when: \"now.hour > 1 && now.hour < 3\", then: deny}]}\n";
    assert_eq!(told(text), wanted);
    assert!(
        holds(
            "about: |\n    \"one\n     two\\\n\nname: p\naccess:\n  - >-  # c\n   x\n\n   y\n  - |\n\n   z\n"
        )
        .is_ok()
    );
    assert!(holds("policy: eep/v1\nabout: |2\n   indented\nname: p\n").is_ok());
    assert!(holds("policy: eep/v1\nabout: |+\n  kept\n\nname: p\n").is_ok());
}

#[test]
fn what_is_no_policy_is_refused_with_its_place() {
    let told = |text: &str| format("p.yaml", text).unwrap_err().render(false);
    assert!(told("a: [1\n").contains("p.yaml:"), "{}", told("a: [1\n"));
    assert!(told("- a\n").contains("a mapping must stand here"));
    assert!(told("").contains("a mapping must stand here"));
}

/// A tree and how it is written.
#[derive(Clone, Debug)]
enum Written {
    Word(&'static str),
    Map(Vec<(&'static str, Self, Noise)>, bool),
    List(Vec<(Self, Noise)>, bool),
}

/// What stands around an entry.
#[derive(Clone, Debug)]
struct Noise {
    blanks: usize,
    above: Option<u8>,
    /// How far the comment above is moved to the right.
    shift: usize,
    beside: Option<u8>,
}

const KEYS: [&str; 12] = [
    "policy",
    "name",
    "access",
    "default",
    "rules",
    "id",
    "match",
    "peer",
    "in",
    "then",
    "zebra",
    "\"quo ted\"",
];

fn noise() -> impl Strategy<Value = Noise> {
    let comment = || prop::option::weighted(0.25, any::<u8>());
    (prop_oneof![4 => Just(0usize), 1 => 1..3usize], comment(), 0..5usize, comment())
        .prop_map(|(blanks, above, shift, beside)| Noise { blanks, above, shift, beside })
}

fn written() -> impl Strategy<Value = Written> {
    let word =
        prop::sample::select(vec!["allow", "4", "\"a: b\"", "'it''s'", "10.0.0.0/8", "a b c", "~", "x#y"]);
    let leaf = word.prop_map(Written::Word);
    leaf.prop_recursive(4, 40, 5, |inner| {
        let keys = prop::sample::subsequence(KEYS.to_vec(), 1..5).prop_shuffle();
        let map = (keys, prop::collection::vec((inner.clone(), noise()), 5), any::<bool>()).prop_map(
            |(keys, values, flow)| {
                let entries = keys.into_iter().zip(values).map(|(key, (value, noise))| (key, value, noise));
                Written::Map(entries.collect(), flow)
            },
        );
        let list =
            (prop::collection::vec((inner, noise()), 0..5), any::<bool>()).prop_map(|(items, flow)| {
                let flow = flow || items.is_empty();
                Written::List(items, flow)
            });
        prop_oneof![map, list]
    })
}

/// Writes a value in flow style; a comment ends the line.
fn flow(out: &mut String, value: &Written, comments: bool, indent: usize) {
    let beside = |out: &mut String, noise: &Noise| {
        if let Some(n) = noise.beside.filter(|_| comments) {
            *out += &format!(" # f{n}\n{}", " ".repeat(indent));
        }
    };
    match value {
        Written::Word(word) => *out += word,
        Written::Map(entries, _) => {
            *out += "{";
            for (key, value, noise) in entries {
                *out += &format!("{key}: ");
                flow(out, value, comments, indent);
                *out += ", ";
                beside(out, noise);
            }
            *out += "}";
        }
        Written::List(items, _) => {
            *out += "[ ";
            for (value, noise) in items {
                flow(out, value, comments, indent);
                *out += " ,";
                beside(out, noise);
            }
            *out += "]";
        }
    }
}

fn above(out: &mut String, noise: &Noise, indent: usize) {
    *out += &"\n".repeat(noise.blanks);
    if let Some(n) = noise.above {
        *out += &format!("{}#a{n}\n", " ".repeat(indent + noise.shift));
    }
}

fn block(out: &mut String, value: &Written, indent: usize, step: usize) {
    match value {
        Written::Map(entries, false) => {
            for (key, value, noise) in entries {
                above(out, noise, indent);
                *out += &format!("{}{key}:", " ".repeat(indent));
                under(out, value, noise, indent, step);
            }
        }
        Written::List(items, false) => {
            for (value, noise) in items {
                above(out, noise, indent);
                *out += &format!("{}-", " ".repeat(indent));
                under(out, value, noise, indent, step);
            }
        }
        other => {
            *out += &" ".repeat(indent);
            flow(out, other, true, indent + step);
            out.push('\n');
        }
    }
}

fn under(out: &mut String, value: &Written, noise: &Noise, indent: usize, step: usize) {
    let beside = noise.beside.map_or(String::new(), |n| format!("   # b{n}"));
    match value {
        Written::Map(_, false) | Written::List(_, false) => {
            *out += &format!("{beside}\n");
            block(out, value, indent + step, step);
        }
        inline => {
            *out += "  ";
            flow(out, inline, noise.shift > 2, indent + step);
            *out += &format!("{beside}\n");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn formatting_twice_is_formatting_once(
        entries in prop::collection::vec((written(), noise()), 1..5),
        step in 1..5usize,
        end in prop::option::of((0..6usize, any::<u8>())),
    ) {
        let keys = ["sets", "name", "policy", "access", "zebra"];
        let entries = keys.into_iter().zip(entries).map(|(key, (value, noise))| (key, value, noise)).collect();
        let mut text = String::new();
        block(&mut text, &Written::Map(entries, false), 0, step);
        if let Some((indent, n)) = end {
            text += &format!("\n{}# e{n}\n", " ".repeat(indent));
        }
        holds(&text)?;
    }
}
