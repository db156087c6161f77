use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::*;
use crate::gnutella::vendor::Id;
use crate::gnutella::{Guid, Kind};
use crate::host::{CloseReason, Level};
use crate::link::flow::{BATCH_BYTES_MAX, CONTROL_ENTER_BYTES};
use crate::link::queue::QUEUE_BYTES_MAX;
use crate::link::terms::tests::terms;
use crate::link::{Role, Support};

/// A shell whose connections take `room` bytes and are congested from then on.
#[derive(Default)]
struct Shell {
    room: BTreeMap<ConnId, usize>,
    got: BTreeMap<ConnId, Vec<u8>>,
    calls: Vec<String>,
}

impl Host for Shell {
    fn send(&mut self, batch: &SendBatch, congested: &mut Vec<ConnId>) {
        for (targets, bytes) in batch.runs() {
            for conn in targets.iter().map(|t| ConnId(*t)) {
                self.got.entry(conn).or_default().extend_from_slice(bytes);
                let room = self.room.entry(conn).or_insert(usize::MAX);
                *room = room.saturating_sub(bytes.len());
                if *room == 0 && !congested.contains(&conn) {
                    congested.push(conn);
                }
            }
        }
        self.calls.push("send".into());
    }
    fn close(&mut self, conn: ConnId) {
        self.calls.push(format!("close {}", conn.0));
    }
    fn deflate(&mut self, conn: ConnId) {
        self.calls.push(format!("deflate {}", conn.0));
    }
    fn connect(&mut self, _: SocketAddr) -> Result<ConnId, CloseReason> {
        Err(CloseReason::Refused)
    }
    fn abort(&mut self, _: ConnId) {}
    fn inflate(&mut self, _: ConnId, _: &[u8]) {}
    fn datagram(&mut self, _: SocketAddr, _: &[u8]) {}
    fn wake_at(&mut self, _: Instant) {}
    fn wall_seconds(&mut self) -> u64 {
        0
    }
    fn log(&mut self, _: Level, _: &str) {}
}

struct Table(Vec<Link>);

impl Relations for Table {
    fn link(&mut self, conn: ConnId) -> Option<&mut Link> {
        self.0.iter_mut().find(|l| l.conn == conn)
    }
}

fn link(n: u64) -> Link {
    let mut link =
        Link::new(Instant(0), ConnId(n), ([127, 0, 0, 1], 9).into(), terms(Role::Ultrapeer), Guid([1; 16]));
    link.support.learn(Id::new(b"BEAR", 4, 1));
    assert!(link.support.has(Support::HOPS_FLOW));
    link
}

fn header(kind: Kind, hops: u8) -> Header {
    Header { guid: Guid([hops; 16]), kind, ttl: 2, hops, len: 0 }
}

/// The kinds of the messages that a connection got, and for vendor messages their last byte.
fn got(shell: &Shell, conn: u64) -> Vec<(Kind, u8)> {
    let mut bytes = shell.got.get(&ConnId(conn)).map_or(&[][..], |b| b);
    let mut kinds = Vec::new();
    while let Some(header) = Header::parse(bytes) {
        let (message, rest) = bytes.split_at(HEADER_LEN + header.len as usize);
        kinds.push((
            header.kind,
            if header.kind == Kind::VENDOR { message[message.len() - 1] } else { header.hops },
        ));
        bytes = rest;
    }
    assert!(bytes.is_empty(), "a message was cut");
    kinds
}

#[test]
fn one_message_to_many_is_stored_once() {
    let (mut dispatch, mut shell) = (Dispatch::default(), Shell::default());
    let mut table = Table((0..32).map(link).collect());
    let mut message = Outgoing::relayed(&header(Kind::QUERY, 1), &[b'x'; 77]);
    for link in &mut table.0 {
        assert_eq!(dispatch.add(link, &mut message), Sent::Now);
    }
    dispatch.finish(&message);
    assert_eq!(dispatch.batch.bytes().len(), 100);
    dispatch.flush(Instant(0), &mut shell, &mut table);
    assert_eq!(shell.calls, ["send"]);
    for n in 0..32 {
        assert_eq!(got(&shell, n), [(Kind::QUERY, 1)]);
        assert_eq!(table.0[n as usize].monitor.sent.total_bytes(), 100);
    }
}

#[test]
fn a_congested_relation_waits_while_the_others_flow_and_catches_up_by_rank() {
    let (mut dispatch, mut shell) = (Dispatch::default(), Shell::default());
    let mut table = Table(vec![link(0), link(1)]);
    shell.room.insert(ConnId(0), 1);
    for kind in [Kind::PONG, Kind::PING, Kind::QUERY, Kind::QUERY_HIT] {
        let mut message = Outgoing::relayed(&header(kind, 1), &[0; 100]);
        for link in &mut table.0 {
            dispatch.add(link, &mut message);
        }
        dispatch.finish(&message);
        dispatch.flush(Instant(0), &mut shell, &mut table);
    }
    assert_eq!(got(&shell, 0), [(Kind::PONG, 1)]);
    assert_eq!(got(&shell, 1).len(), 4);
    assert_eq!(table.0[0].flow.held_bytes(), 3 * (123 + 64));
    assert_eq!(dispatch.held_bytes(), 3 * (123 + 64));
    shell.room.insert(ConnId(0), 10_000);
    dispatch.writable(&mut table.0[0]);
    dispatch.flush(Instant(0), &mut shell, &mut table);
    assert_eq!(got(&shell, 0)[1..], [(Kind::QUERY_HIT, 1), (Kind::QUERY, 1), (Kind::PING, 1)]);
    assert!(!table.0[0].flow.is_waiting());
    assert_eq!(
        dispatch.send(&mut table.0[0], &mut Outgoing::relayed(&header(Kind::PING, 1), &[])),
        Sent::Now
    );
}

#[test]
fn what_exceeds_a_batch_follows_in_the_next_without_a_writable() {
    let (mut dispatch, mut shell) = (Dispatch::default(), Shell::default());
    let mut table = Table(vec![link(0)]);
    let payload = [0; 10_000];
    for _ in 0..12 {
        dispatch.send(&mut table.0[0], &mut Outgoing::relayed(&header(Kind::QUERY_HIT, 1), &payload));
    }
    assert!(dispatch.batch.bytes().len() <= BATCH_BYTES_MAX as usize);
    assert!(table.0[0].flow.is_waiting());
    dispatch.flush(Instant(0), &mut shell, &mut table);
    let hits = got(&shell, 0).into_iter().filter(|(k, _)| *k == Kind::QUERY_HIT).count();
    assert_eq!((hits, table.0[0].flow.is_waiting()), (12, false));
    assert_eq!(shell.calls, ["send", "send"]);
}

#[test]
fn flow_control_is_entered_and_left_and_the_peer_is_told() {
    let (mut dispatch, mut shell) = (Dispatch::default(), Shell::default());
    let mut table = Table(vec![link(0)]);
    shell.room.insert(ConnId(0), 1);
    let payload = [0; 1_000];
    let mut hits = 0;
    while !table.0[0].flow.is_controlled() {
        dispatch.send(&mut table.0[0], &mut Outgoing::relayed(&header(Kind::QUERY_HIT, 1), &payload));
        dispatch.flush(Instant(0), &mut shell, &mut table);
        hits += 1;
        assert!(hits * 1_023 < CONTROL_ENTER_BYTES + 4_000);
    }
    let ping = dispatch.send(&mut table.0[0], &mut Outgoing::relayed(&header(Kind::PING, 1), &[]));
    assert_eq!(ping, Sent::Dropped(Loss::FlowControl));
    let alive = dispatch.send(&mut table.0[0], &mut Outgoing::signal(&header(Kind::PING, 0), &[]));
    assert_eq!(alive, Sent::Waits);
    shell.room.insert(ConnId(0), usize::MAX);
    dispatch.writable(&mut table.0[0]);
    dispatch.flush(Instant(0), &mut shell, &mut table);
    assert!(!table.0[0].flow.is_controlled());
    let got = got(&shell, 0);
    assert_eq!(got[1], (Kind::VENDOR, 0), "the peer is asked first of all to hold its queries back");
    assert_eq!(got[2], (Kind::PING, 0));
    assert_eq!(got.last(), Some(&(Kind::VENDOR, 255)));
    assert_eq!(got.iter().filter(|(k, _)| *k == Kind::QUERY_HIT).count(), hits);
    assert_eq!(dispatch.losses().get(Class::Ping, Loss::FlowControl), 1);
}

#[test]
fn a_relation_that_takes_nothing_loses_the_least_important_and_overflows_only_by_signals() {
    let (mut dispatch, mut shell) = (Dispatch::default(), Shell::default());
    let mut table = Table(vec![link(0)]);
    shell.room.insert(ConnId(0), 1);
    let payload = [0; 4_000];
    for i in 0..400 {
        let kind = [Kind::QUERY_HIT, Kind::PUSH, Kind::QUERY, Kind::PONG][i % 4];
        dispatch.send(&mut table.0[0], &mut Outgoing::relayed(&header(kind, 2), &payload));
        dispatch.flush(Instant(0), &mut shell, &mut table);
        assert!(dispatch.held_bytes() <= QUEUE_BYTES_MAX * 102 / 100, "messages and their places");
    }
    assert_eq!(dispatch.take_overflowed(), None);
    let losses = dispatch.losses();
    assert!(losses.get(Class::Query, Loss::NoRoom) > losses.get(Class::Push, Loss::NoRoom));
    let lost: u64 = Class::ALL.iter().flat_map(|c| Loss::ALL.map(|l| losses.get(*c, l))).sum();
    assert_eq!(lost, table.0[0].monitor.messages_dropped);
    let mut sent = Sent::Waits;
    for _ in 0..30 {
        sent = dispatch.send(&mut table.0[0], &mut Outgoing::signal(&header(Kind::QRP, 0), &payload));
    }
    assert_eq!(sent, Sent::Overflow);
    assert_eq!(dispatch.take_overflowed(), Some(ConnId(0)));
}

#[test]
fn a_peer_that_limits_hops_gets_no_queries_from_farther_away() {
    let mut dispatch = Dispatch::default();
    let mut link = link(0);
    link.limit_hops(3);
    let mut send =
        |link: &mut Link, kind, hops| dispatch.send(link, &mut Outgoing::relayed(&header(kind, hops), &[]));
    assert_eq!(send(&mut link, Kind::QUERY, 2), Sent::Now);
    assert_eq!(send(&mut link, Kind::QUERY, 3), Sent::Dropped(Loss::HopsFlow));
    assert_eq!(send(&mut link, Kind::QUERY_HIT, 3), Sent::Now);
    link.limit_hops(255);
    assert_eq!(send(&mut link, Kind::QUERY, 255), Sent::Now);
}

#[test]
fn what_was_sent_before_compression_leaves_before_it_begins() {
    let (mut dispatch, mut shell) = (Dispatch::default(), Shell::default());
    dispatch.text(ConnId(4), b"GNUTELLA/0.6 200 OK\r\n\r\n");
    dispatch.deflate(ConnId(4), &mut shell);
    assert_eq!(shell.calls, ["send", "deflate 4"]);
    dispatch.flush(Instant(0), &mut shell, &mut Table(Vec::new()));
    assert_eq!(shell.calls, ["send", "deflate 4"]);
}

#[test]
fn a_goodbye_leaves_before_the_connection_is_closed() {
    let (mut dispatch, mut shell) = (Dispatch::default(), Shell::default());
    let link = link(0);
    dispatch.end(&link, Some((&header(Kind::BYE, 0), b"\xc8\0bye\0")));
    dispatch.flush(Instant(0), &mut shell, &mut Table(Vec::new()));
    assert_eq!(got(&shell, 0), [(Kind::BYE, 0)]);
    assert_eq!(shell.calls, ["send", "close 0"]);
}
