//! Compiled code in memory: what services run, so that all that run the same proxylet share one copy of it, and what was
//! run last, so that it need not be read from the compile cache again.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use crate::proxylet::code::{Code, WeakCode};
use crate::proxylet::digest::Digest;

/// How many proxylets that nobody may run any more stay at hand, besides the bound on their bytes.
const LAST_MAX: usize = 64;

/// Code that was compiled for speed, by the digest of its proxylet. What services run is theirs; of the rest there are at
/// most `bytes_max`, but for the newest, which stays whatever its size.
#[derive(Debug)]
pub(crate) struct AtHand {
    bytes_max: u64,
    shelf: Mutex<Shelf>,
}

#[derive(Debug, Default)]
struct Shelf {
    /// As many as there are proxylets that run, and what is in `last`.
    known: HashMap<Digest, WeakCode>,
    /// The one asked for last is in front.
    last: VecDeque<Code>,
}

impl AtHand {
    /// With 0 bytes, only what services hold is at hand.
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self { bytes_max, shelf: Mutex::default() }
    }

    pub(crate) fn get(&self, digest: &Digest) -> Option<Code> {
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        let code = shelf.known.get(digest)?.upgrade()?;
        shelf.remember(code.clone(), self.bytes_max);
        Some(code)
    }

    pub(crate) fn put(&self, code: &Code) {
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        shelf.known.insert(code.digest(), code.downgrade());
        shelf.remember(code.cached(), self.bytes_max);
        shelf.known.retain(|_, code| code.upgrade().is_some());
    }
}

impl Shelf {
    fn remember(&mut self, code: Code, bytes_max: u64) {
        self.last.retain(|other| other.digest() != code.digest());
        if bytes_max > 0 {
            self.last.push_front(code);
        }
        self.last.truncate(LAST_MAX);
        let bytes = |last: &VecDeque<Code>| last.iter().map(Code::compiled_bytes).sum::<u64>();
        while self.last.len() > 1 && bytes(&self.last) > bytes_max {
            self.last.pop_back();
        }
    }
}
