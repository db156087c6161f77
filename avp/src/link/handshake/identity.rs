//! Who we are in a handshake, and the header blocks that say so.

use std::net::{IpAddr, SocketAddr};

use super::date;
use super::gate::Census;
use super::hello::Hello;
use crate::gnutella::Guid;
use crate::gnutella::headers::{Version, Writer};
use crate::link::handshake::QUERY_ROUTING;

/// At most so many addresses go into `X-Try-Ultrapeers`.
pub const TRY_HOSTS_MAX: usize = 10;

/// At most so many addresses of each kind go to a crawler.
pub const CENSUS_HOSTS_MAX: usize = 500;

/// Who we are, in every handshake.
#[derive(Clone, Debug)]
pub struct Identity {
    /// `User-Agent` and `Server`.
    pub user_agent: String,
    /// Where we can be reached (`Listen-IP`); `None` as long as nobody knows.
    pub listen: Option<SocketAddr>,
    /// Our servent GUID.
    pub guid: Guid,
    /// When we started, in seconds since 1970 (`X-Live-Since`).
    pub live_since_s: u64,
    /// With how many ultrapeers we keep relations (`X-Degree`). Leaves of gtk-gnutella want at least 16.
    pub degree: u16,
    /// The highest TTL for queries to us (`X-Max-TTL`). LimeWire's leaves want less than 5.
    pub max_ttl: u8,
    /// Whether we offer and take compressed relations.
    pub compression: bool,
}

impl Identity {
    /// The opening of a handshake with somebody that we dialled.
    pub(super) fn write_request(&self, remote: IpAddr, out: &mut Vec<u8>) {
        let mut head = Writer::connect();
        self.about_us(remote, &mut head);
        self.features(QUERY_ROUTING, &mut head);
        out.extend_from_slice(&head.finish());
    }

    /// The answer to somebody who comes in.
    pub(super) fn write_welcome(
        &self,
        remote: IpAddr,
        hello: &Hello,
        needed: bool,
        deflate: bool,
        tries: &[SocketAddr],
        out: &mut Vec<u8>,
    ) {
        let mut head = Writer::status(200, "OK");
        self.about_us(remote, &mut head);
        // An older peer is answered in its own version; a newer one knows ours.
        self.features(
            hello.query_routing.map_or(QUERY_ROUTING, |theirs| theirs.min(QUERY_ROUTING)),
            &mut head,
        );
        if deflate {
            head.push("Content-Encoding", "deflate");
        }
        head.push("X-Ultrapeer-Needed", if needed { "True" } else { "False" });
        add_addresses(&mut head, "X-Try-Ultrapeers", tries, TRY_HOSTS_MAX);
        out.extend_from_slice(&head.finish());
    }

    /// The third leg, from us to somebody that we dialled.
    pub(super) fn write_confirmation(&self, deflate: bool, out: &mut Vec<u8>) {
        let mut head = Writer::status(200, "OK");
        head.push("X-Ultrapeer", "True");
        if deflate {
            head.push("Content-Encoding", "deflate");
        }
        out.extend_from_slice(&head.finish());
    }

    /// A refusal, as second or third leg.
    pub(super) fn write_refusal(
        &self,
        remote: IpAddr,
        code: u16,
        reason: &str,
        tries: &[SocketAddr],
        out: &mut Vec<u8>,
    ) {
        let mut head = Writer::status(code, reason);
        head.push("User-Agent", &self.user_agent);
        head.push("Remote-IP", remote);
        head.push("X-Ultrapeer", "True");
        // Peers of before ultrapeers read the shorter name.
        add_addresses(&mut head, "X-Try", tries, TRY_HOSTS_MAX);
        add_addresses(&mut head, "X-Try-Ultrapeers", tries, TRY_HOSTS_MAX);
        out.extend_from_slice(&head.finish());
    }

    /// The answer to a crawler.
    pub(super) fn write_census(&self, census: &Census, out: &mut Vec<u8>) {
        let mut head = Writer::status(200, "OK");
        head.push("User-Agent", &self.user_agent);
        head.push("X-Ultrapeer", "True");
        add_addresses(&mut head, "Peers", &census.ultrapeers, CENSUS_HOSTS_MAX);
        add_addresses(&mut head, "Leaves", &census.leaves, CENSUS_HOSTS_MAX);
        out.extend_from_slice(&head.finish());
    }

    fn about_us(&self, remote: IpAddr, head: &mut Writer) {
        head.push("User-Agent", &self.user_agent);
        if let Some(listen) = self.listen {
            head.push("Listen-IP", listen);
        }
        head.push("Remote-IP", remote);
        head.push("GUID", self.guid);
        head.push("X-Live-Since", date::rfc2822(self.live_since_s));
    }

    fn features(&self, query_routing: Version, head: &mut Writer) {
        if self.compression {
            head.push("Accept-Encoding", "deflate");
        }
        head.push("GGEP", "0.5");
        head.push("Pong-Caching", "0.1");
        head.push("Bye-Packet", "0.1");
        head.push("Vendor-Message", "0.2");
        head.push("X-Ultrapeer", "True");
        head.push("X-Query-Routing", query_routing);
        head.push("X-Ultrapeer-Query-Routing", "0.1");
        head.push("X-Dynamic-Querying", "0.1");
        head.push("X-Ext-Probes", "0.1");
        head.push("X-Degree", self.degree);
        head.push("X-Max-TTL", self.max_ttl);
    }
}

fn add_addresses(head: &mut Writer, name: &str, addresses: &[SocketAddr], max: usize) {
    if !addresses.is_empty() {
        let list: Vec<String> = addresses.iter().take(max).map(SocketAddr::to_string).collect();
        head.push(name, list.join(","));
    }
}
