//! A proxylet that is compiled and linked, ready to be instantiated any number of times.

use std::fmt;
use std::sync::{Arc, Weak};

use wasmtime::Store;

use crate::host::Host;
use crate::host::grant::Grants;
use crate::proxylet::digest::{Digest, Digested};
use crate::proxylet::error::LoadError;
use crate::proxylet::exports::{Exports, ExportsPre};
use crate::proxylet::inspect::Inspection;
use crate::proxylet::manifest::Manifest;

/// A proxylet's code, made by `Runtime::prepare`. Cheap to clone.
#[derive(Clone)]
pub struct Code {
    compiled: Arc<Compiled>,
    origin: Origin,
    /// The bytes that it was made from, where somebody keeps them: code that may yet be taken back is in no store.
    bytes: Weak<Digested>,
}

/// Code that ends when nobody else has it.
pub(crate) struct WeakCode(Weak<Compiled>);

struct Compiled {
    digest: Digest,
    inspection: Inspection,
    pre: ExportsPre<Host>,
}

/// How code was compiled.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    /// For speed, before.
    Cache,
    /// For speed, now.
    Compiled,
    /// Quickly, from these bytes, so that the service can start; it runs slower.
    Quick(Arc<[u8]>),
}

impl Code {
    pub(crate) fn new(digest: Digest, inspection: Inspection, pre: ExportsPre<Host>, origin: Origin) -> Self {
        Self { compiled: Arc::new(Compiled { digest, inspection, pre }), origin, bytes: Weak::new() }
    }

    /// The same code with who keeps the bytes that it was made from.
    pub(crate) fn kept_by(self, bytes: &Arc<Digested>) -> Self {
        Self { bytes: Arc::downgrade(bytes), ..self }
    }

    /// The bytes that it was made from; none where nobody keeps them in memory.
    pub(crate) fn bytes(&self) -> Option<Arc<Digested>> {
        self.bytes.upgrade()
    }

    pub(crate) fn downgrade(&self) -> WeakCode {
        WeakCode(Arc::downgrade(&self.compiled))
    }

    /// The same code for somebody who did not have it compiled.
    pub(crate) fn cached(&self) -> Self {
        Self { compiled: Arc::clone(&self.compiled), origin: Origin::Cache, bytes: Weak::new() }
    }

    /// Memory that the compiled form takes up, in bytes.
    pub(crate) fn compiled_bytes(&self) -> u64 {
        self.compiled.pre.compiled_bytes()
    }

    /// The digest of the bytes that it was made from.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.compiled.digest
    }

    /// What the proxylet says of itself; empty where it says nothing.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.compiled.inspection.manifest
    }

    /// What it imports and exports.
    #[must_use]
    pub fn inspection(&self) -> &Inspection {
        &self.compiled.inspection
    }

    /// Whether it came from the compile cache.
    #[must_use]
    pub fn was_cached(&self) -> bool {
        matches!(self.origin, Origin::Cache)
    }

    /// Whether it was compiled quickly, and would run faster had it been compiled for speed.
    #[must_use]
    pub fn is_quick(&self) -> bool {
        self.quick_from().is_some()
    }

    /// The bytes from which it was compiled quickly.
    pub(crate) fn quick_from(&self) -> Option<&[u8]> {
        match &self.origin {
            Origin::Quick(bytes) => Some(bytes),
            Origin::Cache | Origin::Compiled => None,
        }
    }

    /// Whether these grants cover what it imports.
    ///
    /// # Errors
    /// The first capability that is not granted at all, and how to grant it.
    pub fn check_grants(&self, grants: &Grants) -> Result<(), LoadError> {
        self.compiled.inspection.check_grants(grants)
    }

    /// Makes an instance.
    pub(crate) fn instantiate(&self, store: &mut Store<Host>) -> wasmtime::Result<Exports> {
        self.compiled.pre.instantiate(store)
    }
}

impl WeakCode {
    /// The code, as one that was compiled before; none where it has ended.
    pub(crate) fn upgrade(&self) -> Option<Code> {
        Some(Code { compiled: self.0.upgrade()?, origin: Origin::Cache, bytes: Weak::new() })
    }
}

impl fmt::Debug for WeakCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakCode")
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Code")
            .field("digest", &self.compiled.digest)
            .field("name", &self.manifest().name)
            .finish()
    }
}
