//! One recorded call: what the proxylet will ask, and what it is told.

use std::collections::HashMap;
use std::ops::Range;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::proxylet::digest::Digest;
use crate::record::entry::{self, decode, encode};
use crate::record::replay::outcome::{Difference, Tally};
use crate::record::show;

/// How far ahead in a call a question is looked for.
const AHEAD_MAX: usize = 256;
/// Lines of a trace of one call.
const TRACE_LINES_MAX: usize = 10_000;

/// What an instance is told, and what it asked instead of what was expected.
#[derive(Debug, Default)]
pub(super) struct Script {
    bytes: Vec<u8>,
    imports: Vec<Import>,
    /// The first import that was not asked for yet.
    next: usize,
    /// Whether there is nothing to compare with: the call was not recorded.
    free: bool,
    /// What is told without being in the call: answers that stand since before.
    standing: HashMap<Vec<u8>, Vec<u8>>,
    ask: Vec<u8>,
    pub(super) tally: Tally,
    pub(super) first: Option<Difference>,
    pub(super) asked: u64,
    /// Which call this is.
    pub(super) call: u64,
    pub(super) at_s: f64,
    /// The wall clock as it was told last, in nanoseconds.
    wall: u64,
    made_up: u64,
    /// What is asked, where that is wanted.
    pub(super) trace: Option<Vec<String>>,
}

#[derive(Clone, Debug)]
struct Import {
    ask: Range<usize>,
    answer: Range<usize>,
    used: bool,
}

impl Script {
    /// An empty one, which keeps a trace or does not.
    pub(super) fn new(traced: bool) -> Self {
        Self { trace: traced.then(Vec::new), ..Self::default() }
    }

    /// Forgets the call before.
    pub(super) fn clear(&mut self, free: bool) {
        self.bytes.clear();
        self.imports.clear();
        self.next = 0;
        self.free = free;
    }

    /// Bytes of the recorded imports.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Adds a recorded import.
    pub(super) fn push(&mut self, ask: &[u8], answer: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(ask);
        let middle = self.bytes.len();
        self.bytes.extend_from_slice(answer);
        self.imports.push(Import { ask: start..middle, answer: middle..self.bytes.len(), used: false });
    }

    /// Replaces the answers that stand.
    pub(super) fn stands<'a>(&mut self, answers: impl Iterator<Item = (&'a [u8], &'a [u8])>) {
        self.standing = answers.map(|(ask, answer)| (ask.to_vec(), answer.to_vec())).collect();
    }

    /// A number that was not given before, for what has to be made up.
    pub(super) fn number(&mut self) -> u64 {
        self.made_up += 1;
        self.made_up
    }

    /// The wall clock, where it has to be made up: as it was told last.
    pub(super) fn wall(&self) -> u64 {
        self.wall
    }

    pub(super) fn set_wall(&mut self, wall: u64) {
        self.wall = wall;
    }

    /// What the proxylet is told.
    pub(super) fn answer<T: DeserializeOwned>(
        &mut self,
        name: &str,
        args: &impl Serialize,
        make_up: impl FnOnce(&mut Self) -> T,
    ) -> T {
        self.asked += 1;
        let mut ask = std::mem::take(&mut self.ask);
        ask.clear();
        entry::encode_ask(&mut ask, name, args);
        if let Some(trace) = self.trace.as_mut().filter(|trace| trace.len() < TRACE_LINES_MAX) {
            trace.extend(show::asked(&ask));
        }
        let found = self.find(&ask, name);
        let answer = match found.clone() {
            Some(answer) => decode(&self.bytes[answer]),
            None => self.standing.get(&ask).and_then(|answer| decode(answer)),
        };
        let answer = answer.unwrap_or_else(|| {
            if found.is_some() {
                self.tally.unreadable += 1;
                self.differs("its answer in the recording cannot be read", &ask, None);
            }
            make_up(self)
        });
        self.ask = ask;
        answer
    }

    /// Where the answer is; notes what differs.
    fn find(&mut self, ask: &[u8], name: &str) -> Option<Range<usize>> {
        while self.imports.get(self.next).is_some_and(|import| import.used) {
            self.next += 1;
        }
        if let Some(next) = self.imports.get(self.next)
            && &self.bytes[next.ask.clone()] == ask
        {
            let answer = next.answer.clone();
            self.next += 1;
            return Some(answer);
        }
        if self.free {
            return None;
        }
        let (mut same, mut alike) = (None, None);
        for (i, import) in self.imports.iter().enumerate().skip(self.next).take(AHEAD_MAX) {
            let other = &self.bytes[import.ask.clone()];
            if import.used {
                continue;
            }
            if other == ask {
                same = Some(i);
                break;
            }
            if alike.is_none() && entry::ask(other).is_some_and(|(other, _)| other == name) {
                alike = Some(i);
            }
        }
        let (found, count, what) = match (same, alike) {
            (Some(_), _) => (same, &mut self.tally.reordered, "it asks in another order"),
            (None, Some(_)) => (alike, &mut self.tally.changed, "it asks something else"),
            (None, None) => (None, &mut self.tally.extra, "it asks what it had not asked"),
        };
        *count += 1;
        let expected = self.imports.get(self.next).map(|import| import.ask.clone());
        self.differs(what, ask, expected);
        let import = &mut self.imports[found?];
        import.used = true;
        Some(import.answer.clone())
    }

    /// Notes a question that was not expected here.
    fn differs(&mut self, what: &'static str, ask: &[u8], expected: Option<Range<usize>>) {
        if self.first.is_none() {
            let expected = match expected {
                Some(range) => show::asked(&self.bytes[range]),
                None => vec!["(nothing more)".to_owned()],
            };
            self.note(what, self.next as u64 + 1, expected, show::asked(ask));
        }
    }

    /// Notes a difference, where it is the first.
    pub(super) fn note(&mut self, what: &'static str, import: u64, expected: Vec<String>, got: Vec<String>) {
        let (call, at_s, during) = (self.call, self.at_s, String::new());
        self.first.get_or_insert(Difference { call, during, at_s, import, what, expected, got });
    }

    /// Ends the call: what was not asked for is missing.
    pub(super) fn end(&mut self) {
        let mut missing = self.imports.iter().skip(self.next).filter(|import| !import.used);
        let Some(first) = missing.next().map(|import| import.ask.clone()) else { return };
        self.tally.missing += 1 + missing.count() as u64;
        let expected = show::asked(&self.bytes[first]);
        let got = vec!["(nothing more)".to_owned()];
        self.note("it does not ask what it had asked", self.next as u64 + 1, expected, got);
    }
}

/// Bytes that look random and are the same each time, for where none were recorded.
pub(super) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(len + 32);
    for block in 0_u64.. {
        if out.len() >= len {
            break;
        }
        let mut content = Vec::new();
        encode(&mut content, &(seed, block));
        out.extend_from_slice(Digest::of(&content).bytes());
    }
    out.truncate(len);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script() -> Script {
        let mut script = Script::default();
        for (key, value) in [("a", 1_u64), ("b", 2), ("c", 3)] {
            let (mut ask, mut answer) = (Vec::new(), Vec::new());
            entry::encode_ask(&mut ask, "kv.get", &(key,));
            encode(&mut answer, &value);
            script.push(&ask, &answer);
        }
        script
    }

    fn get(script: &mut Script, key: &str) -> u64 {
        script.answer("kv.get", &(key,), |_| 99)
    }

    #[test]
    fn the_same_questions_get_the_same_answers() {
        let mut s = script();
        assert_eq!(["a", "b", "c"].map(|key| get(&mut s, key)), [1, 2, 3]);
        s.end();
        assert_eq!((s.tally.total(), s.first.is_none()), (0, true));
    }

    #[test]
    fn another_order_is_said_and_each_question_keeps_its_answer() {
        let mut s = script();
        assert_eq!(["b", "a", "c"].map(|key| get(&mut s, key)), [2, 1, 3]);
        s.end();
        assert_eq!(s.tally, Tally { reordered: 1, ..Tally::default() });
        assert_eq!(s.first.unwrap().import, 1);
    }

    #[test]
    fn other_more_and_fewer_questions_are_told_apart() {
        let mut s = script();
        assert_eq!(["a", "x", "c"].map(|key| get(&mut s, key)), [1, 2, 3]);
        assert_eq!(get(&mut s, "d"), 99);
        s.end();
        assert_eq!(s.tally, Tally { changed: 1, extra: 1, ..Tally::default() });
        let mut s = script();
        get(&mut s, "a");
        s.end();
        assert_eq!(s.tally, Tally { missing: 2, ..Tally::default() });
        assert!(s.first.unwrap().expected[0].contains("\"b\""));
    }
}
