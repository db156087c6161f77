//! What parsers do with bytes that nobody meant for them.
//!
//! Each [`Target`] is one function over bytes. It must not panic, whatever they are, and it checks what holds of
//! everything that was accepted (what is written again is read as the same). Two drivers feed them: the `fuzz` test,
//! on every toolchain, with mutations of the corpus that follow from a seed; and `cargo fuzz`, with coverage.

mod mesh;
mod mutate;
mod peer;
mod wire;

pub use mutate::Mutator;
pub use peer::PeerRig;

use std::path::PathBuf;

/// One parser.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of its folder in `tests/fuzz/corpus`.
    pub name: &'static str,
    pub run: fn(&[u8]),
    /// Its part of all streams, against the others' parts: less where a stream is dear.
    pub weight: u64,
    /// Most bytes that it may have in use at a time, for inputs of at most [`INPUT_BYTES_MAX`].
    pub held_bytes_max: usize,
}

/// Longest input, as both drivers have it.
pub const INPUT_BYTES_MAX: usize = 4_096;

/// All parsers of bytes from strangers.
pub const TARGETS: &[Target] = &[
    Target { name: "descriptors", run: wire::descriptors, weight: 5, held_bytes_max: 1 << 20 },
    Target { name: "pong", run: wire::pong, weight: 5, held_bytes_max: 1 << 20 },
    Target { name: "query", run: wire::query, weight: 5, held_bytes_max: 1 << 20 },
    Target { name: "hit", run: wire::hit, weight: 5, held_bytes_max: 1 << 20 },
    Target { name: "push", run: wire::push, weight: 5, held_bytes_max: 1 << 20 },
    Target { name: "vendor", run: wire::vendor, weight: 5, held_bytes_max: 1 << 20 },
    // The largest table is 2^21 bits; its largest patch inflates to a byte for each slot.
    Target { name: "qrp", run: wire::qrp, weight: 1, held_bytes_max: 8 << 20 },
    Target { name: "ggep", run: wire::ggep, weight: 5, held_bytes_max: 1 << 20 },
    Target { name: "handshake", run: wire::handshake, weight: 5, held_bytes_max: 1 << 20 },
    Target { name: "http", run: wire::http, weight: 5, held_bytes_max: 1 << 20 },
    Target { name: "peer", run: peer::stream, weight: 1, held_bytes_max: 32 << 20 },
    Target { name: "datagram", run: wire::datagram, weight: 5, held_bytes_max: 1 << 20 },
    Target { name: "measurements", run: mesh::measurements, weight: 1, held_bytes_max: 4 << 20 },
    Target { name: "lookups", run: mesh::lookups, weight: 1, held_bytes_max: 4 << 20 },
];

/// Runs one target by name.
///
/// # Panics
/// Where there is none of this name, and where the target finds something wrong.
pub fn run(target: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|t| t.name == target).expect("a target of this name");
    (target.run)(bytes);
}

/// The inputs to begin with.
///
/// # Panics
/// Where the folder is missing or empty.
#[must_use]
pub fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    // In the order of their names: the same seed then gives the same streams on every machine.
    let mut paths: Vec<PathBuf> = entries.map(|e| e.expect("a folder of ours").path()).collect();
    paths.sort();
    let inputs: Vec<Vec<u8>> = paths.iter().map(|p| std::fs::read(p).expect("a file of ours")).collect();
    assert!(!inputs.is_empty(), "no inputs in {}", folder.display());
    inputs
}
