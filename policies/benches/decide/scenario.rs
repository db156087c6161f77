//! A policy of any size and the events that it decides, the same in every run and for every engine.
//!
//! Every rule refuses something and the default lets it pass: so engines where a refusal always wins come to the same
//! decisions as one where the first rule that matches does.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

/// Rules by what they ask.
pub(crate) struct Scenario {
    /// Kind of message and prefixes, a rule each.
    pub(crate) by_address: Vec<(&'static str, Vec<(Ipv4Addr, u8)>)>,
    /// Words in searches, a rule each.
    pub(crate) by_word: Vec<Vec<String>>,
    /// How many rules have a condition; they share the prefixes of the first rules by address.
    pub(crate) by_condition: usize,
    dice: u64,
}

/// An event, in a form that every engine can be given.
pub(crate) struct Given {
    pub(crate) message: &'static str,
    pub(crate) address: IpAddr,
    pub(crate) text: String,
    /// Percent of the uplink that is used.
    pub(crate) util: i64,
    pub(crate) hour: i64,
}

/// Kinds of message that rules by address are about.
const KINDS: [&str; 3] = ["connect", "query", "download"];

impl Scenario {
    /// So many prefixes, keywords and rules: half of the rules are about addresses, four in ten about words, one in
    /// ten has a condition.
    pub(crate) fn new(prefixes: usize, keywords: usize, rules: usize) -> Self {
        let mut scenario =
            Self { by_address: Vec::new(), by_word: Vec::new(), by_condition: rules / 10, dice: 0x5eed };
        let (addresses, words) = (rules / 2, rules * 4 / 10);
        let mut number = 0u32;
        for rule in 0..addresses {
            let mut set = Vec::new();
            for _ in 0..prefixes / addresses {
                // Each /20 has one prefix in it, so that none covers another.
                let length = 20 + (scenario.roll() % 9) as u8;
                let start = (16 << 24) + number * (1 << 12);
                number += 1;
                set.push((Ipv4Addr::from_bits(start), length));
            }
            scenario.by_address.push((KINDS[rule % KINDS.len()], set));
        }
        for _ in 0..words {
            let set = (0..keywords / words).map(|_| scenario.word()).collect();
            scenario.by_word.push(set);
        }
        scenario
    }

    fn roll(&mut self) -> u64 {
        // splitmix64
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.dice;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn word(&mut self) -> String {
        let length = 4 + self.roll() % 5;
        (0..length).map(|_| char::from(b'a' + (self.roll() % 26) as u8)).collect()
    }

    /// The policy and its lists, as files.
    pub(crate) fn files(&self, lists: bool) -> BTreeMap<String, String> {
        let mut files = BTreeMap::new();
        let mut text = "policy: eep/v1\nname: bench\nsets:\n".to_owned();
        let mut set = |text: &mut String, name: &str, kind: &str, entries: &[String]| {
            if lists {
                writeln!(text, "  {name}: {{{kind}: {{file: {name}.txt}}}}").expect("a String");
                files.insert(format!("{name}.txt"), entries.join("\n"));
            } else {
                writeln!(text, "  {name}: {{{kind}: [{}]}}", entries.join(", ")).expect("a String");
            }
        };
        for (i, (_, prefixes)) in self.by_address.iter().enumerate() {
            let entries: Vec<String> = prefixes.iter().map(|(ip, length)| format!("{ip}/{length}")).collect();
            set(&mut text, &format!("a{i}"), "cidr", &entries);
        }
        for (i, words) in self.by_word.iter().enumerate() {
            set(&mut text, &format!("w{i}"), "keywords", words);
        }
        text += "access:\n  default: allow\n  rules:\n";
        for (i, (message, _)) in self.by_address.iter().enumerate() {
            writeln!(
                text,
                "    - {{id: a{i}, match: {{message: {message}, peer: {{in: a{i}}}}}, then: deny}}"
            )
            .expect("a String");
        }
        for i in 0..self.by_word.len() {
            writeln!(
                text,
                "    - {{id: w{i}, match: {{message: query, content: {{in: w{i}}}}}, then: deny}}"
            )
            .expect("a String");
        }
        for i in 0..self.by_condition {
            let rule = format!("id: c{i}, match: {{message: push, peer: {{in: a{i}}}}}");
            writeln!(text, "    - {{{rule}, when: node.uplink.util > 0.7 && now.hour >= 18, then: deny}}")
                .expect("a String");
        }
        files.insert("bench.yaml".to_owned(), text);
        files
    }

    /// Events: half of the peers are in some prefix, a quarter of the searches has a keyword in it.
    pub(crate) fn events(&mut self, count: usize) -> Vec<Given> {
        let mut out = Vec::new();
        for _ in 0..count {
            let message = ["connect", "query", "download", "push"][(self.roll() % 4) as usize];
            let (rule, place) = (self.roll() as usize % self.by_address.len(), self.roll() as usize);
            let prefixes = &self.by_address[rule].1;
            let listed = prefixes[place % prefixes.len()].0.to_bits() + 1;
            let address =
                if self.roll().is_multiple_of(2) { listed } else { (100 << 24) + (self.roll() as u32 >> 8) };
            let mut words: Vec<String> = (0..5).map(|_| self.word()).collect();
            if self.roll().is_multiple_of(4) {
                let rule = self.roll() as usize % self.by_word.len();
                let place = self.roll() as usize % self.by_word[rule].len();
                words[2].clone_from(&self.by_word[rule][place]);
            }
            out.push(Given {
                message,
                address: Ipv4Addr::from_bits(address).into(),
                text: words.join(" "),
                util: (self.roll() % 100) as i64,
                hour: (self.roll() % 24) as i64,
            });
        }
        out
    }
}
