//! What of WASI 0.2 a proxylet may import: the runtimes of Python and JavaScript, and C libraries, do so whether the
//! proxylet asked for it or not.
//!
//! All of it is answered with what the proxylet has anyway, so that it reaches nothing more, and a recording of the
//! contract's calls holds it too:
//!
//! | WASI | here |
//! | --- | --- |
//! | `wasi:clocks/wall-clock` | `clock.wall` |
//! | `wasi:clocks/monotonic-clock` | the time of the batch: it stands still within a call |
//! | `wasi:random/*` | `random.bytes` |
//! | `wasi:cli/stdout`, `stderr` | lines of the log: `info`, `warn` |
//! | `wasi:cli/stdin`, `environment`, `terminal-*` | empty |
//! | `wasi:cli/exit` | ends the instance, as a trap does |
//! | `wasi:filesystem/*`, `wasi:sockets/*` | there are none: see [`absent`] |
//!
//! Whoever waits (`wasi:io/poll` on a time to come, `sleep`) is ended: a call that waits would hold up every connection.

pub(crate) mod absent;
mod clocks;
mod random;
mod stdio;
mod streams;

use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{Engine, Error, Result};

pub(crate) use stdio::Stdio;

/// What the answers are made of.
pub(crate) trait Wasi: 'static {
    /// The time of the present batch.
    fn batch_ns(&self) -> u64;
    /// The wall clock, in nanoseconds since 1970.
    fn wall_ns(&mut self) -> u64;
    /// So many random bytes, at most 4,096.
    fn random(&mut self, len: u32) -> Vec<u8>;
    /// A line for the log; `warn` for one of stderr, `info` otherwise.
    fn line(&mut self, warn: bool, line: String);
    /// A line of the node itself for the log.
    fn refused(&mut self, line: &str);
    /// What was written and is no line yet.
    fn stdio(&mut self) -> &mut Stdio;
}

/// The version whose shapes these are; a component may have been built with any 0.2.
const VERSION: &str = "0.2.0";

/// The interfaces that [`link`] answers.
pub(crate) const ANSWERED: [&str; 18] = [
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:random/random",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/stderr",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:cli/terminal-stderr",
];

/// Links what is the same for every component.
pub(crate) fn link<T: Wasi>(linker: &mut Linker<T>) -> Result<()> {
    streams::link(linker)?;
    clocks::link(linker)?;
    random::link(linker)?;
    stdio::link(linker)
}

/// A component with its imports; those of what a proxylet does not have are refusals.
pub(crate) fn linked<T: Wasi>(
    linker: &Linker<T>,
    component: &Component,
    engine: &Engine,
) -> Result<InstancePre<T>> {
    if !component.component_type().imports(engine).any(|(name, _)| absent::is_absent(name)) {
        return linker.instantiate_pre(component);
    }
    let mut linker = linker.clone();
    absent::link(&mut linker, component, engine)?;
    linker.instantiate_pre(component)
}

/// An interface's name as a linker wants it.
fn named(interface: &str) -> String {
    format!("{interface}@{VERSION}")
}

/// What ends an instance that would wait.
fn would_wait() -> Error {
    Error::msg(
        "it waits inside a call (WASI poll or sleep), which a proxylet cannot: set a timer with `eep:proxylet/clock`",
    )
}
