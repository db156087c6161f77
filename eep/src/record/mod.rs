//! Recordings: all that a proxylet saw and did, kept so that it can be done again.
//!
//! ```text
//! Instance ─ call, return ─┐                 ┌─▶ Ring ─ trap ─▶ DATA/recordings/NAME-…-trap.eeprec
//! Host ─ import, answer ───┴─▶ Recorder ─────┤
//!                              service's own └─▶ Queue ─▶ Writer ─▶ DATA/recordings/NAME-….eeprec, or a client
//!                              thread            bounded    own thread
//! FILE ─▶ Reader ─▶ Replay ─▶ what differs
//! ```
//!
//! | module | what |
//! | --- | --- |
//! | [`entry`] | what a recording is made of |
//! | [`kept`] | the entries of one call, which share what is large |
//! | [`relayed`] | what it was given and hands on, kept once |
//! | [`chunk`] | how it lies in a file: compressed, checked, readable up to a cut |
//! | [`recorder`] | the hook in the service's thread |
//! | [`ring`] | the latest calls in memory, for the day they end in a trap |
//! | [`queue`], [`writer`] | the way to a file or a client, off the service's thread |
//! | [`files`], [`blocks`] | the files of a service within their budget, around the page cache |
//! | [`service`] | what of one service is recorded, and where to |
//! | [`reader`] | hostile files, in bounded memory |
//! | [`replay`] | the same code with the same inputs, its outputs compared |
//!
//! A proxylet is a function of its calls and of the answers to its imports: it has no clock, no randomness and no
//! threads of its own, and the engine leaves none open (`proxylet::runtime`). What is recorded is both, and what it
//! asked for as well, which is how a replay knows that it went the same way.

pub(crate) mod blocks;
pub(crate) mod chunk;
pub(crate) mod entry;
pub(crate) mod files;
pub(crate) mod kept;
pub(crate) mod queue;
pub mod reader;
pub(crate) mod recorder;
pub(crate) mod relayed;
pub mod replay;
pub(crate) mod ring;
pub mod service;
pub(crate) mod show;
pub(crate) mod writer;

/// Bytes of the entries of one call, its imports with it. A call that has more is left out, and that is said.
pub const CALL_BYTES_MAX: usize = 80 << 20;
