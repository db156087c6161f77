//! The distributed hash table in simulated networks.
#![allow(dead_code, reason = "the network is shared with the examples")]

mod net;

use std::time::Duration;

use net::Net;
use topology::dht::message::{Body, Message};
use topology::dht::{Config, Key, Offence, Outcome};
use topology::{Contact, NodeId};

/// Finds random nodes from random nodes. Gives the mean time.
fn lookups(net: &mut Net, from: &[usize], to: &[usize], count: u32) -> Duration {
    let mut sum = Duration::ZERO;
    for _ in 0..count {
        let (asker, target) = (from[net.dice.below(from.len())], to[net.dice.below(to.len())]);
        let target = net.contact(target);
        let started = net.now;
        let lookup = net.with(asker, |dht, now| dht.find_node(now, target.id)).expect("within bounds");
        assert_eq!(net.finish(asker, lookup).0, Outcome::Node(target));
        sum += net.now.since(started);
    }
    sum / count
}

#[test]
fn a_thousand_nodes_that_joined_find_each_other_within_200_ms() {
    let mut net = net::joined(1, 1000);
    let all = net.up();
    let mean = lookups(&mut net, &all, &all, 300);
    assert!(mean < Duration::from_millis(200), "{mean:?}");
    assert_eq!(net.totals().refused.bans, 0, "honest nodes were banned");
}

#[test]
fn ten_thousand_nodes_find_each_other_within_200_ms() {
    let mut net = Net::new(1, Config::default());
    net.long_lived(10_000);
    let all: Vec<usize> = (0..10_000).collect();
    let mean = lookups(&mut net, &all, &all, 100);
    assert!(mean < Duration::from_millis(200), "{mean:?}");
}

fn known_at(online: Duration) -> f64 {
    let mut net = net::joined(3, 100);
    let mut churn = net::Churn::over(&mut net, online);
    churn.run_for(&mut net, Duration::from_secs(15 * 60));
    let samples = 15;
    let mut sum = 0.0;
    for _ in 0..samples {
        churn.run_for(&mut net, Duration::from_secs(60));
        sum += net::neighbours_known(&net, usize::MAX);
    }
    assert_eq!(net.totals().refused.bans, 0, "churn is no offence");
    sum / f64::from(samples)
}

#[test]
fn nodes_that_stay_30_minutes_know_4_8_of_their_5_neighbours() {
    let known = known_at(Duration::from_secs(30 * 60));
    assert!(known >= 4.8, "{known}");
}

#[test]
fn nodes_that_stay_10_minutes_know_4_5_of_their_5_neighbours() {
    let known = known_at(Duration::from_secs(10 * 60));
    assert!(known >= 4.5, "{known}");
}

fn holders(net: &mut Net, asker: usize, key: Key) -> Vec<Contact> {
    let lookup = net.with(asker, |dht, now| dht.find_holders(now, key)).expect("within bounds");
    match net.finish(asker, lookup).0 {
        Outcome::Holders(holders) => holders,
        Outcome::NotFound => Vec::new(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_record_is_found_from_everywhere_until_its_holder_is_gone() {
    let mut net = net::joined(4, 100);
    let key = Key::service("edge");
    assert_eq!(holders(&mut net, 7, key), []);
    for holder in [20, 30] {
        let lookup = net.with(holder, |dht, now| dht.publish(now, key)).expect("within bounds");
        assert_eq!(net.finish(holder, lookup).0, Outcome::Published { copies: 8 });
    }
    net.run_for(Duration::from_secs(2));
    let mut both = [net.contact(20), net.contact(30)];
    both.sort();
    for asker in [0, 50, 99] {
        let mut found = holders(&mut net, asker, key);
        found.sort();
        assert_eq!(found, both, "from {asker}");
    }
    net.kill(20);
    net.run_for(Duration::from_secs(45 * 60));
    assert_eq!(holders(&mut net, 50, key), [net.contact(30)], "published again by the one that is left");
    net.with(30, |dht, now| dht.withdraw(now, key));
    net.run_for(Duration::from_secs(45 * 60));
    assert_eq!(holders(&mut net, 50, key), []);
}

#[test]
fn a_record_outlives_the_nodes_that_keep_it() {
    let mut net = net::joined(5, 100);
    let key = Key::digest(&[7; 32]);
    net.with(99, |dht, now| dht.publish(now, key)).expect("within bounds");
    net.run_for(Duration::from_secs(5));
    let mut keepers: Vec<usize> = (0..99).collect();
    keepers.sort_by_key(|&n| net.contact(n).id.distance(key.point()));
    keepers[..8].iter().for_each(|&n| net.kill(n));
    net.run_for(Duration::from_secs(15 * 60));
    assert_eq!(holders(&mut net, keepers[50], key), [net.contact(99)]);
}

#[test]
fn a_random_node_may_be_any() {
    let mut net = net::joined(6, 50);
    let mut drawn = vec![0; 50];
    for _ in 0..1000 {
        let lookup = net.with(0, |dht, now| dht.find_random(now)).expect("within bounds");
        let Outcome::Node(found) = net.finish(0, lookup).0 else { panic!("nobody there") };
        let node = (0..50).find(|&n| net.contact(n) == found).expect("within bounds");
        drawn[node] += 1;
    }
    // Twenty each in the mean; ourselves never.
    assert!(drawn[1..].iter().all(|n| (1..100).contains(n)), "{drawn:?}");
}

#[test]
fn a_flood_of_lookups_is_refused_and_counted() {
    let mut net = net::joined(7, 60);
    let flooder = net.stranger(|_, _, _| None);
    let (from, victim) = (net.contact(flooder), net.contact(10));
    let before = net.get(10).stats();
    for i in 0..5000 {
        let body = Body::FindNode(NodeId::from_bytes([i as u8; 32]));
        net.post(from, victim, Message { transaction: i, body }.encode());
    }
    net.run_for(Duration::from_secs(1));
    let after = net.get(10).stats();
    let answered = after.sent_frames - before.sent_frames;
    assert!(answered < 400, "{answered} answers to a flood");
    assert!(after.refused.of(Offence::Flood) >= 100);
    assert!(after.refused.from_banned > 4000);
    assert!(net.banned.contains(&(10, from.id)));
    // The others are served as before, and so is the flooder once its ban is over.
    let all = net.up();
    lookups(&mut net, &all, &[10], 20);
    net.run_for(Config::default().ban);
    assert!(!net.get(10).is_banned(net.now, from.id));
}

/// Answers every question for nodes with nodes that do not exist and are nearly at the point.
fn makes_up_nodes(me: Contact, _: Contact, bytes: &[u8]) -> Option<Vec<u8>> {
    let Message { transaction, body } = Message::decode(bytes).ok()?;
    let body = match body {
        Body::FindNode(point) => {
            let near = |i: u8| Contact { id: point.branch(255 - u32::from(i), [i; 32]), addr: me.addr };
            Body::Nodes((0..16).map(near).collect())
        }
        Body::Ping => Body::Pong,
        _ => return None,
    };
    Some(Message { transaction, body }.encode())
}

/// Says of every node asked for that it lives here.
fn is_everybody(me: Contact, _: Contact, bytes: &[u8]) -> Option<Vec<u8>> {
    let Message { transaction, body } = Message::decode(bytes).ok()?;
    let body = match body {
        Body::FindNode(point) => {
            let near = |i: u8| Contact { id: point.branch(12 + u32::from(i % 4), [i; 32]), addr: me.addr };
            Body::Nodes((0..16).map(near).collect())
        }
        Body::Ping => Body::Pong,
        _ => return None,
    };
    Some(Message { transaction, body }.encode())
}

fn lied_to_by(liar: net::Stranger) -> Net {
    let mut net = net::joined(8, 100);
    for _ in 0..10 {
        let stranger = net.stranger(liar);
        let contact = net.contact(stranger);
        for honest in 0..100 {
            net.with(honest, |dht, now| dht.handle_connected(now, contact, Some(Duration::from_millis(1))));
        }
    }
    let all: Vec<usize> = (0..100).collect();
    // Every honest node is found in spite of ten liars in every table, each of which is nearer than all others.
    lookups(&mut net, &all, &all, 1000);
    net.run_for(Duration::from_secs(60));
    net
}

#[test]
fn nodes_that_are_made_up_are_refused() {
    let net = lied_to_by(makes_up_nodes);
    let refused = net.totals().refused;
    assert!(refused.of(Offence::ImpossibleDistance) > 100, "{refused:?}");
    assert!(refused.bans > 10, "{refused:?}");
    assert!(net.banned.iter().all(|(_, peer)| (100..110).any(|liar| net.contact(liar).id == *peer)));
}

#[test]
fn who_tells_of_wrong_identities_is_banned() {
    let net = lied_to_by(is_everybody);
    let refused = net.totals().refused;
    assert!(refused.of(Offence::WrongIdentity) > 100, "{refused:?}");
    assert!(refused.bans > 10, "{refused:?}");
    assert!(net.banned.iter().all(|(_, peer)| (100..110).any(|liar| net.contact(liar).id == *peer)));
}

#[test]
fn a_lie_about_the_very_node_is_held_against_the_liar_afterwards() {
    let mut net = net::joined(9, 40);
    let liar = net.stranger(|me, _, bytes| {
        let Message { transaction, body: Body::FindNode(point) } = Message::decode(bytes).ok()? else {
            return None;
        };
        Some(Message { transaction, body: Body::Nodes(vec![Contact { id: point, addr: me.addr }]) }.encode())
    });
    let liar = net.contact(liar);
    net.with(3, |dht, now| dht.handle_connected(now, liar, None));
    let mut told = 0;
    while !net.get(3).is_banned(net.now, liar.id) {
        let point = NodeId::from_bytes(net.dice.bytes());
        let lookup = net.with(3, |dht, now| dht.find_node(now, point)).expect("within bounds");
        if let (Outcome::Node(claimed), _) = net.finish(3, lookup) {
            told += 1;
            net.with(3, |dht, now| dht.handle_wrong_identity(now, claimed));
        }
        assert!(told < 10, "lied {told} times and still listened to");
    }
}

#[test]
fn answers_to_no_question_and_noise_are_refused() {
    let mut net = net::joined(10, 20);
    let stranger = net.stranger(|_, _, _| None);
    let (from, victim) = (net.contact(stranger), net.contact(5));
    for transaction in 0..30 {
        net.post(from, victim, Message { transaction, body: Body::Nodes(vec![from]) }.encode());
    }
    net.post(from, victim, vec![0xff; 100]);
    net.run_for(Duration::from_secs(1));
    let refused = net.get(5).stats().refused;
    assert!(refused.of(Offence::Unsolicited) + refused.of(Offence::Malformed) >= 20, "{refused:?}");
    assert!(net.get(5).is_banned(net.now, from.id));
    assert!(net.get(5).contacts().all(|(c, _)| c.id != from.id), "a banned peer is in no bucket");
}

#[test]
fn a_newer_version_is_no_offence() {
    let mut net = net::joined(11, 5);
    let (from, to) = (net.contact(1), net.contact(2));
    // {0: 99, 1: 5, 77: "later"}
    net.post(from, to, vec![0xa3, 0x00, 0x18, 99, 0x01, 0x05, 0x18, 77, 0x65, b'l', b'a', b't', b'e', b'r']);
    // {0: 0, 1: 5, 77: "later"} is a ping with a field that is not known yet.
    net.post(from, to, vec![0xa3, 0x00, 0x00, 0x01, 0x05, 0x18, 77, 0x65, b'l', b'a', b't', b'e', b'r']);
    let sent = net.get(2).stats().sent_frames;
    net.run_for(Duration::from_secs(1));
    let stats = net.get(2).stats();
    assert_eq!((stats.unknown_kinds, stats.sent_frames - sent), (1, 1));
    assert_eq!(stats.refused.offences, [0; 7]);
}

#[test]
fn a_run_repeats_from_its_seed() {
    let run = |seed| {
        let mut net = net::joined(seed, 30);
        net::Churn::over(&mut net, Duration::from_secs(300)).run_for(&mut net, Duration::from_secs(300));
        net.totals()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
