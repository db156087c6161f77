//! What all services of a node share: the engine, its memory pool, the compile cache, the limits of the node.

use std::io;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, Weak};
use std::thread;
use std::time::Duration;

use wasmtime::component::{Component, Linker};
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, RegallocAlgorithm,
};

use crate::host::descriptors::Descriptors;
use crate::host::outside::Outside;
use crate::host::{self, Host, wasi};
use crate::policy::whereabouts::Whereabouts;
use crate::proxylet::at_hand::AtHand;
use crate::proxylet::backoff::BackoffConfig;
use crate::proxylet::checkpoint_writer::CheckpointWriter;
use crate::proxylet::code::{Code, Origin};
use crate::proxylet::compile_cache::{CacheWriter, CompileCache, compile_with};
use crate::proxylet::contract;
use crate::proxylet::digest::{Digest, Digested};
use crate::proxylet::epoch::Ticker;
use crate::proxylet::error::LoadError;
use crate::proxylet::exports::ExportsPre;
use crate::proxylet::inspect::{Inspection, inspect};
use crate::proxylet::limits::Limits;
use crate::proxylet::memory::TABLE_ELEMENTS_MAX;
use crate::proxylet::read_ahead::ReadAhead;
use crate::proxylet::state_store::StateStore;
use crate::record::service::Place;

/// What a node says of its services as a whole.
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// The folder for compiled proxylets; made where it is missing.
    pub cache_dir: PathBuf,
    /// Bytes that it may take up (default 1 GiB); the entries written longest ago leave first.
    pub cache_bytes_max: u64,
    /// Memory for compiled code that no service runs any more, in bytes (default 64 MiB); what was run longest ago leaves
    /// first.
    pub at_hand_bytes_max: u64,
    /// Services that may run at one time (default 1,000, at most [`Self::SERVICES_MAX`]). Each one reserves address
    /// space, not memory.
    pub services_max: u32,
    /// How often a service's state is saved while it works (default 60 s). After a trap, or when the node was killed,
    /// a service goes on from what was saved last.
    pub checkpoint_every: Duration,
    /// The folder for recordings, made with the first; none where nothing is recorded, not even what leads to a trap.
    pub recordings_dir: Option<PathBuf>,
    /// The pauses before a service that trapped is started again.
    pub backoff: BackoffConfig,
    /// From how many bytes on a proxylet is compiled quickly first (default 128 KiB); smaller ones are compiled for speed
    /// at once.
    pub quick_from_bytes: usize,
}

impl RuntimeConfig {
    /// The most that [`Self::services_max`] can be: an instance takes two mappings, and a process has 65,530 by
    /// default (`vm.max_map_count`), beyond which it is aborted.
    pub const SERVICES_MAX: u32 = 4_000;

    /// The defaults, with this folder for compiled proxylets.
    #[must_use]
    pub fn new(cache_dir: PathBuf) -> Self {
        Self {
            cache_dir,
            cache_bytes_max: 1 << 30,
            at_hand_bytes_max: 64 << 20,
            services_max: 1_000,
            checkpoint_every: Duration::from_secs(60),
            recordings_dir: None,
            backoff: BackoffConfig::default(),
            quick_from_bytes: 128 << 10,
        }
    }
}

/// The engine of a node and all that its services share. One for the life of the process, in an [`Arc`].
#[derive(Debug)]
pub struct Runtime {
    engine: Engine,
    /// Compiles for [`Self::engine`] in half the time, code that is several times slower.
    quick: Engine,
    linker: LinkerBox,
    cache: CacheWriter,
    at_hand: AtHand,
    read_ahead: ReadAhead,
    pub(crate) ticker: Ticker,
    pub(crate) descriptors: Arc<Descriptors>,
    pub(crate) store: Arc<dyn StateStore>,
    pub(crate) checkpoints: CheckpointWriter,
    pub(crate) recordings: Place,
    pub(crate) config: RuntimeConfig,
    /// Where peers are, as far as the node knows.
    pub(crate) whereabouts: Arc<Whereabouts>,
    /// The node around it, where there is one.
    outside: OnceLock<Weak<dyn Outside>>,
}

/// Compiled code from the cache, before its bytes are there.
pub struct Cached {
    digest: Digest,
    compiled: Compiled,
}

enum Compiled {
    /// In memory.
    AtHand(Code),
    /// On disk.
    Linked(Box<ExportsPre<Host>>),
}

impl std::fmt::Debug for Cached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cached").field("digest", &self.digest).finish_non_exhaustive()
    }
}

/// A linker does not say what it holds.
struct LinkerBox(Linker<Host>);

impl std::fmt::Debug for LinkerBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Linker")
    }
}

impl Runtime {
    /// Sets up the engine. Reserves some 4 GiB of address space for each service that may run.
    ///
    /// # Errors
    /// The cache folder cannot be made, or the system refuses address space or a thread.
    pub fn new(mut config: RuntimeConfig, store: Arc<dyn StateStore>) -> io::Result<Self> {
        config.services_max = config.services_max.clamp(1, RuntimeConfig::SERVICES_MAX);
        let engine = Engine::new(&engine_config(config.services_max)).map_err(|error| {
            io::Error::other(format!(
                "reserving address space for {} services: {error:#}; allow more (`ulimit -v`), or lower the number",
                config.services_max
            ))
        })?;
        let quick = Engine::new(&quick_config()).map_err(io::Error::other)?;
        let mut linker = Linker::new(&engine);
        host::link(&mut linker).map_err(io::Error::other)?;
        let cache =
            CompileCache::open(&config.cache_dir, config.cache_bytes_max, &engine).map_err(|error| {
                io::Error::new(error.kind(), format!("compile cache {}: {error}", config.cache_dir.display()))
            })?;
        let cache = CacheWriter::new(cache);
        let ticker = Ticker::start(&engine)?;
        let checkpoints = CheckpointWriter::start(Arc::clone(&store), config.services_max as usize)?;
        let read_ahead = ReadAhead::start(Arc::clone(cache.cache()), engine.clone(), linker.clone());
        let linker = LinkerBox(linker);
        let folder = config.recordings_dir.clone();
        let recordings = Place { folder, store: Arc::clone(&store), held: Arc::default() };
        Ok(Self {
            engine,
            quick,
            linker,
            cache,
            read_ahead,
            at_hand: AtHand::new(config.at_hand_bytes_max),
            ticker,
            descriptors: Descriptors::of_process(),
            store,
            checkpoints,
            recordings,
            config,
            whereabouts: Arc::default(),
            outside: OnceLock::new(),
        })
    }

    /// Makes code from a proxylet's bytes: checks the digest where one is wanted, the form, the imports, and compiles for
    /// speed, or takes the compiled form from the cache. Blocks for as long as that takes; call it off the async threads.
    ///
    /// # Errors
    /// What is wrong with the bytes. Nothing has changed.
    pub fn prepare(&self, bytes: &[u8], wanted: Option<Digest>) -> Result<Code, LoadError> {
        let digest = Digest::of(bytes);
        check_digest(digest, wanted)?;
        match self.cached(digest) {
            Some(cached) => self.prepare_cached(bytes, cached),
            None => self.prepare_new(bytes, digest),
        }
    }

    /// Takes compiled code from the cache by its digest alone, so that it is read while the bytes are still on their way.
    /// Blocks for as long as that takes.
    #[must_use]
    pub fn cached(&self, digest: Digest) -> Option<Cached> {
        let compiled = match self.at_hand.get(&digest) {
            Some(code) => Compiled::AtHand(code),
            None => Compiled::Linked(Box::new(match self.read_ahead.take(&digest) {
                Some(linked) => linked,
                None => self.link(&self.cache.settled().get(&self.engine, &digest)?).ok()?,
            })),
        };
        Some(Cached { digest, compiled })
    }

    /// As [`Self::prepare`], in less than half the time where nothing is in the cache and the proxylet is not small: the
    /// code is compiled quickly, and a service that starts with it goes on with faster code as soon as there is some. What
    /// was taken from the cache before, is used if it is of these bytes.
    ///
    /// # Errors
    /// What is wrong with the bytes. Nothing has changed.
    pub fn prepare_quickly(
        &self,
        bytes: &Digested,
        wanted: Option<Digest>,
        early: Option<Cached>,
    ) -> Result<Code, LoadError> {
        let digest = bytes.digest();
        check_digest(digest, wanted)?;
        match early.filter(|cached| cached.digest == digest).or_else(|| self.cached(digest)) {
            Some(cached) => self.prepare_cached(bytes, cached),
            None if bytes.len() < self.config.quick_from_bytes => self.prepare_new(bytes, digest),
            None => {
                let inspection = inspected(bytes)?;
                let compile = || compile_with(&self.quick, &self.engine, bytes);
                let component = while_checked(bytes, compile)?.map_err(not_compiled)?;
                let origin = Origin::Quick(Arc::from(&**bytes));
                Ok(Code::new(digest, inspection, self.link(&component)?, origin))
            }
        }
    }

    fn prepare_cached(&self, bytes: &[u8], cached: Cached) -> Result<Code, LoadError> {
        match cached.compiled {
            Compiled::AtHand(code) => Ok(code),
            Compiled::Linked(linked) => {
                let code = Code::new(cached.digest, inspected(bytes)?, *linked, Origin::Cache);
                self.at_hand.put(&code);
                Ok(code)
            }
        }
    }

    fn prepare_new(&self, bytes: &[u8], digest: Digest) -> Result<Code, LoadError> {
        let inspection = inspected(bytes)?;
        let linked = self.link(&self.compile(bytes, &digest)?)?;
        let code = Code::new(digest, inspection, linked, Origin::Compiled);
        self.at_hand.put(&code);
        Ok(code)
    }

    fn compile(&self, bytes: &[u8], digest: &Digest) -> Result<Component, LoadError> {
        let compile = || Component::from_binary(&self.engine, bytes);
        let component = while_checked(bytes, compile)?.map_err(not_compiled)?;
        self.cache.put_soon(*digest, &component);
        Ok(component)
    }

    /// All that can be done before there is an instance.
    fn link(&self, component: &Component) -> Result<ExportsPre<Host>, LoadError> {
        linked(&self.linker.0, &self.engine, component).map_err(not_compiled)
    }

    /// Has the rest of the node do what services ask for. The first call counts.
    pub(crate) fn answer_with(&self, outside: Weak<dyn Outside>) {
        // There is one node around a runtime.
        let _ = self.outside.set(outside);
    }

    pub(crate) fn outside(&self) -> Option<Arc<dyn Outside>> {
        self.outside.get().and_then(Weak::upgrade)
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Services that run now.
    #[must_use]
    pub fn services_running(&self) -> usize {
        self.ticker.count()
    }

    /// File descriptors that services hold now, and may hold together.
    #[must_use]
    pub fn descriptors(&self) -> (usize, usize) {
        (self.descriptors.held(), self.descriptors.max())
    }
}

/// A component with all done that can be done before there is an instance.
pub(crate) fn linked(
    linker: &Linker<Host>,
    engine: &Engine,
    component: &Component,
) -> wasmtime::Result<ExportsPre<Host>> {
    component.initialize_copy_on_write_image()?;
    ExportsPre::new(wasi::linked(linker, component, engine)?)
}

/// Compiles while the bytes are compared with the contract. What is in the cache was found to fit.
fn while_checked<T>(bytes: &[u8], compile: impl FnOnce() -> T) -> Result<T, LoadError> {
    thread::scope(|scope| {
        // Where the system has no thread for it, it is done before.
        let check = thread::Builder::new().spawn_scoped(scope, || contract::check(bytes));
        let Ok(check) = check else { return contract::check(bytes).map(|()| compile()) };
        let compiled = compile();
        match check.join() {
            Ok(fits) => fits.map(|()| compiled),
            Err(panic) => resume_unwind(panic),
        }
    })
}

fn check_digest(found: Digest, wanted: Option<Digest>) -> Result<(), LoadError> {
    match wanted {
        Some(wanted) if wanted != found => Err(LoadError::Digest { wanted, found }),
        _ => Ok(()),
    }
}

fn inspected(bytes: &[u8]) -> Result<Inspection, LoadError> {
    let inspection = inspect(bytes)?;
    inspection.check_interfaces()?;
    Ok(inspection)
}

fn not_compiled(error: wasmtime::Error) -> LoadError {
    LoadError::Compile(format!("{error:#}"))
}

/// The settings of the engine that compiles quickly; in all that code depends on, those of the other one. Measured on the
/// Gnutella peer (0.9 MB): 320 ms of CPU time instead of 650, most of it saved by the plain register allocator.
fn quick_config() -> Config {
    let mut config = engine_config(1);
    config.cranelift_opt_level(OptLevel::None).cranelift_regalloc_algorithm(RegallocAlgorithm::SinglePass);
    config
}

pub(crate) fn engine_config(services_max: u32) -> Config {
    /// Made components have one memory and a handful of core instances (the code, adapters, shims).
    const MEMORIES_PER_COMPONENT_MAX: u32 = 4;
    const CORE_INSTANCES_PER_COMPONENT_MAX: u32 = 16;
    const TABLES_PER_COMPONENT_MAX: u32 = 8;
    /// For components that have more than one memory or more instances than usual.
    const SLACK: u32 = 64;

    /// What an instance leaves is zeroed in place up to so much, in bytes: a page that is given back to the system costs
    /// a fault when the next instance touches it, and zeroing what nobody touches costs as well. Small guests have their
    /// stack (64 KiB from a C compiler), their data and the beginning of their heap there; what Rust makes begins with a
    /// stack of 1 MiB, whose far end stays as it is.
    const KEPT_MEMORY: usize = 160 << 10;
    const KEPT_TABLE: usize = 16 << 10;

    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(services_max + SLACK)
        .total_core_instances(services_max * 4 + SLACK)
        .total_memories(services_max + SLACK)
        .total_tables(services_max * 2 + SLACK)
        .max_memories_per_component(MEMORIES_PER_COMPONENT_MAX)
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT_MAX)
        .max_tables_per_component(TABLES_PER_COMPONENT_MAX)
        .table_elements(TABLE_ELEMENTS_MAX)
        .linear_memory_keep_resident(KEPT_MEMORY)
        .table_keep_resident(KEPT_TABLE)
        .max_memory_size(Limits::MEMORY_MAX.0 as usize);
    let mut config = same_everywhere();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// What a proxylet can see of the engine, the same in a node and in a replay. A proxylet computes the same from the same
/// inputs on every machine: the bits of a NaN are made so, and vector instructions whose results may differ are made to
/// agree. What is left are the depth of the stack, which is that of the machine's architecture, and time itself, where a
/// call takes longer than it may.
pub(crate) fn same_everywhere() -> Config {
    let mut config = Config::new();
    config
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .epoch_interruption(true)
        .concurrency_support(false)
        // Neither is needed for a backtrace of function names, and both make compiled code larger to load.
        .generate_address_map(false)
        .native_unwind_info(false);
    config
}
