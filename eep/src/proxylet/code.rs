//! A proxylet that is compiled and linked, ready to be instantiated any number of times.

use std::fmt;
use std::sync::{Arc, OnceLock, Weak};

use wasmtime::Store;
use wasmtime::component::{ComponentExportIndex, TypedFunc};

use crate::host::Host;
use crate::host::bindings::{Service, ServicePre};
use crate::host::grant::Grants;
use crate::proxylet::digest::Digest;
use crate::proxylet::error::LoadError;
use crate::proxylet::inspect::{Inspection, PACKAGE, VERSION};
use crate::proxylet::manifest::Manifest;

/// A proxylet's code, made by `Runtime::prepare`. Cheap to clone.
#[derive(Clone)]
pub struct Code(Arc<Inner>);

struct Inner {
    digest: Digest,
    inspection: Inspection,
    pre: ServicePre<Host>,
    /// `takeover.warm`, where it is exported.
    warm: Option<ComponentExportIndex>,
    origin: Origin,
    /// The bytes that it was made from, where somebody keeps them: code that may yet be taken back is in no store.
    bytes: OnceLock<Weak<[u8]>>,
}

/// Has an instance ask for so many bytes of memory and write to them, or give all that it has so back (0).
pub(crate) type Warm = TypedFunc<(u32,), ()>;

/// How code was compiled.
#[derive(Debug)]
pub(crate) enum Origin {
    /// For speed, before.
    Cache,
    /// For speed, now.
    Compiled,
    /// Quickly, from these bytes, so that the service can start; it runs slower.
    Quick(Vec<u8>),
}

impl Code {
    pub(crate) fn new(digest: Digest, inspection: Inspection, pre: ServicePre<Host>, origin: Origin) -> Self {
        let component = pre.instance_pre().component();
        let takeover = format!("{PACKAGE}/takeover@{VERSION}");
        let exported = component.get_export_index(None, &takeover);
        let warm = exported.and_then(|takeover| component.get_export_index(Some(&takeover), "warm"));
        Self(Arc::new(Inner { digest, inspection, pre, warm, origin, bytes: OnceLock::new() }))
    }

    /// Says who keeps the bytes that it was made from.
    pub(crate) fn remember(&self, bytes: &Arc<[u8]>) {
        // Who says it first keeps them, too.
        let _ = self.0.bytes.set(Arc::downgrade(bytes));
    }

    /// The bytes that it was made from; none where nobody keeps them in memory.
    pub(crate) fn bytes(&self) -> Option<Arc<[u8]>> {
        self.0.bytes.get()?.upgrade()
    }

    /// The digest of the bytes that it was made from.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// What the proxylet says of itself; empty where it says nothing.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.0.inspection.manifest
    }

    /// What it imports and exports.
    #[must_use]
    pub fn inspection(&self) -> &Inspection {
        &self.0.inspection
    }

    /// Whether it came from the compile cache.
    #[must_use]
    pub fn was_cached(&self) -> bool {
        matches!(self.0.origin, Origin::Cache)
    }

    /// Whether it was compiled quickly, and would run faster had it been compiled for speed.
    #[must_use]
    pub fn is_quick(&self) -> bool {
        self.quick_from().is_some()
    }

    /// The bytes from which it was compiled quickly.
    pub(crate) fn quick_from(&self) -> Option<&[u8]> {
        match &self.0.origin {
            Origin::Quick(bytes) => Some(bytes),
            Origin::Cache | Origin::Compiled => None,
        }
    }

    /// Whether these grants cover what it imports.
    ///
    /// # Errors
    /// The first capability that is not granted at all, and how to grant it.
    pub fn check_grants(&self, grants: &Grants) -> Result<(), LoadError> {
        self.0.inspection.check_grants(grants)
    }

    /// Makes an instance, and finds what warms it, where it can be warmed.
    pub(crate) fn instantiate(&self, store: &mut Store<Host>) -> wasmtime::Result<(Service, Option<Warm>)> {
        let instance = self.0.pre.instance_pre().instantiate(&mut *store)?;
        let exports = Service::new(&mut *store, &instance)?;
        let warm = self.0.warm.as_ref().map(|warm| instance.get_typed_func(&mut *store, warm)).transpose()?;
        Ok((exports, warm))
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Code").field("digest", &self.0.digest).field("name", &self.manifest().name).finish()
    }
}
