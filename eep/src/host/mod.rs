//! What a proxylet can reach: one file a capability, the answer to one interface of `proxylets/wit`.

pub mod grant;
