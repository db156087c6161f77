//! `eep proxylet replay`

use std::path::{Path, PathBuf};

use crate::cli::format::{bytes, span};
use crate::cli::output::{BAD, BOLD, DIM, Failure, GOOD, WARN, json, line, note, paint, print, printable};
use crate::cli::proxylet::sign::read;
use crate::config::Source;
use crate::node::refusals;
use crate::problem::Problem;
use crate::proxylet::fetch::CODE_BYTES_MAX;
use crate::record::reader::{Ending, ReadError};
use crate::record::replay::outcome::Difference;
use crate::record::replay::{self, Options, ReplayError};

/// Do again what a recording holds, without a node and without a network, and compare what the proxylet does, byte for
/// byte.
///
/// Recordings come from `record: on` in a service's manifest, from `eep logs NAME --record FILE`, and from each trap.
/// Exits with 1 where it does something else than it did.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  eep proxylet replay eep-data/recordings/edge-20260301T120000.000000Z-trap.eeprec
  eep proxylet replay edge.eeprec --trace --until 20
  eep proxylet replay edge.eeprec --wasm target/proxylets/gnutella-peer.wasm")]
pub(super) struct Args {
    /// The recording.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Run this component in place of the one that was recorded.
    #[arg(long, value_name = "FILE")]
    wasm: Option<PathBuf>,
    /// Stop after so many calls.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    until: Option<u64>,
    /// Show each call, and all that the proxylet asks for in it. With --json, on stderr.
    #[arg(long)]
    trace: bool,
    /// Answer in JSON.
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: &Args) -> crate::cli::output::Outcome {
    let wasm = args.wasm.as_deref().map(|path| read(path, CODE_BYTES_MAX)).transpose()?;
    let options = Options { wasm, until: args.until, trace: args.trace };
    let mut tell = |text: &str| {
        let text = printable(text);
        if args.json {
            note(&text);
        } else {
            line(&text);
        }
    };
    let outcome = replay::replay(&args.file, &options, &mut tell).map_err(|e| refused(args, &e))?;
    if args.json {
        json(&outcome);
    } else {
        print(&shown(&args.file, &outcome));
    }
    if outcome.equal {
        return Ok(());
    }
    let at = outcome.first.as_ref().map_or(0, |first| first.call);
    let fix = if outcome.recorded != outcome.replayed {
        "this is other code than was recorded: see whether the difference is meant"
    } else if outcome.exact {
        "something that it depends on is not recorded, or the file is of another version of eep"
    } else {
        "the recording begins at a saved state, which may not say all, or in no fixed order: record from the start with \
         `record: on`"
    };
    let what = format!("it does not do the same again: call {at} is the first to differ");
    Err(Problem::new("differs", 422, what).at(args.file.display().to_string()).fix(fix).into())
}

fn refused(args: &Args, error: &ReplayError) -> Failure {
    if let (ReplayError::Code(error), Some(other)) = (error, &args.wasm) {
        return refusals::load(&Source::File(other.clone()), error).into();
    }
    let fix = match error {
        ReplayError::Read(ReadError::Version(_)) => "use the version of eep that recorded it",
        ReplayError::Read(ReadError::Nothing) => "take the recording after it, or record again",
        ReplayError::Read(_) => "give the path of a recording: its name ends with .eeprec",
        ReplayError::Empty(Ending::Damaged) => {
            "copy it again from where it was recorded, or take another recording"
        }
        ReplayError::Empty(_) => "record for longer: what was written last is written at most a second later",
        ReplayError::NoCode(_) => "name a file that has it with --wasm",
        ReplayError::Code(_) | ReplayError::Compile(_) => "use the version of eep that recorded it",
        ReplayError::Engine(_) => "check this user's limits: ulimit -a",
    };
    Problem::new("no-replay", 422, error.to_string()).at(args.file.display().to_string()).fix(fix).into()
}

fn shown(file: &Path, o: &replay::Outcome) -> String {
    let verdict = match (o.equal, o.differences.total()) {
        (true, 0) => paint(GOOD, "the same"),
        (true, _) => paint(WARN, "the same trap, by another way"),
        (false, _) => paint(BAD, "not the same"),
    };
    let mut out = format!("{} {verdict}\n", paint(BOLD, &format!("{}:", file.display())));
    let mut row = |key: &str, value: &str| {
        out += &format!("  {}{}\n", paint(DIM, &format!("{key:<11}")), printable(value));
    };
    let digest = |digest: &Option<_>| {
        digest.map_or("-".to_owned(), |d: crate::proxylet::digest::Digest| format!("{:.12}…", d.to_string()))
    };
    row("service", &format!("{}, proxylet {} {}", o.service, o.proxylet, digest(&o.recorded)));
    if o.recorded != o.replayed {
        row("with", &format!("other code: {}", digest(&o.replayed)));
    }
    row("done", &format!("{} calls, {} imports, {} from peers", o.calls, o.imports, bytes(o.received_bytes)));
    let faster = o.recorded_s / o.took_s.max(1e-9);
    row("time", &format!("{} in {:.3} s: {faster:.1} times as fast", span(o.recorded_s), o.took_s));
    if !o.exact && o.recorded == o.replayed {
        row("begins", "at a saved state, or has gaps: as exact as the proxylet's save");
    }
    if let Some(why) = &o.lost_because {
        row("gap", &format!("{} calls are missing: {why}", o.lost_calls));
    }
    match o.ending {
        Ending::Whole => {}
        Ending::Cut => row("end", "cut off: what was being written last is missing"),
        Ending::Damaged => row("end", "damaged: what follows cannot be read"),
    }
    if let Some(trap) = &o.trap {
        let same = if trap.same { "again" } else { "not again" };
        row("trap", &format!("call {}, {same}", trap.call));
        trap.recorded.iter().for_each(|text| row("", text));
    }
    if let Some(first) = &o.first {
        out += &difference(first, o);
    }
    out
}

fn difference(first: &Difference, o: &replay::Outcome) -> String {
    let t = &o.differences;
    let kinds = [
        (t.changed, "with other arguments"),
        (t.extra, "more"),
        (t.missing, "missing"),
        (t.reordered, "in another order"),
        (t.returned, "calls that end otherwise"),
        (t.unreadable, "unreadable"),
    ];
    let kinds: Vec<String> =
        kinds.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    let mut out = format!("  {}{}\n", paint(DIM, "differs    "), kinds.join(", "));
    let import = match first.import {
        0 => String::new(),
        n => format!(", import {n}"),
    };
    out += &format!("\ncall {}{import}, at {:.6} s: {}\n", first.call, first.at_s, first.what);
    out += &format!("  {}\n", printable(&first.during));
    for text in first.lines() {
        let style = match text.as_bytes().first() {
            Some(b'-') => BAD,
            Some(b'+') => GOOD,
            _ => DIM,
        };
        out += &format!("{}\n", paint(style, &printable(&text)));
    }
    out
}
