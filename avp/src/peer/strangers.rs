//! Those who knock at the port and do not want to become neighbours: HTTP requests, and pings by datagram.

use std::net::SocketAddr;

use super::{USER_AGENT, VirtualPeer};
use crate::application::door::Presence;
use crate::application::door::http::PushOrder;
use crate::application::monitoring::DropReason;
use crate::application::policy::{Message, Verdict};
use crate::cache::hosts::HostCache;
use crate::gnutella::handshake::{Block, Method, Start};
use crate::gnutella::http::{Answer, Resource, Target};
use crate::gnutella::pong::{Ultrapeer, Vendor};
use crate::gnutella::push::Push;
use crate::gnutella::{Guid, HEADER_LEN, Header, Kind, udp};
use crate::host::{ConnId, Host};
use crate::link::Role;

/// Who has written this software, in pongs.
pub(super) const VENDOR: Vendor = Vendor { code: *b"EEPN", version: 0x01 };
/// Version 0.2 of the ultrapeer protocol.
const ULTRAPEER_VERSION: u8 = 0x02;
/// A day.
const DAY_SECONDS: u64 = 86_400;
/// TTL of a push that was ordered over HTTP: to a neighbour.
const ORDERED_PUSH_TTL: u8 = 2;

impl VirtualPeer {
    /// Free slots, as pongs say them.
    pub(super) fn free_slots(&self) -> Ultrapeer {
        let free =
            |limit: u32, role| u8::try_from(limit.saturating_sub(self.table.count(role))).unwrap_or(u8::MAX);
        Ultrapeer {
            version: ULTRAPEER_VERSION,
            leaf_slots: free(self.config.leaves, Role::Leaf),
            ultra_slots: free(self.config.ultrapeers.into(), Role::Ultrapeer),
        }
    }

    /// Uptime as an estimate of that of other days.
    pub(super) fn daily_uptime_s(&self) -> u32 {
        self.now.since(self.started).as_secs().min(DAY_SECONDS) as u32
    }

    /// Who we are at the moment, once it is said whom else we know.
    fn presence(&self) -> impl for<'a> FnOnce(&'a mut HostCache) -> Presence<'a> + use<> {
        let (slots, daily_uptime_s) = (self.free_slots(), self.daily_uptime_s());
        let address = self.own.get(self.config.advertise, self.config.listen);
        move |hosts| Presence { server: USER_AGENT, vendor: VENDOR, address, slots, daily_uptime_s, hosts }
    }

    /// Answers an HTTP request and closes the connection.
    pub(super) fn http(&mut self, conn: ConnId, from: SocketAddr, head: &Block, host: &mut impl Host) {
        match self.judge_request(conn, head, host) {
            Verdict::Go => {}
            Verdict::Drop | Verdict::Ask => return self.dispatch.close(conn),
            Verdict::Deny => {
                let method = match head.start {
                    Start::Request { method, .. } => method,
                    _ => Method::Get,
                };
                self.dispatch.text(conn, &Answer::new(403, "Forbidden", USER_AGENT).finish(method));
                return self.dispatch.close(conn);
            }
        }
        let mut presence = self.presence()(&mut self.hosts);
        let table = &self.table;
        let reaches = |servent: Guid| {
            let relation = table.by_servent(servent).and_then(|id| table.get(id.index));
            relation.is_some_and(|r| r.push_proxy)
        };
        let reply = self.door.http(self.now, from, head, &mut presence, &mut self.rng, reaches);
        self.dispatch.text(conn, &reply.bytes);
        self.dispatch.close(conn);
        if let Some(order) = reply.push {
            self.ordered_push(order);
        }
    }

    /// What the shell's policy says about a request: for a file, or for a push. Hosts to connect to are for everybody
    /// who may connect.
    fn judge_request(&mut self, conn: ConnId, head: &Block, host: &mut impl Host) -> Verdict {
        let Start::Request { ref target, .. } = head.start else { return Verdict::Go };
        let user_agent = head.headers.get("User-Agent").unwrap_or_default().to_owned();
        let (message, name, sha1) = match Target::parse(target).resource() {
            Resource::ByUrn { sha1, .. } => (Message::Download, String::new(), Some(sha1)),
            Resource::ByIndex { name, .. } => (Message::Download, name, None),
            Resource::PushProxy { .. } => (Message::Push, String::new(), None),
            _ => (Message::Connect, String::new(), None),
        };
        let file = (message == Message::Download).then_some((name.as_str(), sha1));
        self.judge_stranger(conn, &user_agent, message, file, host)
    }

    fn ordered_push(&mut self, order: PushOrder) {
        let Some(to) = self.table.by_servent(order.servent) else { return };
        let push = Push { servent: order.servent, index: order.file, to: order.to, extensions: &[] }.encode();
        let guid = Guid::random(&mut self.rng);
        self.answer(to, Header { guid, kind: Kind::PUSH, ttl: ORDERED_PUSH_TTL, hops: 0, len: 0 }, &push);
    }

    /// A datagram came in.
    pub(super) fn datagram(&mut self, from: SocketAddr, bytes: &[u8], host: &mut impl Host) {
        let Some(datagram) = udp::parse(bytes) else {
            self.counters.bad_datagrams += 1;
            return;
        };
        let kind = datagram.header.kind;
        self.monitor.received(self.now, kind, HEADER_LEN + datagram.payload.len());
        if kind != Kind::PING {
            self.monitor.dropped(kind, DropReason::Unknown);
            return;
        }
        let presence = self.presence()(&mut self.hosts);
        match self.door.ping(self.now, from, &datagram, &presence, &mut self.rng) {
            Some(pong) => host.datagram(from, &pong),
            None => self.monitor.dropped(kind, DropReason::Throttled),
        }
    }
}
