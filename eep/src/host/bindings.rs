//! What `bindgen!` makes of `proxylets/wit`: types, one trait a capability, and the calls into a proxylet.
#![allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]

wasmtime::component::bindgen!({
    path: "../proxylets/wit",
    world: "service",
    // For recordings.
    additional_derives: [serde::Serialize, serde::Deserialize],
});
