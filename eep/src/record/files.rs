//! The files of a service's recordings, within their budget.
//!
//! A recording is written to one file until that has a quarter of the budget; then, at a checkpoint, to the next, and
//! the oldest files go. So what is kept is the latest, and each file can be replayed by itself.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use crate::record::blocks::Blocks;
use crate::record::writer::{Sink, Stopped};

/// How a recording's file name ends.
const SUFFIX: &str = ".eeprec";
/// How that of a trap ends.
const TRAP_SUFFIX: &str = "-trap.eeprec";
/// Traps of one service that are kept; the oldest goes.
const TRAPS_MAX: usize = 4;
/// What of the budget is kept for saying that it is used up.
const LAST_WORD_BYTES: u64 = 1 << 10;

/// A folder for recordings, made where it is missing, readable by its user alone.
fn folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// A new file for a service.
fn create(folder_path: &Path, service: &str, suffix: &str) -> io::Result<(PathBuf, File)> {
    folder(folder_path)?;
    let now = humantime::format_rfc3339_micros(SystemTime::now()).to_string().replace([':', '-'], "");
    let path = folder_path.join(format!("{service}-{now}{suffix}"));
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    Ok((path, file))
}

/// A service's files, oldest first, with their bytes: those of traps, or the others.
fn list(folder: &Path, service: &str, traps: bool) -> Vec<(PathBuf, u64)> {
    let is_ours = |name: &str| {
        let rest = name.strip_prefix(service).and_then(|rest| rest.strip_prefix('-'));
        let time = match traps {
            true => rest.and_then(|rest| rest.strip_suffix(TRAP_SUFFIX)),
            false => rest.and_then(|rest| rest.strip_suffix(SUFFIX)),
        };
        // The time alone: another service's name may begin with this one's, and a trap's file ends like the others.
        time.is_some_and(|time| !time.contains('-'))
    };
    let mut files: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_str().is_some_and(is_ours))
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?.len())))
        .collect();
    // The time in the name sorts as text.
    files.sort();
    files
}

/// Removes a file that may be gone already: an operator tidies too.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Writes what led to a trap; where it lies.
pub(crate) fn keep_trap(folder: &Path, service: &str, content: &[u8]) -> io::Result<PathBuf> {
    let (path, mut file) = create(folder, service, TRAP_SUFFIX)?;
    if let Err(error) = file.write_all(content) {
        // Half of it is of no use to anybody.
        let _ = fs::remove_file(&path);
        return Err(error);
    }
    let files = list(folder, service, true);
    for (old, _) in &files[..files.len().saturating_sub(TRAPS_MAX)] {
        remove(old)?;
    }
    Ok(path)
}

/// The present file of a recording.
pub(crate) type Present = Arc<Mutex<Option<PathBuf>>>;

/// Writes files one after the other.
#[derive(Debug)]
pub(crate) struct Files {
    folder: PathBuf,
    service: String,
    budget: u64,
    file: Blocks,
    /// Its bytes, those that are not written yet with them.
    len: u64,
    /// Bytes of its other files, as they were counted last.
    others: u64,
    present: Present,
}

impl Files {
    /// The first file.
    pub(crate) fn open(folder: &Path, service: &str, budget: u64) -> io::Result<(Self, Present)> {
        let (path, file) = create(folder, service, SUFFIX)?;
        let present = Present::default();
        let mut files = Self {
            folder: folder.to_owned(),
            service: service.to_owned(),
            budget,
            file: Blocks::new(file),
            len: 0,
            others: list(folder, service, false).iter().map(|(_, len)| len).sum(),
            present: Arc::clone(&present),
        };
        files.is(path);
        Ok((files, present))
    }

    fn append(&mut self, parts: &[&[u8]], behind: bool) -> Result<(), Stopped> {
        for part in parts {
            self.file.append(part, behind)?;
            self.len += part.len() as u64;
        }
        Ok(())
    }

    fn is(&mut self, path: PathBuf) {
        *self.present.lock().unwrap_or_else(PoisonError::into_inner) = Some(path);
    }

    /// Removes the oldest of the other files until there is room for so many bytes in the present one; whether there is.
    /// They are looked for only where there was none by the last count: whoever else removes some makes more.
    fn make_room(&mut self, bytes: u64) -> io::Result<bool> {
        if self.len + bytes + self.others <= self.budget {
            return Ok(true);
        }
        let present = self.present.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut others: Vec<_> = list(&self.folder, &self.service, false)
            .into_iter()
            .filter(|(path, _)| Some(path) != present.as_ref())
            .collect();
        self.others = others.iter().map(|(_, len)| len).sum();
        others.reverse();
        while self.len + bytes + self.others > self.budget {
            let Some((oldest, len)) = others.pop() else { return Ok(false) };
            remove(&oldest)?;
            self.others -= len;
        }
        Ok(true)
    }
}

impl Sink for Files {
    fn write(&mut self, parts: &[&[u8]], behind: bool) -> Result<(), Stopped> {
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        if !self.make_room(bytes as u64 + LAST_WORD_BYTES)? {
            return Err(Stopped::Full);
        }
        self.append(parts, behind)
    }

    fn last(&mut self, parts: &[&[u8]]) -> Result<(), Stopped> {
        self.append(parts, false)
    }

    fn settle(&mut self, all: bool) -> Result<(), Stopped> {
        Ok(if all { self.file.settle() } else { self.file.settle_old() }?)
    }

    fn is_large(&self) -> bool {
        self.len > self.budget / 4
    }

    fn renew(&mut self) -> Result<(), Stopped> {
        self.file.settle()?;
        let (path, file) = create(&self.folder, &self.service, SUFFIX)?;
        self.others += self.len;
        self.file.renew(file);
        self.len = 0;
        self.is(path);
        Ok(())
    }
}
