//! A million random and mutated streams through the parsers: no panic, no growth.
//!
//! `EEP_FUZZ_STREAMS` sets how many (for all targets together), `EEP_FUZZ_SEED` which ones. What fails is printed with
//! the seed and the number that give it again, and its bytes.

#![allow(clippy::print_stderr)]

use std::sync::{Mutex, PoisonError};

use eep_tests::fuzz::{self, Mutator, PeerRig, TARGETS, Target};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Streams for all targets together, unless told otherwise.
const STREAMS: u64 = 1_000_000;
/// The seed, unless told otherwise.
const SEED: u64 = 0xA7_11_5E_ED;
/// What may stay in use after a target's run, once its first streams have filled what is made once.
const GROWTH_BYTES_MAX: usize = 16 * 1024;

/// Memory is counted for the whole process: one target at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, which is no number")),
        Err(_) => default,
    }
}

/// Says how to see a failure again.
struct Witness<'a> {
    target: &'a Target,
    seed: u64,
    number: u64,
    input: Vec<u8>,
}

impl Drop for Witness<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let hex: String = self.input.iter().map(|b| format!("{b:02x}")).collect();
            eprintln!(
                "stream {} of target `{}`; again: EEP_FUZZ_SEED={} cargo test -p eep-tests --test fuzz {}\n{hex}",
                self.number, self.target.name, self.seed, self.target.name
            );
        }
    }
}

fn run(name: &str) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let target = TARGETS.iter().find(|t| t.name == name).expect("a target of this name");
    let seed = setting("EEP_FUZZ_SEED", SEED);
    let weights: u64 = TARGETS.iter().map(|t| t.weight).sum();
    let streams = (setting("EEP_FUZZ_STREAMS", STREAMS) * target.weight).div_ceil(weights);
    let mut mutator = Mutator::new(fuzz::corpus(name), seed);
    let mut witness =
        Witness { target, seed, number: 0, input: Vec::with_capacity(2 * fuzz::INPUT_BYTES_MAX) };
    let mut settled = None;
    for number in 0..streams {
        witness.number = number;
        mutator.next_into(&mut witness.input);
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        (target.run)(&witness.input);
        let held = MEMORY.peak_usage().saturating_sub(before);
        assert!(held <= target.held_bytes_max, "{held} bytes in use at a time");
        if number == streams / 100 {
            settled = Some(MEMORY.current_usage());
        }
    }
    let grown = MEMORY.current_usage().saturating_sub(settled.expect("at least one stream"));
    assert!(grown <= GROWTH_BYTES_MAX, "{grown} bytes more in use at the end than at the start");
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test] fn $name() { run(stringify!($name)); })*

        #[test]
        fn every_target_is_run() {
            let run = [$(stringify!($name)),*];
            assert_eq!(TARGETS.iter().map(|t| t.name).collect::<Vec<_>>(), run);
        }
    };
}

/// Strangers that one peer has to outlive.
const STRANGERS: u64 = 20_000;
/// What a peer may use more after all of them than after the first tenth: its tables are full by then.
const PEER_GROWTH_BYTES_MAX: usize = 512 * 1024;

#[test]
fn one_peer_outlives_all_strangers() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let target = TARGETS.iter().find(|t| t.name == "peer").expect("a target of this name");
    let seed = setting("EEP_FUZZ_SEED", SEED);
    let mut mutator = Mutator::new(fuzz::corpus(target.name), seed);
    let mut witness =
        Witness { target, seed, number: 0, input: Vec::with_capacity(2 * fuzz::INPUT_BYTES_MAX) };
    let mut rig = PeerRig::new();
    let mut settled = 0;
    for number in 0..STRANGERS {
        witness.number = number;
        mutator.next_into(&mut witness.input);
        rig.stream(&witness.input);
        if number == STRANGERS / 10 {
            settled = MEMORY.current_usage();
        }
    }
    let grown = MEMORY.current_usage().saturating_sub(settled);
    assert!(grown <= PEER_GROWTH_BYTES_MAX, "{grown} bytes more in use at the end");
}

targets! { descriptors pong query hit push vendor qrp ggep handshake http peer datagram measurements lookups }
