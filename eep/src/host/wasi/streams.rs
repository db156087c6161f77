//! `wasi:io`: the streams behind stdin, stdout and stderr, and waiting, which is not.

use wasmtime::component::{ComponentType, Lift, Linker, Lower, Resource, ResourceType};
use wasmtime::{Error, Result, StoreContextMut};

use super::{Wasi, named, would_wait};

/// An input; there is nothing in it.
pub(super) struct Input;
/// An output: [`OUT`] or [`ERR`].
pub(super) struct Output;
/// Something to wait for: [`READY`] or [`LATER`].
pub(super) struct Pollable;
/// Why a stream failed; none ever does.
pub(super) struct Failure;

pub(super) const OUT: u32 = 1;
pub(super) const ERR: u32 = 2;
pub(super) const READY: u32 = 0;
pub(super) const LATER: u32 = 1;

/// Bytes that an output takes at a time.
const WRITE_MAX: u64 = 64 << 10;

#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    #[allow(dead_code, reason = "the contract has it, and no stream of ours fails")]
    LastOperationFailed(Resource<Failure>),
    #[component(name = "closed")]
    Closed,
}

type Answer<T> = Result<(std::result::Result<T, StreamError>,)>;

pub(super) fn link<T: Wasi>(linker: &mut Linker<T>) -> Result<()> {
    let mut error = linker.instance(&named("wasi:io/error"))?;
    error.resource("error", ResourceType::host::<Failure>(), |_, _| Ok(()))?;
    error.func_wrap("[method]error.to-debug-string", |_, (_,): (Resource<Failure>,)| Ok((String::new(),)))?;
    link_poll(linker)?;
    let mut streams = linker.instance(&named("wasi:io/streams"))?;
    streams.resource("input-stream", ResourceType::host::<Input>(), |_, _| Ok(()))?;
    streams.resource("output-stream", ResourceType::host::<Output>(), |_, _| Ok(()))?;
    for name in ["read", "blocking-read"] {
        streams.func_wrap(
            &format!("[method]input-stream.{name}"),
            |_, (_, _): (Resource<Input>, u64)| -> Answer<Vec<u8>> { Ok((Err(StreamError::Closed),)) },
        )?;
    }
    for name in ["skip", "blocking-skip"] {
        streams.func_wrap(
            &format!("[method]input-stream.{name}"),
            |_, (_, _): (Resource<Input>, u64)| -> Answer<u64> { Ok((Err(StreamError::Closed),)) },
        )?;
    }
    streams.func_wrap("[method]input-stream.subscribe", |_, (_,): (Resource<Input>,)| {
        Ok((Resource::<Pollable>::new_own(READY),))
    })?;
    streams.func_wrap("[method]output-stream.subscribe", |_, (_,): (Resource<Output>,)| {
        Ok((Resource::<Pollable>::new_own(READY),))
    })?;
    streams
        .func_wrap("[method]output-stream.check-write", |_, (_,): (Resource<Output>,)| -> Answer<u64> {
            Ok((Ok(WRITE_MAX),))
        })?;
    for name in ["write", "blocking-write-and-flush"] {
        streams.func_wrap(
            &format!("[method]output-stream.{name}"),
            |mut store: StoreContextMut<'_, T>, (to, bytes): (Resource<Output>, Vec<u8>)| -> Answer<()> {
                if bytes.len() as u64 > WRITE_MAX {
                    return Err(too_much());
                }
                super::stdio::write(store.data_mut(), to.rep() == ERR, &bytes);
                Ok((Ok(()),))
            },
        )?;
    }
    for name in ["write-zeroes", "blocking-write-zeroes-and-flush"] {
        streams.func_wrap(
            &format!("[method]output-stream.{name}"),
            |mut store: StoreContextMut<'_, T>, (to, len): (Resource<Output>, u64)| -> Answer<()> {
                if len > WRITE_MAX {
                    return Err(too_much());
                }
                super::stdio::write(store.data_mut(), to.rep() == ERR, &vec![0; len as usize]);
                Ok((Ok(()),))
            },
        )?;
    }
    for name in ["flush", "blocking-flush"] {
        streams.func_wrap(
            &format!("[method]output-stream.{name}"),
            |_, (_,): (Resource<Output>,)| -> Answer<()> { Ok((Ok(()),)) },
        )?;
    }
    for name in ["splice", "blocking-splice"] {
        streams.func_wrap(
            &format!("[method]output-stream.{name}"),
            |_, (_, _, _): (Resource<Output>, Resource<Input>, u64)| -> Answer<u64> {
                Ok((Err(StreamError::Closed),))
            },
        )?;
    }
    Ok(())
}

fn too_much() -> Error {
    Error::msg(format!(
        "it wrote more than {WRITE_MAX} bytes to an output stream at once (`check-write` says how many)"
    ))
}

fn link_poll<T: Wasi>(linker: &mut Linker<T>) -> Result<()> {
    let mut poll = linker.instance(&named("wasi:io/poll"))?;
    poll.resource("pollable", ResourceType::host::<Pollable>(), |_, _| Ok(()))?;
    poll.func_wrap("[method]pollable.ready", |_, (p,): (Resource<Pollable>,)| Ok((p.rep() == READY,)))?;
    poll.func_wrap("[method]pollable.block", |_, (p,): (Resource<Pollable>,)| match p.rep() {
        READY => Ok(()),
        _ => Err(would_wait()),
    })?;
    poll.func_wrap("poll", |_, (all,): (Vec<Resource<Pollable>>,)| {
        let ready: Vec<u32> = (0..).zip(&all).filter(|(_, p)| p.rep() == READY).map(|(i, _)| i).collect();
        if ready.is_empty() { Err(would_wait()) } else { Ok((ready,)) }
    })
}
