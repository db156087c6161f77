//! The functions of `net`, as a proxylet calls them.
//!
//! Linked by hand and not through the generated trait: `send-runs` is the hot path, and what it is given is used where it
//! lies in the proxylet's memory.

use std::rc::Rc;

use bytes::Bytes;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmList};

use crate::host::address::{from_wit, to_wit};
use crate::host::bindings::eep::proxylet::net::{NetError, Segment};
use crate::host::bindings::eep::proxylet::types::{CloseReason, SocketAddress};
use crate::host::effects::Ask;
use crate::host::net::connect::connect;
use crate::host::net::listener::listen;
use crate::host::net::{Net, Queued};
use crate::host::recorded::Tapped;
use crate::host::{Env, Host};
use crate::proxylet::inspect::{PACKAGE, VERSION};

type Store<'a> = StoreContextMut<'a, Host>;

pub(crate) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    let mut net = Tapped::new(linker.instance(&format!("{PACKAGE}/net@{VERSION}"))?, "net");
    net.func_wrap("listen", |store: Store<'_>, (address,): (SocketAddress,)| {
        let listening = listen(&store.data().env, from_wit(address));
        Ok((listening.map(|(id, bound)| (id, to_wit(bound))),))
    })?;
    net.func_wrap("unlisten", |store: Store<'_>, (listener,): (u32,)| {
        store.data().env.ask(Ask::Unlisten(listener))
    })?;
    net.func_wrap("connections", |store: Store<'_>, ()| {
        let env = &store.data().env;
        let mut net = env.net.borrow_mut();
        if net.takes_over {
            net.unshelve();
        }
        Ok((net.known(&env.inbox.borrow()),))
    })?;
    net.func_wrap("connect", |store: Store<'_>, (to,): (SocketAddress,)| {
        let conn: Result<u64, NetError> = connect(&store.data().env, from_wit(to));
        Ok((conn,))
    })?;
    net.func_wrap("send", |store: Store<'_>, lists: (WasmList<u8>, WasmList<u64>, Vec<Segment>)| {
        let env = Rc::clone(&store.data().env);
        let (bytes, targets, segments) = lists;
        let segments = segments.iter().copied();
        Ok((send(&env, bytes.as_le_slice(&store), targets.as_le_slice(&store), segments)?,))
    })?;
    net.func_wrap_as("send-runs", "send", |store: Store<'_>, lists: Runs| {
        let env = Rc::clone(&store.data().env);
        let (bytes, targets, fanouts, lens) = lists;
        if fanouts.len() != lens.len() {
            wasmtime::bail!(
                "net.send-runs: the columns are not equally long: {} fan-outs, {} lengths",
                fanouts.len(),
                lens.len()
            );
        }
        let segments = segments(fanouts.as_le_slice(&store), lens.as_le_slice(&store));
        Ok((send(&env, bytes.as_le_slice(&store), targets.as_le_slice(&store), segments)?,))
    })?;
    net.func_wrap("close", |store: Store<'_>, (conn,): (u64,)| store.data().env.ask(Ask::Close(conn)))?;
    net.func_wrap("abort", |store: Store<'_>, (conn,): (u64,)| store.data().env.ask(Ask::Abort(conn)))?;
    net.func_wrap("inflate", |store: Store<'_>, (conn, rest): (u64, Vec<u8>)| {
        store.data().env.ask(Ask::Inflate(conn, rest))
    })?;
    net.func_wrap("deflate", |store: Store<'_>, (conn,): (u64,)| store.data().env.ask(Ask::Deflate(conn)))?;
    net.func_wrap("receive", |store: Store<'_>, (conn, on): (u64, bool)| {
        store.data().env.ask(Ask::Receive(conn, on))
    })
}

/// What `send-runs` is given: bytes, targets, fan-outs, lengths.
pub(crate) type Runs = (WasmList<u8>, WasmList<u64>, WasmList<u32>, WasmList<u32>);

/// The segments that two columns are, as they lie in a proxylet's memory.
pub(crate) fn segments<'a>(
    fanouts: &'a [u32],
    lens: &'a [u32],
) -> impl Iterator<Item = Segment> + Clone + use<'a> {
    fanouts
        .iter()
        .zip(lens)
        .map(|(targets, len)| Segment { targets: u32::from_le(*targets), len: u32::from_le(*len) })
}

/// Sends now or, where sends are held back, later.
fn send(
    env: &Env,
    bytes: &[u8],
    targets: &[u64],
    segments: impl Iterator<Item = Segment> + Clone,
) -> wasmtime::Result<Vec<u64>> {
    match env.hold_send(bytes, targets, segments.clone()) {
        Some(held) => held,
        None => send_now(env, bytes, targets, segments),
    }
}

/// Queues every run for its targets; the connections that are congested now. What waits is written after the call,
/// in as few system calls as connections, save where so much waits that it would be refused otherwise.
pub(crate) fn send_now(
    env: &Env,
    bytes: &[u8],
    targets: &[u64],
    segments: impl Iterator<Item = Segment>,
) -> wasmtime::Result<Vec<u64>> {
    let mut net = env.net.borrow_mut();
    let net = &mut *net;
    let mut inbox = env.inbox.borrow_mut();
    let now_ns = env.clock.now_ns();
    let (mut bytes, mut targets) = (bytes, targets);
    let (mut sent, mut congested) = (0_u64, Vec::new());
    for segment in segments {
        let (Some((run, bytes_left)), Some((to, targets_left))) = (
            bytes.split_at_checked(segment.len as usize),
            targets.split_at_checked(segment.targets as usize),
        ) else {
            wasmtime::bail!("net.send: the segments are longer than the bytes or the targets");
        };
        (bytes, targets) = (bytes_left, targets_left);
        if run.is_empty() {
            continue;
        }
        let shared = (to.len() > 1 && run.len() > Net::COPY_BYTES_MAX).then(|| Bytes::copy_from_slice(run));
        for &id in to {
            let id = u64::from_le(id);
            let mut queued = net.queue(id, run, shared.as_ref(), now_ns);
            if queued == Queued::Overrun {
                net.flush(id, &mut inbox);
                queued = net.queue(id, run, shared.as_ref(), now_ns);
            }
            match queued {
                Queued::Added { waiting } => {
                    sent += run.len() as u64;
                    if waiting > Net::CONGESTED_BYTES && net.is_congested(id, &mut inbox) {
                        congested.push(id);
                    }
                }
                Queued::Skipped => {}
                Queued::Overrun => {
                    net.fail(id, CloseReason::Limit, &mut inbox);
                    env.figures.connections_overrun.add(1);
                }
            }
        }
    }
    net.report_congested(&congested);
    env.figures.sent_bytes.add(sent);
    Ok(congested)
}
