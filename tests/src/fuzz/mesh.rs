//! What nodes of a mesh say to each other: `topology`'s messages, into a node that has a neighbour.

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use topology::dht::{self, Dht};
use topology::soar::report::{Message, Report};
use topology::soar::{self, Seal, Soar};
use topology::{Contact, Instant, NodeId};

/// Believes a seal that is its origin's id, so that reports of the corpus are taken up and not only refused.
struct Word(NodeId);

impl Seal for Word {
    fn seal(&self, _: &[u8]) -> Vec<u8> {
        self.0.as_bytes().to_vec()
    }

    fn holds(&self, origin: NodeId, _: &[u8], seal: &[u8]) -> bool {
        seal == origin.as_bytes()
    }
}

fn contact(name: u8) -> Contact {
    let addr = SocketAddr::from((Ipv4Addr::new(192, 0, 2, name), 6340));
    Contact { id: NodeId::of_public_key(&[name]), addr }
}

/// The frames of a stream, each behind its length in two bytes.
fn frames(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (len, rest) = bytes.split_first_chunk::<2>()?;
        let len = usize::from(u16::from_be_bytes(*len)).min(rest.len());
        let (frame, rest) = rest.split_at(len);
        bytes = rest;
        Some(frame)
    })
}

/// Frames of the measurement plane, from a neighbour of a node that has two.
pub(super) fn measurements(bytes: &[u8]) {
    let (me, peer, other) = (contact(1).id, contact(2).id, contact(3).id);
    let mut now = Instant(0);
    let mut soar = Soar::new(soar::Config::default(), me, Box::new(Word(me)), 1, [7; 32], now);
    for neighbour in [peer, other] {
        soar.link_up(now, neighbour).expect("there is room for two");
    }
    for frame in frames(bytes) {
        if let Ok(message) = Message::decode(frame) {
            assert_eq!(
                Message::decode(&message.clone().encode()).ok(),
                Some(message),
                "written as it was read"
            );
        }
        if let Ok(report) = Report::decode(frame, 256) {
            assert_eq!(Report::decode(&report.encode(), 256).ok(), Some(report), "written as it was read");
        }
        soar.handle_message(now, peer, frame);
        now = now + Duration::from_millis(100);
        soar.handle_timeout(now);
        while let Some(action) = soar.poll_action() {
            black_box(action);
        }
    }
    assert!(!soar.region(0).contains(&other), "nobody speaks for another node");
    black_box(soar.routes(soar::Metric::Throughput, other, &[], 4));
}

/// Frames of the distributed hash table, from a neighbour.
pub(super) fn lookups(bytes: &[u8]) {
    let (me, peer) = (contact(1), contact(2));
    let mut now = Instant(0);
    let mut dht = Dht::new(dht::Config::default(), me, [7; 32], now).expect("settings that fit");
    dht.handle_connected(now, peer, Some(Duration::from_millis(5)));
    // A question is under way, so that answers can be some.
    dht.find_node(now, contact(9).id).expect("there is room for one");
    for frame in frames(bytes) {
        if let Ok(message) = dht::message::Message::decode(frame) {
            let again = dht::message::Message::decode(&message.encode());
            assert_eq!(again.ok(), Some(message), "written as it was read");
        }
        dht.handle_message(now, peer, frame);
        now = now + Duration::from_millis(100);
        dht.handle_timeout(now);
        while let Some(action) = dht.poll_action() {
            black_box(action);
        }
    }
}
