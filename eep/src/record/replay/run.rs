//! A whole file.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::proxylet::digest::Digest;
use crate::proxylet::error::LoadError;
use crate::record::CALL_BYTES_MAX;
use crate::record::entry::{Base, Call, Head, Lost, Return, Tag, decode};
use crate::record::reader::{Ending, Entry, ReadError, Reader};
use crate::record::relayed;
use crate::record::replay::instance::{Life, Machine};
use crate::record::replay::outcome::{Outcome, TrapOutcome};
use crate::record::replay::script::Script;
use crate::record::show;

/// Different codes in one file that are kept.
const CODES_MAX: usize = 8;

/// What to replay, and with what.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// A component to run in place of the recorded ones.
    pub wasm: Option<Vec<u8>>,
    /// The last call, counted from 1; all where it is missing.
    pub until: Option<u64>,
    /// Whether each call and import is told.
    pub trace: bool,
}

/// Why a recording cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The file.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Nothing in it can be replayed.
    #[error("there is nothing in it that could be replayed{}", match .0 {
        Ending::Whole => "",
        Ending::Cut => ": it is cut off before the end of the first call",
        Ending::Damaged => ": it is damaged, and what follows cannot be read",
    })]
    Empty(Ending),
    /// The code is not in it.
    #[error("the code {0} is not in the recording")]
    NoCode(Digest),
    /// The given code is no proxylet for this version.
    #[error(transparent)]
    Code(LoadError),
    /// It cannot be compiled, linked or instantiated.
    #[error("the code: {0}")]
    Compile(String),
    /// The engine cannot be set up.
    #[error("the engine cannot be set up: {0}")]
    Engine(String),
}

impl From<io::Error> for ReplayError {
    fn from(error: io::Error) -> Self {
        Self::Read(error.into())
    }
}

/// Replays a file; `tell` is given the lines of a trace.
///
/// # Errors
/// Why it cannot be replayed.
pub fn replay(file: &Path, options: &Options, tell: &mut dyn FnMut(&str)) -> Result<Outcome, ReplayError> {
    let mut machine = Machine::new()?;
    let other = match &options.wasm {
        Some(bytes) => Some(machine.add(bytes)?),
        None => {
            for code in codes(file)?.values() {
                machine.add(code)?;
            }
            None
        }
    };
    let mut run = Run {
        machine,
        other,
        head: None,
        call: Vec::new(),
        is_huge: false,
        state: State::Between(Box::new(Script::new(options.trace))),
        whole: true,
        first_ns: None,
        last_ns: 0,
        spent: Duration::ZERO,
        outcome: Outcome { exact: true, ..Outcome::default() },
        tell,
    };
    let mut reader = Reader::open(file)?;
    while let Some(entry) = reader.next()? {
        run.take(&entry)?;
        let done = options.until.is_some_and(|until| run.outcome.calls >= until);
        if entry.tag == Tag::Return && (done || run.is_decided()) {
            break;
        }
    }
    run.outcome.ending = reader.ending();
    run.done()
}

/// The codes that are in a file. What is not the code that it says to be is left out.
fn codes(file: &Path) -> Result<HashMap<Digest, Vec<u8>>, ReplayError> {
    let mut reader = Reader::open(file)?;
    let mut codes = HashMap::new();
    while let Some(entry) = reader.next()? {
        if entry.tag == Tag::Code && codes.len() < CODES_MAX {
            let digest = Digest::of(entry.second);
            if entry.first == digest.bytes() {
                codes.insert(digest, entry.second.to_vec());
            }
        }
    }
    Ok(codes)
}

/// A replay under way.
struct Run<'a> {
    machine: Machine,
    other: Option<Digest>,
    head: Option<Head>,
    /// The entry of the call that is being read.
    call: Vec<u8>,
    /// Whether its imports are more than is kept.
    is_huge: bool,
    state: State,
    /// Whether all calls of the present instance have been replayed, from its first on.
    whole: bool,
    first_ns: Option<u64>,
    last_ns: u64,
    spent: Duration,
    outcome: Outcome,
    tell: &'a mut dyn FnMut(&str),
}

/// The script goes from one instance to the next.
enum State {
    Between(Box<Script>),
    Living(Box<Life>),
}

impl Run<'_> {
    fn script(&mut self) -> &mut Script {
        match &mut self.state {
            State::Between(script) => script,
            State::Living(life) => life.script(),
        }
    }

    /// Whether no more can be learned: what should have been the same was not.
    fn is_decided(&mut self) -> bool {
        self.outcome.exact && self.script().tally.total() > 0
    }

    /// Reads one entry. What cannot be read is as good as not there.
    fn take(&mut self, entry: &Entry<'_>) -> Result<(), ReplayError> {
        let bytes = entry.first.len() + entry.second.len();
        self.outcome.entry_bytes += bytes as u64;
        match entry.tag {
            Tag::Code => {}
            Tag::Head => self.head = serde_json::from_slice(entry.first).ok(),
            Tag::Lost => {
                if let Some(lost) = decode::<Lost<'_>>(entry.first) {
                    self.lost(lost.calls, &lost.why);
                }
            }
            Tag::Base => {
                if let Some(base) = decode::<Base<'_>>(entry.first) {
                    self.base(&base)?;
                }
            }
            Tag::Call => {
                self.call.clear();
                self.call.extend_from_slice(entry.first);
                self.is_huge = false;
                self.script().clear(false);
            }
            Tag::Import => {
                self.is_huge |= self.script().len() + bytes > CALL_BYTES_MAX;
                if !self.is_huge {
                    self.script().push(entry.first, entry.second);
                }
            }
            Tag::Relayed => {
                let mut asked = Vec::new();
                let room = CALL_BYTES_MAX.saturating_sub(self.script().len() + entry.second.len());
                self.is_huge |= !relayed::apply(&self.call, entry.first, room, &mut asked);
                if !self.is_huge {
                    self.script().push(&asked, entry.second);
                }
            }
            Tag::Return => {
                let call = std::mem::take(&mut self.call);
                match (decode::<Call<'_>>(&call), decode::<Return<'_>>(entry.first)) {
                    (Some(call), Some(back)) if !self.is_huge => self.call(&call, &back)?,
                    _ => self.lost(1, "a call cannot be read"),
                }
                self.call = call;
            }
        }
        Ok(())
    }

    fn lost(&mut self, calls: u64, why: &str) {
        self.outcome.lost_calls += calls;
        self.outcome.lost_because = Some(why.to_owned());
        self.whole &= calls == 0;
    }

    /// Puts a new instance in the place of the present one.
    fn renew(&mut self) -> Result<bool, ReplayError> {
        let Some(head) = &self.head else { return Ok(false) };
        let code = self.other.unwrap_or(head.sha256);
        let script = match std::mem::replace(&mut self.state, State::Between(Box::default())) {
            State::Between(script) => *script,
            State::Living(life) => life.into_script(),
        };
        self.outcome.service.clone_from(&head.service);
        self.outcome.proxylet.clone_from(&head.proxylet);
        (self.outcome.recorded, self.outcome.replayed) = (Some(head.sha256), Some(code));
        self.outcome.instances += 1;
        self.whole = code == head.sha256;
        self.state = State::Living(Box::new(self.machine.instance(&code, head, script)?));
        Ok(true)
    }

    /// Goes on from a checkpoint with a new instance.
    fn base(&mut self, base: &Base<'_>) -> Result<(), ReplayError> {
        if !self.renew()? {
            return Ok(());
        }
        self.whole = false;
        let script = self.script();
        script.clear(true);
        script.stands(base.standing.iter().map(|(ask, answer)| (&*ask.0, &*answer.0)));
        let (now, config, state) = (base.now, base.config.clone(), base.state.clone());
        let call = match state.0.is_empty() {
            true => Call::Start { now, config },
            false => Call::Restore { now, config, state },
        };
        self.perform(&call, &Return::Done);
        Ok(())
    }

    /// Does a recorded call again.
    fn call(&mut self, call: &Call<'_>, was: &Return<'_>) -> Result<(), ReplayError> {
        if call.is_first() && !self.renew()? {
            return Ok(());
        }
        if matches!(self.state, State::Between(_)) {
            self.lost(1, "the calls before, which its instance began with, are missing");
            return Ok(());
        }
        self.outcome.exact &= self.whole;
        self.outcome.calls += 1;
        if let Call::Handle { bytes, .. } = call {
            self.outcome.received_bytes += bytes.0.len() as u64;
        }
        let Some(back) = self.perform(call, was) else { return Ok(()) };
        let (number, same) = (self.outcome.calls, back == *was);
        let script = self.script();
        script.end();
        if !same {
            script.tally.returned += 1;
            script.note("the call ends otherwise", 0, show::back(was), show::back(&back));
        }
        if let Some(first) = script.first.as_mut().filter(|first| first.during.is_empty()) {
            first.during = show::call(call);
        }
        if matches!(was, Return::Trapped(_)) {
            let (recorded, replayed) = (show::back(was), show::back(&back));
            self.outcome.trap = Some(TrapOutcome { call: number, recorded, replayed, same });
        }
        Ok(())
    }

    /// Calls the present instance; how that ended.
    fn perform(&mut self, call: &Call<'_>, was: &Return<'_>) -> Option<Return<'static>> {
        self.last_ns = call.now().unwrap_or(self.last_ns);
        let at_ns = self.last_ns.saturating_sub(*self.first_ns.get_or_insert(self.last_ns));
        let State::Living(life) = &mut self.state else { return None };
        let script = life.script();
        (script.call, script.at_s) = (self.outcome.calls, at_ns as f64 / 1e9);
        if script.trace.is_some() {
            (self.tell)(&format!("#{} {:.6} s {}", script.call, script.at_s, show::call(call)));
        }
        let asked = script.asked;
        let began = Instant::now();
        let back = life.call(call, was);
        self.spent += began.elapsed();
        let script = life.script();
        self.outcome.imports += script.asked - asked;
        if let Some(trace) = &mut script.trace {
            trace.drain(..).for_each(|line| (self.tell)(&format!("  {line}")));
            show::back(&back).first().into_iter().for_each(|line| (self.tell)(&format!("  {line}")));
        }
        if matches!(back, Return::Trapped(_) | Return::Refused(_)) {
            // There is nothing left of it to call.
            let state = std::mem::replace(&mut self.state, State::Between(Box::default()));
            if let State::Living(life) = state {
                self.state = State::Between(Box::new(life.into_script()));
            }
        }
        Some(back)
    }

    fn done(mut self) -> Result<Outcome, ReplayError> {
        if self.outcome.calls == 0 {
            return Err(ReplayError::Empty(self.outcome.ending));
        }
        let recorded_ns = self.last_ns.saturating_sub(self.first_ns.unwrap_or(0));
        let script = std::mem::take(self.script());
        let mut outcome = self.outcome;
        (outcome.recorded_s, outcome.took_s) = (recorded_ns as f64 / 1e9, self.spent.as_secs_f64());
        (outcome.differences, outcome.first) = (script.tally, script.first);
        let same_trap = outcome.trap.as_ref().is_some_and(|trap| trap.same);
        outcome.equal = outcome.differences.total() == 0
            || (!outcome.exact && outcome.recorded == outcome.replayed && same_trap);
        Ok(outcome)
    }
}
