//! Routing that is not the standard one.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use avp::application::dynamic_query::Candidate;
use avp::application::routes::LinkId;
use avp::application::routing::{Routed, Routing};
use avp::gnutella::Kind;
use avp::{Config, VirtualPeer};

use crate::net::{Net, address, config};
use crate::raw::guid;

/// Asks only the neighbour that has answered most so far.
#[derive(Debug, Default)]
struct BestOne(BTreeMap<LinkId, u16>);

impl Routing for BestOne {
    fn choose(&mut self, _query: &Routed<'_>, neighbours: &mut Vec<Candidate>) {
        neighbours.sort_by_key(|n| Reverse(self.0.get(&n.link).copied()));
        neighbours.truncate(1);
    }

    fn answered(&mut self, neighbour: LinkId, files: u16) {
        *self.0.entry(neighbour).or_default() += files;
    }

    fn save(&self) -> Vec<u8> {
        let bytes = |(link, files): (&LinkId, &u16)| {
            let [a, b] = files.to_le_bytes();
            [link.index as u8, link.serial as u8, a, b]
        };
        self.0.iter().flat_map(bytes).collect()
    }

    fn restore(&mut self, state: &[u8]) {
        self.0.extend(state.as_chunks::<4>().0.iter().map(|[index, serial, a, b]| {
            let link = LinkId { index: (*index).into(), serial: (*serial).into() };
            (link, u16::from_le_bytes([*a, *b]))
        }));
    }

    fn left(&mut self, link: LinkId) {
        self.0.remove(&link);
    }
}

fn routed(net: &mut Net) -> crate::net::PeerId {
    let config = Config { listen: address(1), ..config() };
    let peer = VirtualPeer::new(config, [1; 32], net.now).route_with(Box::<BestOne>::default());
    net.install(peer, address(1))
}

#[test]
fn a_neighbours_query_goes_to_whom_the_routing_chooses() {
    let mut net = Net::new();
    let up = routed(&mut net);
    let (asker, first, second) = (net.ultrapeer(1, up), net.ultrapeer(2, up), net.ultrapeer(3, up));
    net.query(asker, 3, 1, guid(1), "walrus");
    let asked = |net: &mut Net, raw| net.of_kind(raw, Kind::QUERY).len();
    assert_eq!((asked(&mut net, first), asked(&mut net, second)), (1, 0), "nobody has answered yet");

    // The second one answers what it was not asked: a hit for a query that is known counts all the same.
    net.hit(second, 3, 0, guid(1), guid(50), "walrus concerto.mp3");
    net.query(asker, 3, 1, guid(2), "walrus");
    assert_eq!((asked(&mut net, first), asked(&mut net, second)), (0, 1));
    assert_eq!(asked(&mut net, asker), 0, "never back");

    net.close(second);
    net.run();
    net.query(asker, 3, 1, guid(3), "walrus");
    assert_eq!(asked(&mut net, first), 1, "what was known of a neighbour ends with its link");
}

#[test]
fn a_leafs_query_is_put_to_those_whom_the_routing_leaves() {
    let mut net = Net::new();
    let up = routed(&mut net);
    let leaf = net.leaf(1, up);
    let neighbours: Vec<_> = (2..6).map(|n| net.ultrapeer(n, up)).collect();
    net.query(leaf, 4, 0, guid(1), "walrus");
    net.hit(neighbours[2], 3, 0, guid(1), guid(50), "walrus concerto.mp3");
    for raw in &neighbours {
        net.messages(*raw);
    }
    net.query(leaf, 4, 0, guid(2), "walrus");
    net.advance(std::time::Duration::from_secs(60));
    let asked: Vec<_> = neighbours.iter().map(|raw| net.of_kind(*raw, Kind::QUERY).len()).collect();
    assert_eq!((asked[0], asked[1], asked[3]), (0, 0, 0), "{asked:?}");
    assert!(asked[2] > 0);
}

#[test]
fn what_a_routing_has_learnt_goes_to_the_next_one() {
    let mut net = Net::new();
    let up = routed(&mut net);
    let (asker, good, better) = (net.ultrapeer(1, up), net.ultrapeer(2, up), net.ultrapeer(3, up));
    let turn = |net: &mut Net, n: u8| {
        net.query(asker, 3, 1, guid(n), "walrus");
        [good, better].map(|raw| net.of_kind(raw, Kind::QUERY).len())
    };
    turn(&mut net, 1);
    for (who, hits) in [(good, 1), (better, 2)] {
        for _ in 0..hits {
            net.hit(who, 3, 0, guid(1), guid(50), "walrus.mp3");
        }
    }
    assert_eq!(turn(&mut net, 2), [0, 1]);
    let take_over = |net: &mut Net| {
        let state = net.virtual_peer(up).save();
        net.carry_on(up, config(), &state, 9).expect("its own state");
        net.change(up, |peer| peer.route_with(Box::<BestOne>::default()));
    };
    take_over(&mut net);
    assert_eq!(turn(&mut net, 3), [0, 1]);
    let state = net.virtual_peer(up).save();
    net.close(better);
    net.run();
    net.carry_on(up, config(), &state, 10).expect("its own state");
    net.change(up, |peer| peer.route_with(Box::<BestOne>::default()));
    assert_eq!(turn(&mut net, 4), [1, 0]);
}
