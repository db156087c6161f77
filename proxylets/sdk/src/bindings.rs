//! What `wit-bindgen` makes of `proxylets/wit`. The only place of this crate with `unsafe` code, all of it generated.
#![allow(unsafe_code, missing_docs, unreachable_pub, unused_qualifications, clippy::all)]

wit_bindgen::generate!({
    path: "../wit",
    world: "service-full",
    pub_export_macro: true,
    export_macro_name: "export_service",
    default_bindings_module: "eep_sdk::bindings",
});
