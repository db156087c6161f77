//! What a peer says of itself in its header block.

use std::net::{IpAddr, SocketAddr};

use crate::gnutella::Guid;
use crate::gnutella::headers::{Headers, Version};
use crate::link::terms::USER_AGENT_BYTES_MAX;
use crate::link::{Features, Role};
use crate::state::saved;

/// What a peer has said of itself. Fields that it left out, or that cannot be read, are as if it knew nothing of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// `User-Agent`, at most [`USER_AGENT_BYTES_MAX`] of it.
    pub user_agent: String,
    /// `X-Ultrapeer`: whether it is an ultrapeer, or does not know of them.
    pub ultrapeer: Option<bool>,
    /// `Listen-IP`, `Node` or `X-My-Address`.
    pub listen: Option<SocketAddr>,
    /// `Remote-IP`: our address as it sees it.
    pub seen_as: Option<IpAddr>,
    /// `GUID`.
    pub guid: Option<Guid>,
    /// `X-Degree`.
    pub degree: Option<u16>,
    /// `X-Max-TTL`.
    pub max_ttl: Option<u8>,
    /// `X-Query-Routing`.
    pub query_routing: Option<Version>,
    /// `X-Ultrapeer-Query-Routing`.
    pub ultrapeer_query_routing: Option<Version>,
    /// Everything that needs no more than a yes.
    pub features: Features,
    /// `Accept-Encoding` has `deflate`.
    pub accepts_deflate: bool,
    /// `Content-Encoding` is `deflate`.
    pub sends_deflate: bool,
    /// `Crawler`: it only wants to know who is here.
    pub crawler: bool,
}

saved!(Hello {
    user_agent,
    ultrapeer,
    listen,
    seen_as,
    guid,
    degree,
    max_ttl,
    query_routing,
    ultrapeer_query_routing,
    features,
    accepts_deflate,
    sends_deflate,
    crawler,
});

impl Hello {
    /// What a peer is that says this.
    #[must_use]
    pub fn role(&self) -> Role {
        match self.ultrapeer {
            Some(true) => Role::Ultrapeer,
            Some(false) => Role::Leaf,
            None => Role::Old,
        }
    }

    /// Reads a header block.
    #[must_use]
    pub fn read(headers: &Headers) -> Self {
        let has = |name| headers.get(name).is_some();
        let user_agent = headers.get("User-Agent").unwrap_or_default();
        Self {
            user_agent: user_agent[..user_agent.floor_char_boundary(USER_AGENT_BYTES_MAX)].to_owned(),
            ultrapeer: headers.boolean("X-Ultrapeer"),
            listen: ["Listen-IP", "Node", "X-My-Address"]
                .into_iter()
                .find_map(|name| headers.get(name)?.parse().ok()),
            seen_as: headers.ip("Remote-IP"),
            guid: headers.get("GUID").and_then(|hex| Guid::from_hex(hex.as_bytes())),
            degree: headers.number("X-Degree").and_then(|n| n.try_into().ok()),
            max_ttl: headers.number("X-Max-TTL").and_then(|n| n.try_into().ok()),
            query_routing: headers.version("X-Query-Routing"),
            ultrapeer_query_routing: headers.version("X-Ultrapeer-Query-Routing"),
            features: Features::NONE
                .with(Features::GGEP, has("GGEP"))
                .with(Features::BYE, has("Bye-Packet"))
                .with(Features::VENDOR_MESSAGES, has("Vendor-Message"))
                .with(Features::EXTENDED_PROBES, has("X-Ext-Probes")),
            accepts_deflate: headers.accepts("Accept-Encoding", "deflate"),
            sends_deflate: headers.accepts("Content-Encoding", "deflate"),
            crawler: has("Crawler"),
        }
    }
}
