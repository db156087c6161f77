//! What of one service is recorded, and where to.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::SystemTime;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::sync::mpsc;

use crate::observe::log_ring::{LogLevel, LogRing, LogSource};
use crate::proxylet::code::Code;
use crate::proxylet::inspect::VERSION;
use crate::proxylet::limits::ByteSize;
use crate::proxylet::service::ServiceSpec;
use crate::proxylet::state_store::StateStore;
use crate::record::chunk::{MAGIC, Packer};
use crate::record::entry::{Head, Lost, Tag, put, put_value};
use crate::record::files::{self, Files, Present};
use crate::record::queue::{Inlet, Queue};
use crate::record::recorder::Recorder;
use crate::record::ring::{Held, Ring};
use crate::record::writer::{Sink, Stopped, Writer, Written};

/// Whether a service is recorded from its start on: `on`, `off`, or `{budget: 256MiB}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Record {
    /// Only the latest calls are kept, in memory, for the case of a trap.
    #[default]
    Off,
    /// To files in the node's data directory.
    On {
        /// Bytes of all files of the service together (default 256MiB, at least 1MiB); the oldest leave.
        budget: ByteSize,
    },
}

impl Record {
    /// The budget where none is given.
    pub const BUDGET: ByteSize = ByteSize(256 << 20);
    /// The smallest budget.
    pub const BUDGET_MIN: ByteSize = ByteSize(1 << 20);

    /// Whether nothing is recorded.
    #[must_use]
    pub fn is_off(&self) -> bool {
        *self == Self::Off
    }
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_str("off"),
            Self::On { budget } => serializer.collect_map([("budget", budget)]),
        }
    }
}

/// The settings of a recording.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Settings {
    budget: ByteSize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { budget: Record::BUDGET }
    }
}

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;
        impl<'de> Visitor<'de> for Written {
            type Value = Record;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`on`, `off` or `{budget: 256MiB}`")
            }

            fn visit_bool<E: serde::de::Error>(self, on: bool) -> Result<Record, E> {
                Ok(if on { Record::On { budget: Record::BUDGET } } else { Record::Off })
            }

            fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<Record, E> {
                match word {
                    "on" => self.visit_bool(true),
                    "off" => self.visit_bool(false),
                    _ => Err(E::custom(format!(
                        "{word:?} is no way to be recorded: write `on`, `off`, or a mapping with a `budget` in bytes"
                    ))),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Record, A::Error> {
                let Settings { budget } =
                    Settings::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                if budget < Record::BUDGET_MIN {
                    let least = Record::BUDGET_MIN;
                    return Err(A::Error::custom(format!(
                        "record: budget: {budget} is too little: write at least {least}"
                    )));
                }
                Ok(Record::On { budget })
            }
        }
        deserializer.deserialize_any(Written)
    }
}

/// A recording that is being written to files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Recording {
    /// The present file.
    pub file: String,
    /// Bytes recorded, before compression.
    pub bytes: u64,
}

/// Where recordings of a node go, and what they share.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The folder; none where nothing is recorded.
    pub(crate) folder: Option<PathBuf>,
    pub(crate) store: Arc<dyn StateStore>,
    pub(crate) held: Arc<Held>,
}

/// What of one service is recorded, and where to. Shared by its thread and those who ask.
#[derive(Debug)]
pub(crate) struct Recordings {
    service: String,
    place: Place,
    log: Arc<LogRing>,
    instances: AtomicU64,
    outlets: Mutex<Outlets>,
}

#[derive(Debug, Default)]
struct Outlets {
    files: Option<ToFiles>,
    client: Option<Arc<Inlet>>,
}

#[derive(Debug)]
struct ToFiles {
    inlet: Arc<Inlet>,
    present: Present,
    written: Written,
    thread: JoinHandle<()>,
}

impl Recordings {
    pub(crate) fn new(service: &str, place: Place, log: Arc<LogRing>) -> Arc<Self> {
        let (instances, outlets) = (AtomicU64::new(1), Mutex::default());
        Arc::new(Self { service: service.to_owned(), place, log, instances, outlets })
    }

    fn lock(&self) -> MutexGuard<'_, Outlets> {
        self.outlets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn ring(&self) -> Ring {
        Ring::new(Arc::clone(&self.place.held))
    }

    /// The recorder of a new instance.
    pub(crate) fn recorder(self: &Arc<Self>, spec: &ServiceSpec) -> std::rc::Rc<Recorder> {
        if self.place.folder.is_none() {
            return Recorder::off();
        }
        let ServiceSpec { code, limits, record, .. } = spec;
        let head = Head {
            eep: env!("CARGO_PKG_VERSION").to_owned(),
            contract: VERSION.to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
            service: self.service.clone(),
            proxylet: code.manifest().name.clone(),
            version: code.manifest().version.clone(),
            sha256: code.digest(),
            memory_bytes_max: limits.memory.0,
            call_ms: limits.call_ms,
            began_s: SystemTime::UNIX_EPOCH.elapsed().map_or(0.0, |d| d.as_secs_f64()),
        };
        let mut outlets = self.lock();
        outlets.client = outlets.client.take().filter(|inlet| !inlet.is_closed());
        outlets.files = outlets.files.take().filter(|files| !files.inlet.is_closed() && !record.is_off());
        if let (None, Record::On { budget }) = (&outlets.files, *record) {
            match self.to_files(budget) {
                Ok(files) => outlets.files = Some(files),
                Err(error) => self.say(LogLevel::Error, &format!("it is not recorded: {error}")),
            }
        }
        let inlets = outlets.files.iter().map(|files| &files.inlet).chain(&outlets.client).cloned().collect();
        Recorder::new(Arc::clone(self), self.instances.fetch_add(1, Relaxed), code.clone(), head, inlets)
    }

    /// An instance serves again that another one had replaced: a client who came meanwhile gets its calls.
    pub(crate) fn go_on_with(&self, recorder: &Recorder) {
        if let Some(client) = &self.lock().client {
            recorder.attach(Arc::clone(client));
        }
    }

    fn to_files(&self, budget: ByteSize) -> io::Result<ToFiles> {
        let Some(folder) = &self.place.folder else { return Err(io::ErrorKind::NotFound.into()) };
        let (sink, present) = Files::open(folder, &self.service, budget.0)?;
        let (inlet, written, thread) = self.write(sink)?;
        Ok(ToFiles { inlet, present, written, thread })
    }

    /// Begins to write to a sink, on a thread of its own.
    fn write(&self, sink: impl Sink + 'static) -> io::Result<(Arc<Inlet>, Written, JoinHandle<()>)> {
        let (queue, inlet) = Queue::open();
        let writer = Writer::new(queue, sink, Arc::clone(&self.place.store));
        let (written, log) = (Arc::clone(&writer.written), Arc::clone(&self.log));
        let thread =
            thread::Builder::new().name("eep-record".to_owned()).spawn(move || match writer.run() {
                Ok(()) | Err(Stopped::Gone) => {}
                Err(why) => {
                    log.write(LogLevel::Error, LogSource::Node, &format!("no longer recorded: {why}"))
                }
            })?;
        Ok((inlet, written, thread))
    }

    /// A recording for a client. None where there is one already.
    pub(crate) fn to_client(&self) -> io::Result<Option<ToClient>> {
        let mut outlets = self.lock();
        if outlets.client.as_ref().is_some_and(|inlet| !inlet.is_closed()) {
            return Ok(None);
        }
        let (pieces, taken) = mpsc::channel(Client::PIECES_MAX);
        let (inlet, ..) = self.write(Client { pieces })?;
        outlets.client = Some(Arc::clone(&inlet));
        Ok(Some((inlet, taken)))
    }

    /// Ends the recordings, once what was recorded is written.
    pub(crate) fn end(&self) {
        let Outlets { files, client } = std::mem::take(&mut *self.lock());
        drop(client);
        if let Some(ToFiles { inlet, thread, .. }) = files {
            drop(inlet);
            // It has logged why, where it failed.
            let _ = thread.join();
        }
    }

    /// Keeps what led to a trap; where.
    pub(crate) fn keep_trap(&self, code: &Code, head: &[u8], ring: &Ring) -> Option<PathBuf> {
        let folder = self.place.folder.as_ref()?;
        let Some((lost, base, calls)) = ring.contents() else {
            let why = "too much has happened since its last checkpoint";
            self.say(LogLevel::Warn, &format!("what led to the trap is not kept: {why}"));
            return None;
        };
        let mut entries = Vec::new();
        let (digest, held) = (code.digest(), code.bytes());
        let kept = if held.is_none() { self.place.store.code(&digest) } else { None };
        if let Some(code_bytes) = held.as_ref().map(|held| &***held).or(kept.as_deref()) {
            put(&mut entries, Tag::Code, digest.bytes(), code_bytes);
        }
        entries.extend_from_slice(head);
        base.runs().for_each(|run| entries.extend_from_slice(run));
        if lost > 0 {
            let why = "the memory for the latest calls was used up".into();
            put_value(&mut entries, Tag::Lost, &Lost { calls: lost, why });
        }
        calls.for_each(|call| entries.extend_from_slice(call));
        let mut content = MAGIC.to_vec();
        Packer::default().pack(&entries, &mut content);
        match files::keep_trap(folder, &self.service, &content) {
            Ok(path) => {
                let shown = path.display();
                self.say(
                    LogLevel::Error,
                    &format!("what led to the trap is kept: eep proxylet replay {shown}"),
                );
                Some(path)
            }
            Err(error) => {
                self.say(LogLevel::Warn, &format!("what led to the trap could not be kept: {error}"));
                None
            }
        }
    }

    /// The recording that is written to files.
    pub(crate) fn view(&self) -> Option<Recording> {
        let outlets = self.lock();
        let files = outlets.files.as_ref().filter(|files| !files.inlet.is_closed())?;
        let path = files.present.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        Some(Recording { file: path.display().to_string(), bytes: files.written.load(Relaxed) })
    }

    fn say(&self, level: LogLevel, text: &str) {
        self.log.write(level, LogSource::Node, text);
    }
}

/// The end of a client's recording that is the service's, and the file in pieces.
pub(crate) type ToClient = (Arc<Inlet>, mpsc::Receiver<Vec<u8>>);

/// A client that takes the file over as it is written.
struct Client {
    pieces: mpsc::Sender<Vec<u8>>,
}

impl Client {
    /// Pieces that may wait for it; while it does not take them, calls wait in the queue and then are left out.
    const PIECES_MAX: usize = 4;
}

impl Sink for Client {
    fn write(&mut self, parts: &[&[u8]], _: bool) -> Result<(), Stopped> {
        self.pieces.blocking_send(parts.concat()).map_err(|_| Stopped::Gone)
    }

    fn waits(&self) -> bool {
        self.pieces.capacity() == 0
    }

    fn is_gone(&self) -> bool {
        self.pieces.is_closed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_manifest_may_write_it_in_three_ways() {
        let read = |value: serde_json::Value| serde_json::from_value::<Record>(value);
        assert_eq!(read(json!("off")).unwrap(), Record::Off);
        assert_eq!(read(json!(false)).unwrap(), Record::Off);
        for on in [json!("on"), json!(true), json!({})] {
            assert_eq!(read(on).unwrap(), Record::On { budget: ByteSize(256 << 20) });
        }
        let on = Record::On { budget: ByteSize(2 << 20) };
        assert_eq!(read(json!({"budget": "2MiB"})).unwrap(), on);
        assert_eq!(read(serde_json::to_value(on).unwrap()).unwrap(), on);
        for wrong in [json!("yes"), json!({"budget": "1KiB"}), json!({"buget": "2MiB"})] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
