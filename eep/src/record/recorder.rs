//! The hook in a service's thread: told of each call, each import, each return.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use crate::host::bindings::eep::proxylet::types::Event;
use crate::proxylet::code::Code;
use crate::proxylet::trap::TrapReport;
use crate::record::CALL_BYTES_MAX;
use crate::record::entry::{self, Base, Call, Head, Lost, PREFIX, Return, Tag, Trapped, put_value};
use crate::record::kept::Kept;
use crate::record::queue::{Inlet, Pushed};
use crate::record::relayed;
use crate::record::ring::Ring;
use crate::record::service::Recordings;

/// Imports whose answers stand until the instance ends: an instance that goes on from a checkpoint asks for them again.
const STANDING: [&str; 4] = ["net.listen", "datagram.bind", "metrics.define", "metrics.define-histogram"];
/// Bytes of such imports that are kept.
const STANDING_BYTES_MAX: usize = 1 << 20;
/// The least time between two checkpoints that are taken for a recording alone, in nanoseconds.
const BASE_EVERY_NS: u64 = 500_000_000;
/// The same for the ring alone, which nobody has asked for.
const RING_BASE_EVERY_NS: u64 = 15_000_000_000;

/// Bytes that a call has room for in advance at most.
const CALL_ROOM_MAX: usize = 4 << 20;
/// What is given and what is asked has at least so many bytes where the one is written by means of the other.
const RELAYED_FROM: usize = 64;

/// Records one instance. Lives in its store; nothing here is locked but the queues to the writers.
#[derive(Debug)]
pub(crate) struct Recorder(RefCell<Option<Box<Inner>>>);

#[derive(Debug)]
struct Inner {
    recordings: Arc<Recordings>,
    id: u64,
    code: Code,
    head: Head,
    /// The entries of the first call, while they are wanted.
    first: Kept,
    /// The entries of the call under way.
    call: Kept,
    /// Whether that has become more than is kept.
    over: bool,
    /// What the call was given, where it may be handed on: where its part ends, and where in it the bytes of peers begin.
    given: Option<(usize, usize)>,
    /// Bytes of imports that are not among the entries, because they are in the call.
    relayed: usize,
    /// What the import under way asks, and the patch that can stand for it.
    asked: Vec<u8>,
    patch: Vec<u8>,
    /// Bytes of the last call, which the next one has room for.
    call_bytes: usize,
    /// Where in the entries the import under way begins, and where its answer will.
    asking: Option<(usize, usize)>,
    ring: Ring,
    taps: Vec<Tap>,
    now: u64,
    config: String,
    standing: BTreeMap<Vec<u8>, Vec<u8>>,
    standing_bytes: usize,
    last_base_ns: u64,
}

/// A recording that is written.
#[derive(Debug)]
struct Tap {
    inlet: Arc<Inlet>,
    /// Whether what was written so far lets the next call be replayed.
    on: bool,
    /// Whether anything was written, or should have been: calls before that are none that it has lost.
    begun: bool,
    /// Whether another instance's calls are written there until this one has shown that it goes on: by its second call.
    after: bool,
    /// Calls left out since it was not.
    lost: u64,
    why: &'static str,
}

impl Recorder {
    /// One that records nothing.
    pub(crate) fn off() -> Rc<Self> {
        Rc::new(Self(RefCell::new(None)))
    }

    /// The recorder of a new instance.
    pub(crate) fn new(
        recordings: Arc<Recordings>,
        id: u64,
        code: Code,
        head: Head,
        inlets: Vec<Arc<Inlet>>,
    ) -> Rc<Self> {
        let mut begin = Kept::default();
        put_head(&mut begin.entries, &head);
        let taps = inlets.into_iter().map(|inlet| {
            let after = !inlet.is_free();
            let on = !after && inlet.begin(id, head.sha256, &begin, false) == Pushed::Taken;
            Tap { inlet, on, begun: true, after, lost: 0, why: SLOW }
        });
        let taps = taps.collect();
        let ring = recordings.ring();
        Rc::new(Self(RefCell::new(Some(Box::new(Inner {
            recordings,
            id,
            code,
            head,
            first: Kept::default(),
            call: Kept::default(),
            over: false,
            given: None,
            relayed: 0,
            asked: Vec::new(),
            patch: Vec::new(),
            call_bytes: 0,
            asking: None,
            ring,
            taps,
            now: 0,
            config: String::new(),
            standing: BTreeMap::new(),
            standing_bytes: 0,
            last_base_ns: 0,
        })))))
    }

    fn with(&self, work: impl FnOnce(&mut Inner)) {
        if let Some(inner) = self.0.borrow_mut().as_mut() {
            work(inner);
        }
    }

    /// A call begins. `state` is what a call of `restore` has, to be shared.
    pub(crate) fn call(&self, call: &Call<'_>, state: Option<&Bytes>) {
        self.with(|inner| {
            inner.call.clear();
            inner.call.entries.reserve(inner.call_bytes);
            (inner.over, inner.asking) = (false, None);
            inner.call.put_call(call, state);
            inner.relayed = 0;
            inner.given = match call {
                Call::Handle { bytes, .. } if bytes.0.len() >= RELAYED_FROM => {
                    let part = inner.call.entries.len() - PREFIX;
                    Some((part, part - bytes.0.len()))
                }
                _ => None,
            };
            inner.now = call.now().unwrap_or(inner.now);
            match call {
                Call::Start { config, .. } | Call::Restore { config, .. } => {
                    inner.config.clear();
                    inner.config.push_str(config);
                }
                Call::Handle { events, .. } => {
                    let given = events.iter().rev().find_map(|event| match event {
                        Event::Configured(config) => Some(config),
                        _ => None,
                    });
                    if let Some(config) = given {
                        inner.config.clone_from(config);
                    }
                }
                Call::Save | Call::Stop => {}
            }
        });
    }

    /// The proxylet asked for something, and was answered.
    pub(crate) fn import(&self, name: &str, args: &impl Serialize, answer: &impl Serialize) {
        self.import_begins(name, |out| entry::encode(out, args));
        self.import_ends(answer);
    }

    /// The proxylet asks for something: the first half of [`Self::import`].
    pub(crate) fn import_begins(&self, name: &str, args: impl FnOnce(&mut Vec<u8>)) {
        self.with(|inner| {
            if !inner.over {
                let start = inner.call.entries.len();
                inner.ask(name, args);
                inner.asking = Some((start, inner.call.entries.len()));
            }
        });
    }

    /// It was answered: the second half of [`Self::import`].
    pub(crate) fn import_ends(&self, answer: &impl Serialize) {
        self.with(|inner| {
            if let Some((start, middle)) = inner.asking.take() {
                entry::close_import(&mut inner.call.entries, start, middle, answer);
                inner.keep_import(start);
            }
        });
    }

    /// The call has returned. `state` is what `save` has returned, to be shared.
    pub(crate) fn returned(&self, back: &Return<'_>, state: Option<&Bytes>) {
        self.with(|inner| {
            inner.call.put_return(back, state);
            inner.keep_call(matches!(back, Return::Saved(_)));
        });
    }

    /// This is what the instance has just saved, and the connections that it had then: another can go on from here.
    pub(crate) fn rebase(&self, state: &Bytes, conns: &[u64]) {
        self.with(|inner| inner.rebase(state, conns));
    }

    /// The call has ended in a trap: keeps what led to it; where.
    pub(crate) fn trapped(&self, report: &TrapReport) -> Option<PathBuf> {
        let (message, backtrace) = (report.message.as_str().into(), report.backtrace.as_slice().into());
        self.returned(&Return::Trapped(Trapped { kind: report.kind, message, backtrace }), None);
        let inner = self.0.borrow();
        let inner = inner.as_ref()?;
        let mut head = Vec::new();
        put_head(&mut head, &inner.head);
        inner.recordings.keep_trap(&inner.code, &head, &inner.ring)
    }

    /// Whether a recording waits for a checkpoint now. Where it does, the answer is no for a while after: it costs.
    pub(crate) fn wants_base(&self, now_ns: u64) -> bool {
        let mut wants = false;
        self.with(|inner| {
            let waits = |tap: &Tap| !tap.after && (!tap.on || tap.inlet.wants_base());
            let every_ns = match (inner.taps.iter().any(waits), inner.ring.wants_base()) {
                (true, _) => BASE_EVERY_NS,
                (false, true) => RING_BASE_EVERY_NS,
                (false, false) => return,
            };
            if now_ns >= inner.last_base_ns.saturating_add(every_ns) {
                inner.last_base_ns = now_ns;
                wants = true;
            }
        });
        wants
    }

    /// Records this instance to one more place from its next checkpoint on; where it is recorded there already, no more.
    pub(crate) fn attach(&self, inlet: Arc<Inlet>) {
        self.with(|inner| {
            if !inner.taps.iter().any(|tap| Arc::ptr_eq(&tap.inlet, &inlet)) {
                inner.taps.push(Tap { inlet, on: false, begun: false, after: false, lost: 0, why: SLOW });
            }
        });
    }
}

/// Why calls are left out, as a rule.
const SLOW: &str = "what writes the recording could not keep up";

fn put_head(out: &mut Vec<u8>, head: &Head) {
    let json = serde_json::to_vec(head).unwrap_or_default();
    entry::put(out, Tag::Head, &json, &[]);
}

impl Inner {
    /// Adds what the proxylet asks: as a patch of its call, where that is shorter. What stands until the instance ends is
    /// looked at again, and is added as it is.
    fn ask(&mut self, name: &str, args: impl FnOnce(&mut Vec<u8>)) {
        let Some((given, from)) = self.given.filter(|_| !STANDING.contains(&name)) else {
            return entry::open_import(&mut self.call.entries, name, args);
        };
        self.asked.clear();
        entry::encode(&mut self.asked, name);
        args(&mut self.asked);
        let asked = self.asked.len();
        if asked >= RELAYED_FROM {
            self.patch.clear();
            relayed::diff(&self.call.entries[PREFIX..PREFIX + given], from, &self.asked, &mut self.patch);
            if self.patch.len() < asked - asked / 4 {
                self.relayed += asked - self.patch.len();
                return entry::open_asked(&mut self.call.entries, Tag::Relayed, &self.patch);
            }
        }
        entry::open_asked(&mut self.call.entries, Tag::Import, &self.asked);
    }

    /// Keeps the import whose entry begins here.
    fn keep_import(&mut self, start: usize) {
        if self.call.len() + self.relayed > CALL_BYTES_MAX {
            self.over = true;
            self.call = Kept::default();
            return;
        }
        let Some((prefix, parts)) = self.call.entries[start..].split_first_chunk() else { return };
        let Some((Tag::Import, first, _)) = entry::prefix(prefix) else { return };
        let (ask, answer) = parts.split_at(first);
        if !entry::ask(ask).is_some_and(|(name, _)| STANDING.contains(&name)) {
            return;
        }
        let bytes = ask.len() + answer.len();
        if self.standing_bytes + bytes > STANDING_BYTES_MAX {
            return;
        }
        if let Some(former) = self.standing.insert(ask.to_vec(), answer.to_vec()) {
            self.standing_bytes -= ask.len() + former.len();
        }
        self.standing_bytes += bytes;
    }

    /// Keeps the call that has ended, which may be one of `save`.
    fn keep_call(&mut self, is_save: bool) {
        if self.over {
            self.ring.lose();
        } else {
            self.call_bytes = self.call.entries.len().min(CALL_ROOM_MAX);
            self.call.share();
            self.ring.push(&self.call);
        }
        self.taps.retain(|tap| !tap.inlet.is_closed());
        if self.taps.iter().any(|tap| tap.after) {
            if self.first.is_empty() {
                self.first.clone_from(&self.call);
                return;
            }
            self.take_over();
        }
        for tap in &mut self.taps {
            if tap.on && !self.over {
                match tap.inlet.push(self.id, &self.call, is_save) {
                    Pushed::Taken => continue,
                    Pushed::Full => tap.why = SLOW,
                    Pushed::NotMine => tap.why = "another instance was tried meanwhile",
                }
            } else if tap.on {
                tap.why = "a call was too large to be kept";
            }
            tap.on = false;
            tap.lost += u64::from(tap.begun);
        }
    }

    /// Has this instance's calls written where another's were: its head and its first call.
    fn take_over(&mut self) {
        let mut begin = Kept::default();
        put_head(&mut begin.entries, &self.head);
        begin.append(&std::mem::take(&mut self.first));
        for tap in self.taps.iter_mut().filter(|tap| tap.after) {
            tap.after = false;
            tap.on = tap.inlet.begin(self.id, self.head.sha256, &begin, false) == Pushed::Taken;
        }
    }

    /// Offers a checkpoint to whoever wants to begin at one.
    fn rebase(&mut self, state: &Bytes, conns: &[u64]) {
        let wants = |tap: &Tap| !tap.after && (!tap.on || tap.inlet.wants_base());
        if !self.ring.takes_base() && !self.taps.iter().any(wants) {
            return;
        }
        let mut base = Kept::default();
        let (mut ask, mut told) = (Vec::new(), Vec::new());
        entry::encode_ask(&mut ask, "net.connections", &());
        entry::encode(&mut told, &Ok::<_, String>((conns,)));
        let standing = self.standing.iter().chain([(&ask, &told)]);
        let standing = standing.map(|(ask, told)| (ask.as_slice().into(), told.as_slice().into())).collect();
        let (now, config) = (self.now, Cow::Borrowed(self.config.as_str()));
        base.put_base(Base { now, config, state: [].as_slice().into(), standing }, state);
        if base.len() > CALL_BYTES_MAX {
            return;
        }
        if self.ring.takes_base() {
            self.ring.rebase(&base);
        }
        for tap in self.taps.iter_mut().filter(|tap| wants(tap)) {
            let mut begin = Kept::default();
            put_lost(&mut begin.entries, tap);
            put_head(&mut begin.entries, &self.head);
            begin.append(&base);
            if tap.inlet.begin(self.id, self.head.sha256, &begin, true) == Pushed::Taken {
                (tap.on, tap.begun, tap.lost) = (true, true, 0);
            }
        }
    }
}

fn put_lost(out: &mut Vec<u8>, tap: &Tap) {
    if tap.lost > 0 {
        put_value(out, Tag::Lost, &Lost { calls: tap.lost, why: tap.why.into() });
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // What is missing at the end is said as well.
        for tap in &self.taps {
            let mut lost = Kept::default();
            put_lost(&mut lost.entries, tap);
            tap.inlet.push(self.id, &lost, false);
            tap.inlet.release(self.id);
        }
    }
}
