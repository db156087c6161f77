//! `wasi:random`: the contract's randomness under other names.

use wasmtime::component::Linker;
use wasmtime::{Error, Result, StoreContextMut};

use super::{Wasi, named};

/// Bytes that one call gives at most.
const BYTES_MAX: u64 = 64 << 10;
/// Bytes that the contract's call gives at most.
const PIECE: u64 = 4_096;

pub(super) fn link<T: Wasi>(linker: &mut Linker<T>) -> Result<()> {
    for (interface, infix) in [("random", ""), ("insecure", "insecure-")] {
        let mut random = linker.instance(&named(&format!("wasi:random/{interface}")))?;
        random.func_wrap(
            &format!("get-{infix}random-bytes"),
            |mut store: StoreContextMut<'_, T>, (len,): (u64,)| Ok((bytes(store.data_mut(), len)?,)),
        )?;
        random
            .func_wrap(&format!("get-{infix}random-u64"), |mut store: StoreContextMut<'_, T>, (): ()| {
                Ok((number(store.data_mut())?,))
            })?;
    }
    let mut seed = linker.instance(&named("wasi:random/insecure-seed"))?;
    seed.func_wrap("insecure-seed", |mut store: StoreContextMut<'_, T>, (): ()| {
        let host = store.data_mut();
        Ok(((number(host)?, number(host)?),))
    })
}

fn number<T: Wasi>(host: &mut T) -> Result<u64> {
    let bytes = bytes(host, 8)?;
    bytes.try_into().map(u64::from_le_bytes).map_err(|_| none())
}

fn bytes<T: Wasi>(host: &mut T, len: u64) -> Result<Vec<u8>> {
    if len > BYTES_MAX {
        return Err(Error::msg(format!("it asked for {len} random bytes at once: {BYTES_MAX} are the most")));
    }
    let mut all = Vec::new();
    while (all.len() as u64) < len {
        let piece = host.random((len - all.len() as u64).min(PIECE) as u32);
        if piece.is_empty() {
            return Err(none());
        }
        all.extend(piece);
    }
    Ok(all)
}

fn none() -> Error {
    Error::msg("the system gives no randomness")
}
