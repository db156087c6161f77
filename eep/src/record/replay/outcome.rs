//! What came of a replay.

use serde::Serialize;

use crate::proxylet::digest::Digest;
use crate::record::reader::Ending;

/// What came of a replay.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Outcome {
    /// Whether all that the proxylet did was what it had done, in that order; where [`Self::exact`] is not, whether it
    /// ended in the same trap is enough.
    pub equal: bool,
    /// Whether every instance was replayed from its first call on, with its own code: then a difference cannot come
    /// from the replay itself.
    pub exact: bool,
    /// The service's name where it was recorded.
    pub service: String,
    /// The proxylet's own name.
    pub proxylet: String,
    /// The code that was recorded last.
    pub recorded: Option<Digest>,
    /// The code that was run last.
    pub replayed: Option<Digest>,
    /// Instances.
    pub instances: u64,
    /// Calls into them.
    pub calls: u64,
    /// Imports that they called.
    pub imports: u64,
    /// Bytes that peers sent to it.
    pub received_bytes: u64,
    /// Bytes of all entries.
    pub entry_bytes: u64,
    /// Calls that the recording lacks.
    pub lost_calls: u64,
    /// Why it lacks calls, or ends, where it does.
    pub lost_because: Option<String>,
    /// How the file ends.
    pub ending: Ending,
    /// Seconds of the service's life in it.
    pub recorded_s: f64,
    /// Seconds that this took, compiling not counted.
    pub took_s: f64,
    /// How many differences there are, by kind.
    pub differences: Tally,
    /// The first of them.
    pub first: Option<Difference>,
    /// The last trap that was recorded.
    pub trap: Option<TrapOutcome>,
}

/// Differences by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// The same was asked, earlier or later in the same call.
    pub reordered: u64,
    /// The same import was called with other arguments.
    pub changed: u64,
    /// Something was asked that was not asked before.
    pub extra: u64,
    /// Something was not asked that was asked before.
    pub missing: u64,
    /// A call ended otherwise.
    pub returned: u64,
    /// An answer in the recording cannot be read.
    pub unreadable: u64,
}

impl Tally {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.reordered + self.changed + self.extra + self.missing + self.returned + self.unreadable
    }
}

/// Where and how it went another way.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// Which call of the file, from 1.
    pub call: u64,
    /// The call in a line.
    pub during: String,
    /// Seconds since the first call.
    pub at_s: f64,
    /// Which import of the call, from 1; 0 for its return.
    pub import: u64,
    /// In words.
    pub what: &'static str,
    /// What was recorded, in lines.
    pub expected: Vec<String>,
    /// What came, in lines.
    pub got: Vec<String>,
}

/// A trap that was recorded.
#[derive(Clone, Debug, Serialize)]
pub struct TrapOutcome {
    /// The call of the file, from 1.
    pub call: u64,
    /// The trap and where it happened, as it was recorded.
    pub recorded: Vec<String>,
    /// How the call ended this time.
    pub replayed: Vec<String>,
    /// Whether that is the same.
    pub same: bool,
}

impl Difference {
    /// Lines around the first ones that differ: what both have with ` ` before it, what was expected with `-`, what came
    /// with `+`.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        /// Lines before the first that differs.
        const BEFORE: usize = 3;
        /// Lines of each side from there on.
        const AFTER: usize = 8;
        let same = self.expected.iter().zip(&self.got).take_while(|(a, b)| a == b).count();
        let both = self.expected[same.saturating_sub(BEFORE)..same].iter().map(|line| format!("  {line}"));
        let side = |lines: &[String], sign: char| {
            let left = lines.len().saturating_sub(same);
            let shown = lines.iter().skip(same).take(AFTER).map(|line| format!("{sign} {line}"));
            let more = (left > AFTER).then(|| format!("{sign} … {} more lines", left - AFTER));
            shown.chain(more).collect::<Vec<_>>()
        };
        both.chain(side(&self.expected, '-')).chain(side(&self.got, '+')).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_shown_with_what_is_around_it() {
        let lines = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let difference = Difference {
            call: 1,
            during: String::new(),
            at_s: 0.0,
            import: 1,
            what: "",
            expected: lines("a b c d e f"),
            got: lines("a b c d x f g"),
        };
        assert_eq!(difference.lines(), ["  b", "  c", "  d", "- e", "- f", "+ x", "+ f", "+ g"]);
    }
}
