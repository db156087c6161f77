//! `wasi:clocks`: the contract's clocks under other names.

use wasmtime::component::{ComponentType, Lift, Linker, Lower, Resource};
use wasmtime::{Result, StoreContextMut};

use super::streams::{LATER, Pollable, READY};
use super::{Wasi, named};

/// What a wall clock reads.
#[derive(Clone, Copy, ComponentType, Lift, Lower)]
#[component(record)]
struct Datetime {
    #[component(name = "seconds")]
    seconds: u64,
    #[component(name = "nanoseconds")]
    nanoseconds: u32,
}

pub(super) fn link<T: Wasi>(linker: &mut Linker<T>) -> Result<()> {
    let mut monotonic = linker.instance(&named("wasi:clocks/monotonic-clock"))?;
    monotonic.func_wrap("now", |store: StoreContextMut<'_, T>, (): ()| Ok((store.data().batch_ns(),)))?;
    monotonic.func_wrap("resolution", |_, (): ()| Ok((1_u64,)))?;
    monotonic.func_wrap("subscribe-instant", |store: StoreContextMut<'_, T>, (at_ns,): (u64,)| {
        Ok((due(at_ns <= store.data().batch_ns()),))
    })?;
    monotonic.func_wrap("subscribe-duration", |_, (ns,): (u64,)| Ok((due(ns == 0),)))?;
    let mut wall = linker.instance(&named("wasi:clocks/wall-clock"))?;
    wall.func_wrap("now", |mut store: StoreContextMut<'_, T>, (): ()| {
        let ns = store.data_mut().wall_ns();
        Ok((Datetime { seconds: ns / 1_000_000_000, nanoseconds: (ns % 1_000_000_000) as u32 },))
    })?;
    wall.func_wrap("resolution", |_, (): ()| Ok((Datetime { seconds: 0, nanoseconds: 1 },)))
}

fn due(now: bool) -> Resource<Pollable> {
    Resource::new_own(if now { READY } else { LATER })
}
