//! A relation begins, speaks and ends.

use std::net::SocketAddr;

use super::table::Relation;
use super::work::MESSAGE_WORK;
use super::{USER_AGENT, VirtualPeer};
use crate::application::monitoring::DropReason;
use crate::application::routes::LinkId;
use crate::application::topology::Failure as DialFailure;
use crate::cache::hosts::Report;
use crate::gnutella::{Guid, HEADER_LEN, Header, Kind, bye};
use crate::host::{ConnId, Host};
use crate::link::dispatch::Outgoing;
use crate::link::framing::Frame;
use crate::link::handshake::TIME_MAX;
use crate::link::state::Tick;
use crate::link::{Ending, Features, Link, Role, Terms};

impl VirtualPeer {
    /// A handshake has succeeded: a relation begins. Answers its place.
    pub(super) fn join(&mut self, conn: ConnId, remote: SocketAddr, terms: Terms) -> u32 {
        if let Some(ip) = terms.seen_as {
            self.own.seen_as(ip);
        }
        let role = terms.role;
        let same_host =
            |id: &LinkId| self.table.get(id.index).is_some_and(|first| first.link.remote.ip() == remote.ip());
        let twin =
            terms.guid.and_then(|servent| Some((servent, self.table.by_servent(servent).filter(same_host)?)));
        let link = Link::new(self.now, conn, remote, terms, Guid::random(&mut self.rng));
        let index = self.table.insert(self.now, link);
        self.topology.joined(conn);
        self.counters.joined[role as usize] += 1;
        let Some(relation) = self.table.get(index) else { return index };
        let user_agent = relation.link.terms.user_agent.escape_debug();
        self.journal.of_peer(self.now, role, format_args!("{remote} joined: {user_agent}"));
        if let (Role::Ultrapeer, Some(address)) = (role, relation.address) {
            self.hosts.heard(self.now, address, Report::default(), &mut self.rng);
        }
        self.introduce(index);
        if let Some((servent, first)) = twin {
            self.settle_twins(index, first, servent);
        }
        index
    }

    /// Two relations with one servent, which come about when both dial at once. Both ends keep the one that the servent
    /// with the lower GUID has dialled.
    fn settle_twins(&mut self, second: u32, first: LinkId, servent: Guid) {
        let dialled = |r: Option<&Relation>| r.is_some_and(|r| r.link.terms.dialled);
        let (of_first, of_second) = (dialled(self.table.get(first.index)), dialled(self.table.get(second)));
        let age = self.table.get(first.index).map(|r| r.link.age(self.now));
        let at_once = age.is_some_and(|age| age < TIME_MAX);
        if at_once && of_first != of_second && of_second == (self.guid < servent) {
            self.end(first.index, Ending::Replaced);
            self.table.set_servent(second, servent);
        } else {
            self.end(second, Ending::Replaced);
        }
    }

    /// Says what a new peer should know.
    fn introduce(&mut self, index: u32) {
        let Some(relation) = self.table.get(index) else { return };
        let terms = &relation.link.terms;
        let (vendor, role, routes) =
            (terms.features.has(Features::VENDOR_MESSAGES), terms.role, terms.routes_queries());
        if vendor {
            self.send_supported(index);
        }
        if role == Role::Ultrapeer && routes {
            self.send_whole_table(index);
        }
        if role.is_neighbour() {
            self.ask_for_pongs(index);
        }
    }

    /// Bytes of a relation.
    pub(super) fn received(&mut self, index: u32, bytes: &[u8], host: &mut impl Host) {
        let Some(relation) = self.table.get_mut(index) else { return };
        if relation.inflating {
            let conn = relation.link.conn;
            self.keep_for_inflating(conn, bytes);
        } else if relation.backlog.is_empty() {
            self.read(index, bytes, host);
        } else {
            relation.backlog.extend_from_slice(bytes);
            self.count_held(index);
        }
    }

    /// Lets those go on that have had to wait.
    pub(super) fn go_on(&mut self, host: &mut impl Host) {
        while let Some(conn) = self.work.next() {
            let Some(relation) = self.table.by_conn(conn) else { continue };
            let (index, bytes) = (relation.id.index, std::mem::take(&mut relation.backlog));
            self.read(index, &bytes, host);
        }
    }

    fn read(&mut self, index: u32, bytes: &[u8], host: &mut impl Host) {
        let share = self.work.share();
        let Some(relation) = self.table.get_mut(index) else { return };
        let mut input = relation.link.read(bytes);
        let mut result = Ok(());
        let mut rest: &[u8] = &[];
        loop {
            if !self.work.is_left(share) {
                rest = input.take_rest();
                break;
            }
            let Some(frame) = input.next() else { break };
            self.work.spend(MESSAGE_WORK);
            result = match frame {
                Frame::Message(header, payload) => {
                    self.monitor.received(self.now, header.kind, HEADER_LEN + payload.len());
                    self.message(index, header, payload, host)
                }
                Frame::Dropped(header) => {
                    self.monitor.received(self.now, header.kind, HEADER_LEN + header.len as usize);
                    self.monitor.dropped(header.kind, DropReason::Size);
                    Ok(())
                }
                Frame::Broken(_) => Err(Ending::OversizeMessage),
            };
            if result.is_err() {
                break;
            }
            self.dispatch.spill(self.now, host, &mut self.table);
            self.make_room();
        }
        if let Some(relation) = self.table.get_mut(index) {
            relation.link.keep(input);
            if !rest.is_empty() {
                relation.backlog.extend_from_slice(rest);
                self.work.wait(relation.link.conn);
            }
        }
        match result {
            Ok(()) => self.count_held(index),
            Err(ending) => self.end(index, ending),
        }
        self.make_room();
    }

    /// One message.
    ///
    /// # Errors
    /// The reason why the relation must end.
    fn message(
        &mut self,
        index: u32,
        header: Header,
        payload: &[u8],
        host: &mut impl Host,
    ) -> Result<(), Ending> {
        let Some(relation) = self.table.get(index) else { return Ok(()) };
        if header.hops > 0 && relation.link.terms.role == Role::Leaf {
            // A leaf speaks for itself alone.
            return Err(Ending::Violation);
        }
        if !self.may_come(index, header, payload) {
            return Ok(());
        }
        self.handle_message(index, header, payload, host)
    }

    /// One message that may come in.
    ///
    /// # Errors
    /// The reason why the relation must end.
    pub(super) fn handle_message(
        &mut self,
        index: u32,
        header: Header,
        payload: &[u8],
        host: &mut impl Host,
    ) -> Result<(), Ending> {
        match header.kind {
            Kind::QUERY => self.query(index, header, payload, None),
            Kind::QUERY_HIT => self.hit(index, header, payload),
            Kind::PUSH => self.push(index, header, payload),
            Kind::PING => self.ping(index, header, payload),
            Kind::PONG => self.pong(index, header, payload),
            // What follows is between two neighbours, and travels no further.
            _ if header.hops > 0 || header.ttl > 1 => {
                self.monitor.dropped(header.kind, DropReason::Hops);
            }
            Kind::QRP => return self.table_update(index, payload),
            Kind::VENDOR | Kind::STANDARD_VENDOR => self.vendor(index, header, payload, host),
            Kind::BYE => return Err(Ending::ByeReceived),
            _ => self.monitor.dropped(header.kind, DropReason::Unknown),
        }
        Ok(())
    }

    /// The time has come to look whether a peer still lives.
    pub(super) fn relation_due(&mut self, index: u32) {
        let Some(relation) = self.table.get_mut(index) else { return };
        match relation.link.tick(self.now) {
            Tick::Idle => {}
            Tick::Ping(_) if relation.is_table_unfinished() => {
                return self.end(index, Ending::BadRoutingTable);
            }
            Tick::Ping(header) => {
                self.dispatch.send(&mut relation.link, &mut Outgoing::signal(&header, &[]));
                if let (Role::Ultrapeer, Some(address)) = (relation.link.terms.role, relation.address) {
                    // It has kept us, and not only to send us away.
                    self.hosts.connected(self.now, address, &mut self.rng);
                }
            }
            Tick::End(ending) => return self.end(index, ending),
        }
        self.schedule.put(relation.link.next_tick(), relation.link.conn);
    }

    /// Ends a relation: with a Bye where the peer should know why, and can.
    pub(super) fn end(&mut self, index: u32, ending: Ending) {
        let Some(relation) = self.part(index) else { return };
        let link = &relation.link;
        match ending.bye().filter(|_| link.terms.features.has(Features::BYE)) {
            Some((code, reason)) => {
                let header =
                    Header { guid: Guid::random(&mut self.rng), kind: Kind::BYE, ttl: 1, hops: 0, len: 0 };
                let payload = bye::encode(code, reason, USER_AGENT);
                self.dispatch.end(link, Some((&header, &payload)));
            }
            // The shell has told us; it knows of no such connection any more.
            None if matches!(ending, Ending::Lost(_)) => {}
            None => self.dispatch.end(link, None),
        }
        let (remote, why) = (link.remote, ending.name());
        self.journal.of_peer(self.now, link.terms.role, format_args!("{remote} left: {why}"));
        if let Some(address) = relation.address.filter(|_| link.terms.role.is_neighbour()) {
            self.topology.avoid(self.now, address, DialFailure::Refused);
            if link.terms.dialled && link.age(self.now) < TIME_MAX {
                // It let us in to send us away: as a leaf it might have kept us.
                self.hosts.refused(self.now, address);
            }
        }
        self.counters.ended(ending);
        self.trim_schedule();
    }

    /// Takes a relation out of all tables.
    pub(super) fn part(&mut self, index: u32) -> Option<Box<Relation>> {
        let relation = self.table.remove(index)?;
        self.forget_held(&relation);
        let is_leaf = relation.link.terms.role == Role::Leaf;
        if let Some(column) = relation.column {
            let tables = if is_leaf { &mut self.leaf_tables } else { &mut self.neighbour_tables };
            tables.remove(column);
        }
        if is_leaf {
            self.dynamic.leaf_left(relation.id);
        }
        match &mut self.routing {
            Some(routing) => routing.left(relation.id),
            None => self.inherited.left(relation.id),
        }
        Some(relation)
    }

    /// Throws out of the schedule who is gone.
    pub(super) fn trim_schedule(&mut self) {
        let (table, openings) = (&self.table, &self.openings);
        self.schedule
            .trim(|conn| table.find(conn).is_some() || openings.has(conn), table.len() + openings.len());
    }
}
