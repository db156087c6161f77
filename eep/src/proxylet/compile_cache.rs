//! Compiled code on disk, so that a proxylet is compiled once and not at each start of the node.
//!
//! An entry is named by the digest of the proxylet's bytes and by what the compiled form depends on (compiler,
//! its settings, processor features). It starts with the BLAKE3 hash of what follows (a third of the time of SHA-256, on a
//! machine that has instructions for both) and is used only if that is still
//! what follows: a file that was cut or changed is thrown away and compiled again.

use std::fs::{self, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::SystemTime;

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::proxylet::digest::Digest;

/// What every entry starts with; the number is the version of the format.
const MAGIC: &[u8; 8] = b"eepcwas2";
const HEADER_LEN: usize = MAGIC.len() + blake3::OUT_LEN;

/// A folder of compiled proxylets.
#[derive(Debug)]
pub(crate) struct CompileCache {
    dir: PathBuf,
    bytes_max: u64,
    compatibility: u64,
}

/// An entry is not what was written.
#[derive(Debug)]
pub(crate) struct Damaged;

impl CompileCache {
    /// Opens the folder, and makes it where it is missing, readable by its owner alone.
    pub(crate) fn open(dir: &Path, bytes_max: u64, engine: &Engine) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self { dir: dir.to_owned(), bytes_max, compatibility: hasher.finish() })
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(format!("{digest}-{:016x}.cwasm", self.compatibility))
    }

    /// The compiled form of these bytes, where it is there and whole.
    pub(crate) fn get(&self, engine: &Engine, digest: &Digest) -> Option<Component> {
        self.read(engine, digest).unwrap_or_else(|Damaged| {
            let path = self.path(digest);
            tracing::warn!(path = %path.display(), "a compiled proxylet on disk is damaged: it is compiled again");
            let _ = fs::remove_file(&path);
            None
        })
    }

    /// The same, and a damaged file stays.
    pub(crate) fn read(&self, engine: &Engine, digest: &Digest) -> Result<Option<Component>, Damaged> {
        let Ok(entry) = fs::read(self.path(digest)) else { return Ok(None) };
        verified(&entry).and_then(|code| load(engine, code)).ok_or(Damaged).map(Some)
    }

    /// The proxylets whose compiled form was written last, the newest first, as far as they have so many bytes in all.
    pub(crate) fn newest(&self, bytes_max: u64) -> Vec<Digest> {
        let ours = format!("-{:016x}.cwasm", self.compatibility);
        let mut entries = self.entries().unwrap_or_default();
        entries.sort_unstable_by(|a, b| b.cmp(a));
        let digest = |path: &Path| path.file_name()?.to_str()?.strip_suffix(&ours)?.parse().ok();
        let mut bytes = 0_u64;
        entries
            .iter()
            .filter_map(|(_, len, path)| Some((len, digest(path)?)))
            .take_while(|(len, _)| {
                bytes = bytes.saturating_add(**len);
                bytes <= bytes_max
            })
            .map(|(_, digest)| digest)
            .collect()
    }

    /// Keeps a compiled form. It appears under its name whole or not at all.
    pub(crate) fn put(&self, digest: &Digest, component: &Component) -> io::Result<()> {
        static UNIQUE: AtomicU64 = AtomicU64::new(0);
        let code = component.serialize().map_err(io::Error::other)?;
        let unique = UNIQUE.fetch_add(1, Ordering::Relaxed);
        let temporary = self.dir.join(format!(".{digest}.{}-{unique}.tmp", process::id()));
        let written = write_whole(&temporary, &code).and_then(|()| fs::rename(&temporary, self.path(digest)));
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written?;
        File::open(&self.dir)?.sync_all()?;
        self.prune()
    }

    /// Every entry: when it was written, its bytes, where it is.
    fn entries(&self) -> io::Result<Vec<(SystemTime, u64, PathBuf)>> {
        let entries = fs::read_dir(&self.dir)?.filter_map(|entry| {
            let entry = entry.ok()?;
            let meta = entry.metadata().ok()?;
            Some((meta.modified().ok()?, meta.len(), entry.path()))
        });
        Ok(entries.collect())
    }

    /// Removes the entries that were written longest ago until the rest fits.
    fn prune(&self) -> io::Result<()> {
        let mut entries = self.entries()?;
        entries.sort();
        let mut total: u64 = entries.iter().map(|(_, len, _)| len).sum();
        let newest = entries.len().saturating_sub(1);
        for (_, len, path) in &entries[..newest] {
            if total <= self.bytes_max {
                break;
            }
            fs::remove_file(path)?;
            total -= len;
        }
        Ok(())
    }
}

/// Writes entries on a thread of its own, so that a service starts as soon as its code is compiled and not when the
/// disk has it.
#[derive(Debug)]
pub(crate) struct CacheWriter {
    cache: Arc<CompileCache>,
    /// The entry that is being written: one at a time.
    writing: Mutex<Option<JoinHandle<()>>>,
}

impl CacheWriter {
    pub(crate) fn new(cache: CompileCache) -> Self {
        Self { cache: Arc::new(cache), writing: Mutex::default() }
    }

    pub(crate) fn cache(&self) -> &Arc<CompileCache> {
        &self.cache
    }

    /// The cache, with all in it that was to be put there.
    pub(crate) fn settled(&self) -> &CompileCache {
        let writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writing) = writing {
            // A thread that failed wrote nothing: the code is compiled again when it is next wanted.
            let _ = writing.join();
        }
        &self.cache
    }

    /// Starts to keep a compiled form. Where the disk does not take it, the service runs all the same, and is compiled
    /// again at the next start of the node.
    pub(crate) fn put_soon(&self, digest: Digest, component: &Component) {
        self.settled();
        let (cache, component) = (Arc::clone(&self.cache), component.clone());
        let write = move || {
            if let Err(error) = cache.put(&digest, &component) {
                tracing::warn!(%digest, %error, dir = %cache.dir.display(), "compiled code was not kept");
            }
        };
        let started = thread::Builder::new().name("eep-cache".to_owned()).spawn(write);
        *self.writing.lock().unwrap_or_else(PoisonError::into_inner) = started.ok();
    }
}

impl Drop for CacheWriter {
    fn drop(&mut self) {
        self.settled();
    }
}

fn write_whole(path: &Path, code: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(MAGIC)?;
    file.write_all(blake3::hash(code).as_bytes())?;
    file.write_all(code)?;
    file.sync_all()
}

/// The code of an entry that is what its header says.
fn verified(entry: &[u8]) -> Option<&[u8]> {
    let (header, code) = entry.split_at_checked(HEADER_LEN)?;
    let recorded = header.strip_prefix(MAGIC)?;
    (blake3::hash(code).as_bytes() == recorded).then_some(code)
}

/// Compiles with one engine for another one, which has the same settings but for those of its optimiser.
pub(crate) fn compile_with(compiler: &Engine, engine: &Engine, bytes: &[u8]) -> wasmtime::Result<Component> {
    let code = compiler.precompile_component(bytes)?;
    load(engine, &code).ok_or_else(|| wasmtime::Error::msg("the engine does not take what its compiler made"))
}

/// Takes verified code into the engine; none where another version of the engine wrote it.
#[allow(unsafe_code)]
fn load(engine: &Engine, code: &[u8]) -> Option<Component> {
    // SAFETY: `deserialize` must be given what `serialize` or `precompile_component` made. `compile_with` has it from the
    // latter. What `get` has is from the former: the folder and its files are writable by the node's
    // own user alone, `put` is the only writer, and `verified` has compared the bytes with the hash that `put`
    // recorded. The bytes are in our memory: nobody changes them between that comparison and this call.
    unsafe { Component::deserialize(engine, code) }.ok()
}
