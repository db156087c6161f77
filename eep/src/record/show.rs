//! Calls and imports as people read them.

use serde::Deserialize;

use crate::host::address::from_wit;
use crate::host::bindings::eep::proxylet::net::Segment;
use crate::host::bindings::eep::proxylet::types::SocketAddress;
use crate::host::bindings::eep::proxylet::{log, metrics, policy};
use crate::record::entry::{Bytes, Call, Return, ask, decode};

/// Bytes in one line of a dump.
const ROW: usize = 16;
/// Bytes of one run that are shown.
const RUN_BYTES_MAX: usize = 64 << 10;
/// Characters of a text that are shown.
const TEXT_CHARS_MAX: usize = 400;

/// Bytes as lines of hexadecimal digits and characters.
fn dump(bytes: &[u8], into: &mut Vec<String>) {
    for (i, row) in bytes[..bytes.len().min(RUN_BYTES_MAX)].chunks(ROW).enumerate() {
        let hex: String = row.iter().map(|byte| format!("{byte:02x} ")).collect();
        let plain = |byte: &u8| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' };
        let text: String = row.iter().map(plain).collect();
        into.push(format!("    {:06x}  {hex:48} {text}", i * ROW));
    }
    if bytes.len() > RUN_BYTES_MAX {
        into.push(format!("    … {} more bytes", bytes.len() - RUN_BYTES_MAX));
    }
}

fn cut(text: &str) -> String {
    let mut out: String = text.chars().take(TEXT_CHARS_MAX).collect();
    if out.len() < text.len() {
        out.push('…');
    }
    out
}

fn plain<'a, T: Deserialize<'a> + std::fmt::Debug>(args: &'a [u8]) -> Option<String> {
    decode::<T>(args).map(|args| cut(&format!("{args:?}")))
}

/// What a proxylet asked: the first line names it, further ones hold its bytes.
pub(crate) fn asked(first: &[u8]) -> Vec<String> {
    let Some((name, args)) = ask(first) else { return vec!["(unreadable)".to_owned()] };
    let mut lines = Vec::new();
    let shown = match name {
        "log.write" => {
            decode::<(log::Level, String)>(args).map(|(level, line)| cut(&format!("({level:?}, {line:?})")))
        }
        "policy.meet" => plain::<(Vec<policy::Peer>,)>(args),
        "policy.decide" => plain::<(policy::Questions,)>(args),
        "policy.regions" => plain::<(Vec<u64>,)>(args),
        "policy.measured" => plain::<(Vec<policy::Link>,)>(args),
        "policy.used" => plain::<(u64, Vec<u32>, Vec<u64>)>(args),
        "policy.describe" => plain::<(u32,)>(args),
        "clock.wall" | "net.connections" | "policy.generation" | "policy.planned" | "policy.surveyed" => {
            plain::<()>(args)
        }
        "clock.set-timer" => plain::<(u64, u64)>(args),
        "clock.cancel-timer" | "net.close" | "net.abort" | "net.deflate" => plain::<(u64,)>(args),
        "random.bytes" | "net.unlisten" | "datagram.unbind" => plain::<(u32,)>(args),
        "kv.get" | "kv.delete" | "kv.keys" => plain::<(String,)>(args),
        "metrics.define" => plain::<(metrics::Metric,)>(args),
        "metrics.define-histogram" => plain::<(metrics::Histogram,)>(args),
        "metrics.update" => plain::<(Vec<(u32, f64)>,)>(args),
        "metrics.update-histograms" => plain::<(Vec<metrics::Distribution>,)>(args),
        "net.receive" => plain::<(u64, bool)>(args),
        "net.listen" | "net.connect" | "datagram.bind" => {
            decode::<(SocketAddress,)>(args).map(|(address,)| format!("({})", from_wit(address)))
        }
        "kv.set" => decode::<(String, Bytes<'_>)>(args).map(|(key, value)| {
            dump(&value.0, &mut lines);
            format!("({key:?}, {} bytes)", value.0.len())
        }),
        "net.inflate" => decode::<(u64, Bytes<'_>)>(args).map(|(conn, rest)| {
            dump(&rest.0, &mut lines);
            format!("({conn}, {} bytes)", rest.0.len())
        }),
        "datagram.send" => decode::<(u32, SocketAddress, Bytes<'_>)>(args).map(|(socket, to, bytes)| {
            dump(&bytes.0, &mut lines);
            format!("({socket}, {}, {} bytes)", from_wit(to), bytes.0.len())
        }),
        "net.send" => {
            decode::<(Bytes<'_>, Vec<u64>, Vec<Segment>)>(args).map(|(bytes, targets, segments)| {
                sent(&bytes.0, &targets, &segments, &mut lines);
                format!("({} bytes, {} targets, {} runs)", bytes.0.len(), targets.len(), segments.len())
            })
        }
        _ => None,
    };
    let shown = shown.unwrap_or_else(|| {
        dump(args, &mut lines);
        format!("({} bytes)", args.len())
    });
    lines.insert(0, format!("{name}{shown}"));
    lines
}

/// What is sent to whom, run by run.
fn sent(bytes: &[u8], targets: &[u64], segments: &[Segment], lines: &mut Vec<String>) {
    let (mut bytes, mut targets) = (bytes, targets);
    for segment in segments {
        let (run, bytes_left) = bytes.split_at(bytes.len().min(segment.len as usize));
        let (to, targets_left) = targets.split_at(targets.len().min(segment.targets as usize));
        (bytes, targets) = (bytes_left, targets_left);
        lines.push(cut(&format!("  {} bytes to {to:?}", run.len())));
        dump(run, lines);
    }
}

/// A call in a line.
pub(crate) fn call(call: &Call<'_>) -> String {
    match call {
        Call::Start { config, .. } => cut(&format!("start({config})")),
        Call::Restore { config, state, .. } => cut(&format!("restore({config}, {} bytes)", state.0.len())),
        Call::Handle { events, conns, bytes, .. } => {
            let events = cut(&format!("{events:?}"));
            format!("handle({events}, {} receptions, {} bytes)", conns.len(), bytes.0.len())
        }
        Call::Save => "save()".to_owned(),
        Call::Stop => "stop()".to_owned(),
    }
}

/// How a call ended: the first line says it, further ones hold its bytes.
pub(crate) fn back(back: &Return<'_>) -> Vec<String> {
    match back {
        Return::Done => vec!["returns".to_owned()],
        Return::Refused(reason) => vec![cut(&format!("refuses: {reason}"))],
        Return::Saved(state) => {
            let mut lines = vec![format!("saves {} bytes", state.0.len())];
            dump(&state.0, &mut lines);
            lines
        }
        Return::Trapped(trapped) => {
            let mut lines = vec![format!("traps: {}", trapped.message)];
            lines.extend(trapped.backtrace.iter().map(|frame| format!("    at {frame}")));
            lines
        }
    }
}
