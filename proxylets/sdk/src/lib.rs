//! Write a proxylet in Rust.
