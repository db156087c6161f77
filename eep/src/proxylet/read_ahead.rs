//! Compiled code that is read from the cache while the node starts, before anybody asks for it: what a node goes on with
//! after it was ended is, as a rule, what it compiled last.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use wasmtime::Engine;
use wasmtime::component::Linker;

use crate::host::Host;
use crate::proxylet::compile_cache::CompileCache;
use crate::proxylet::digest::Digest;
use crate::proxylet::exports::ExportsPre;
use crate::proxylet::runtime::linked;

/// How much is read, in bytes of the cache; it stays in memory until it is asked for.
const BYTES_MAX: u64 = 8 << 20;

/// What was read and not asked for yet.
#[derive(Default)]
pub(crate) struct ReadAhead(Arc<Mutex<Vec<Read>>>);

/// A proxylet by its digest, as it was read.
type Read = (Digest, ExportsPre<Host>);

impl fmt::Debug for ReadAhead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReadAhead")
    }
}

impl ReadAhead {
    /// Begins to read. Where the system has no thread for it, code is read when it is asked for.
    pub(crate) fn start(cache: Arc<CompileCache>, engine: Engine, linker: Linker<Host>) -> Self {
        let ahead = Self::default();
        let read = Arc::clone(&ahead.0);
        let work = move || {
            for digest in cache.newest(BYTES_MAX) {
                // What is damaged is found again by whoever asks for it.
                if let Ok(Some(component)) = cache.read(&engine, &digest)
                    && let Ok(linked) = linked(&linker, &engine, &component)
                {
                    read.lock().unwrap_or_else(PoisonError::into_inner).push((digest, linked));
                }
            }
        };
        drop(thread::Builder::new().name("eep-ahead".to_owned()).spawn(work));
        ahead
    }

    pub(crate) fn take(&self, digest: &Digest) -> Option<ExportsPre<Host>> {
        let mut read = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = read.iter().position(|(other, _)| other == digest)?;
        Some(read.swap_remove(at).1)
    }
}
