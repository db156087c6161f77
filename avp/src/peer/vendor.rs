//! Vendor messages.

use std::net::SocketAddr;
use std::time::Duration;

use super::VirtualPeer;
use crate::application::monitoring::DropReason;
use crate::application::routes::LinkId;
use crate::gnutella::vendor::{Id, Message, ProxyAddr, messages_supported};
use crate::gnutella::{Guid, Header, Kind};
use crate::host::Host;
use crate::link::Role;
use crate::link::dispatch::Outgoing;

/// From one connection back for a peer to the next.
const CONNECT_BACK_INTERVAL: Duration = Duration::from_secs(60);

/// The vendor messages that this peer understands.
const UNDERSTOOD: [Id; 8] = [
    Id::new(b"BEAR", 4, 1),
    Id::new(b"BEAR", 7, 1),
    Id::new(b"BEAR", 11, 1),
    Id::new(b"BEAR", 12, 1),
    Id::new(b"GTKG", 7, 1),
    Id::new(b"GTKG", 7, 2),
    Id::new(b"GTKG", 21, 1),
    Id::new(b"LIME", 21, 2),
];

impl VirtualPeer {
    /// A vendor message came in.
    pub(super) fn vendor(&mut self, index: u32, header: Header, payload: &[u8], host: &mut impl Host) {
        let Some(message) = Message::parse(payload) else {
            self.monitor.dropped(header.kind, DropReason::Malformed);
            return;
        };
        let Some(relation) = self.table.get_mut(index) else { return };
        let (id, role, remote) = (relation.id, relation.link.terms.role, relation.link.remote);
        match message {
            Message::MessagesSupported(ids) => {
                for id in ids.iter() {
                    relation.link.support.learn(id);
                }
            }
            Message::FeaturesSupported(_) => {}
            Message::HopsFlow { hops } => relation.link.limit_hops(hops),
            Message::TcpConnectBack { port } if port != 0 && self.may_connect_back(index) => {
                self.connect_back(SocketAddr::new(remote.ip(), port), host);
            }
            Message::UdpConnectBack { port, guid } if port != 0 && self.may_connect_back(index) => {
                let guid = guid.unwrap_or(header.guid);
                let ping = Header { guid, kind: Kind::PING, ttl: 1, hops: 0, len: 0 };
                host.datagram(SocketAddr::new(remote.ip(), port), &ping.encode());
            }
            Message::QueryStatus { hits } if role == Role::Leaf => self.query_status(id, header.guid, hits),
            Message::PushProxyRequest { version } => self.push_proxy(index, header.guid, version),
            Message::PushProxyCancel => self.push_proxy_cancel(index),
            _ => self.monitor.dropped(header.kind, DropReason::Unknown),
        }
    }

    /// Whether a peer may ask for a connection back now; if so, not again for a while.
    fn may_connect_back(&mut self, index: u32) -> bool {
        let Some(relation) = self.table.get_mut(index) else { return false };
        if relation.connect_back_from > self.now {
            self.monitor.dropped(Kind::VENDOR, DropReason::Throttled);
            return false;
        }
        relation.connect_back_from = self.now + CONNECT_BACK_INTERVAL;
        true
    }

    /// A firewalled peer wants pushes passed on, and says so in its hits.
    fn push_proxy(&mut self, index: u32, servent: Guid, version: u16) {
        let own = self.own.get(self.config.advertise, self.config.listen);
        if servent == Guid::ZERO || !self.table.set_servent(index, servent) {
            self.monitor.dropped(Kind::VENDOR, DropReason::NoRoute);
            return;
        }
        let Some(relation) = self.table.get_mut(index) else { return };
        relation.push_proxy = true;
        if let Some(own) = own {
            // In the first version the address is understood.
            let at = if version < 2 { ProxyAddr::Port(own.port()) } else { ProxyAddr::Full(own) };
            let ack = Message::PushProxyAck { at }.encode();
            self.dispatch.send(&mut relation.link, &mut Outgoing::signal(&vendor_header(servent), &ack));
        }
    }

    fn push_proxy_cancel(&mut self, index: u32) {
        if let Some(relation) = self.table.get_mut(index) {
            relation.push_proxy = false;
        }
    }

    /// Says which vendor messages this peer understands.
    pub(super) fn send_supported(&mut self, index: u32) {
        let Some(relation) = self.table.get_mut(index) else { return };
        let header = vendor_header(Guid::ZERO);
        self.dispatch
            .send(&mut relation.link, &mut Outgoing::signal(&header, &messages_supported(&UNDERSTOOD)));
    }

    /// Asks a leaf how many hits of its query it has kept.
    pub(super) fn ask_for_query_status(&mut self, leaf: LinkId, query: Guid) {
        let Some(relation) = self.table.by_id(leaf) else { return };
        let ask = Message::QueryStatusRequest.encode();
        self.dispatch.send(&mut relation.link, &mut Outgoing::signal(&vendor_header(query), &ask));
    }
}

fn vendor_header(guid: Guid) -> Header {
    Header { guid, kind: Kind::VENDOR, ttl: 1, hops: 0, len: 0 }
}
