//! The component model's wrapping, and what is put into it.

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::proxylet::inspect::SDK_SECTION;
use crate::proxylet::manifest::SECTION;

/// A module that says nothing of its types, as one of the world `service` of this contract.
pub(super) fn typed(mut module: Vec<u8>, wit: &std::path::Path) -> Result<Vec<u8>, String> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(wit).map_err(|error| format!("{error:#}"))?;
    let world = resolve.select_world(&[package], Some("service")).map_err(|error| format!("{error:#}"))?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false)
        .map_err(|error| format!("{error:#}"))?;
    Ok(module)
}

/// Wraps a core module that carries its component type. One that uses WASI as it was before components gets an adapter.
pub(super) fn component(module: &[u8]) -> Result<Vec<u8>, String> {
    let mut encoder = ComponentEncoder::default();
    let before = module.windows(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME.len());
    let adapted = before.into_iter().any(|part| part == WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME.as_bytes());
    let prepared = encoder.validate(true).module(module);
    let prepared = match adapted {
        true => prepared.and_then(|encoder| {
            encoder.adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER)
        }),
        false => prepared,
    };
    prepared.and_then(|encoder| encoder.encode()).map_err(|error| format!("{error:#}"))
}

/// Puts into a component what it says of itself.
pub(super) fn describe(component: &mut Vec<u8>, manifest: &str, sdk: &str) {
    append(component, SECTION, manifest.as_bytes());
    append(component, SDK_SECTION, sdk.as_bytes());
}

/// Adds a custom section (core specification, 5.5.3).
fn append(wasm: &mut Vec<u8>, name: &str, content: &[u8]) {
    let mut body = leb128(name.len());
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(content);
    wasm.push(0);
    wasm.extend_from_slice(&leb128(body.len()));
    wasm.extend_from_slice(&body);
}

fn leb128(mut n: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let byte = (n & 0x7f) as u8;
        n >>= 7;
        if n == 0 {
            out.push(byte);
            return out;
        }
        out.push(byte | 0x80);
    }
}
