//! What holds for all messages and all tables.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use proptest::prelude::*;
use topology::dht::message::{Body, FRAME_BYTES_MAX, Message};
use topology::dht::records::{self, Records};
use topology::dht::table::{Bounds, Table};
use topology::{Contact, Instant, NodeId};

fn id() -> impl Strategy<Value = NodeId> {
    // Near to zero often, so that near buckets are filled too.
    (any::<[u8; 32]>(), 0..=31usize).prop_map(|(mut bytes, zeros)| {
        bytes[..zeros / 2].fill(0);
        NodeId::from_bytes(bytes)
    })
}

fn contact() -> impl Strategy<Value = Contact> {
    (id(), any::<IpAddr>(), any::<u16>())
        .prop_map(|(id, ip, port)| Contact { id, addr: SocketAddr::new(ip, port) })
}

fn contacts() -> impl Strategy<Value = Vec<Contact>> {
    prop::collection::vec(contact(), 0..=64)
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        Just(Body::Ping),
        Just(Body::Pong),
        id().prop_map(Body::FindNode),
        contacts().prop_map(Body::Nodes),
        id().prop_map(Body::FindRecord),
        (contacts(), contacts()).prop_map(|(holders, nodes)| Body::Record { holders, nodes }),
        (id(), any::<u32>()).prop_map(|(point, seconds)| Body::Store { point, seconds }),
        any::<bool>().prop_map(Body::Stored),
    ]
}

proptest! {
    #[test]
    fn a_message_is_read_as_it_was_written(transaction: u64, body in body()) {
        let message = Message { transaction, body };
        let bytes = message.encode();
        prop_assert!(bytes.len() <= FRAME_BYTES_MAX);
        prop_assert_eq!(Message::decode(&bytes).unwrap(), message);
    }

    #[test]
    fn noise_is_refused_or_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Message::decode(&bytes);
    }

    #[test]
    fn a_damaged_message_does_no_harm(body in body(), at: prop::sample::Index, with: u8, cut: prop::sample::Index) {
        let mut bytes = Message { transaction: 7, body }.encode();
        let at = at.index(bytes.len());
        bytes[at] = with;
        let _ = Message::decode(&bytes);
        bytes.truncate(cut.index(bytes.len()));
        let _ = Message::decode(&bytes);
    }

    #[test]
    fn the_metric_is_one(a in id(), b in id(), c in id(), bit in 0u32..256) {
        prop_assert_eq!(a.distance(b), b.distance(a));
        prop_assert_eq!(a.common_bits(a), 256);
        prop_assert!(a.common_bits(c) >= a.common_bits(b).min(b.common_bits(c)));
        prop_assert_eq!(a.common_bits(a.branch(bit, *b.as_bytes())), bit);
    }

    #[test]
    fn a_table_keeps_its_bounds_and_its_order(
        me in id(),
        steps in prop::collection::vec((contact(), 0u8..10, any::<Option<u16>>()), 1..300),
        point in id(),
        k in 1usize..8,
    ) {
        let bounds = Bounds { k, replacements_max: 3, failures_max: 2, swap_interval: Duration::from_secs(1) };
        let mut table = Table::new(me, bounds);
        for (i, (contact, what, rtt)) in steps.iter().enumerate() {
            let now = Instant(i as u64 * 100_000_000);
            match what {
                0 => _ = table.fail(contact.id),
                1 => _ = table.remove(contact.id),
                // Somebody known is heard again or fails.
                2 | 3 => {
                    let known = table.entries().nth(usize::from(rtt.unwrap_or(0)) % 50).map(|e| e.contact);
                    if let Some(known) = known {
                        if *what == 2 { table.fail(known.id); } else { table.hear(now, known, rtt.map(u32::from)); }
                    }
                }
                _ => _ = table.hear(now, *contact, rtt.map(u32::from)),
            }
        }
        let mut buckets = vec![0; 257];
        let mut ids = BTreeSet::new();
        for entry in table.entries() {
            buckets[me.common_bits(entry.contact.id) as usize] += 1;
            prop_assert!(ids.insert(entry.contact.id), "twice in the table");
            prop_assert!(entry.failures < 2);
        }
        prop_assert!(buckets.iter().all(|n| *n <= k));
        prop_assert_eq!(buckets[256], 0, "we are in our own table");
        let mut sound: Vec<_> = table.entries().filter(|e| e.failures == 0).map(|e| e.contact.id).collect();
        sound.sort_by_key(|id| id.distance(point));
        sound.truncate(5);
        let closest: Vec<_> = table.closest(point, 5).iter().map(|e| e.contact.id).collect();
        prop_assert_eq!(closest, sound);
    }

    #[test]
    fn records_keep_their_bounds(
        me in id(),
        steps in prop::collection::vec((0u8..40, 0u8..6, 0u64..100, any::<bool>()), 1..300),
    ) {
        let bounds =
            records::Bounds { points_max: 10, holders_max: 3, points_per_node_max: 5, ttl: Duration::from_secs(50) };
        let mut kept = Records::new(me, bounds);
        let point = |n: u8| NodeId::of_public_key(&[n]);
        let holder = |n: u8| Contact { id: NodeId::of_public_key(&[n, n]), addr: ([10, 0, 0, n], 1).into() };
        let mut now = Instant::default();
        for (p, h, seconds, store) in steps {
            now = now + Duration::from_secs(1);
            if store {
                let taken = kept.store(now, point(p), holder(h), Duration::from_secs(seconds));
                prop_assert!(!taken || seconds == 0 || kept.holders(now, point(p)).contains(&holder(h)));
            } else if seconds < 50 {
                kept.withdraw(point(p), holder(h).id);
            } else {
                kept.expire(now);
            }
            prop_assert!(kept.len() <= 10);
            let held: Vec<_> = (0..40).map(|p| kept.holders(now, point(p))).collect();
            prop_assert!(held.iter().all(|h| h.len() <= 3));
            prop_assert!((0..6).all(|h| held.iter().filter(|at| at.contains(&holder(h))).count() <= 5));
        }
        kept.expire(now + Duration::from_secs(60));
        prop_assert!(kept.is_empty());
    }
}
