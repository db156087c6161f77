//! What a policy of the shell says about the way of queries and the number of neighbours.

use std::time::Duration;

use avp::Config;
use avp::application::forward::{Avoid, Forward, Preference};
use avp::application::policy::{Degree, Plan, Region};
use avp::gnutella::Kind;

use crate::net::{Net, PeerId, RawId, address, config};
use crate::policy::Rules;
use crate::raw::guid;

const SECOND: Duration = Duration::from_secs(1);
const ROUTES: Plan = Plan { routes: true, degree: None, path_length: None, regions: false, links: false };

fn forward(fanout: u8, ttl: u8) -> Forward {
    Forward { fanout, ttl, ..Forward::default() }
}

/// The TTLs of the queries that each has got since it was last looked at.
fn ttls(net: &mut Net, neighbours: &[RawId]) -> Vec<Vec<u8>> {
    neighbours.iter().map(|raw| net.of_kind(*raw, Kind::QUERY).iter().map(|(h, _)| h.ttl).collect()).collect()
}

/// How many have got any.
fn reached(got: &[Vec<u8>]) -> usize {
    got.iter().filter(|ttls| !ttls.is_empty()).count()
}

fn ultrapeers(net: &mut Net, up: PeerId, n: u16) -> Vec<RawId> {
    (10..10 + n).map(|n| net.ultrapeer(n, up)).collect()
}

#[test]
fn a_neighbours_query_goes_to_as_many_and_as_far_as_the_rule_says() {
    let mut net = Net::new();
    let up = net.peer(config());
    let asker = net.ultrapeer(1, up);
    let sharer = net.sharing_leaf(2, up, "rare walrus.mp3");
    let others = ultrapeers(&mut net, up, 5);
    net.govern(up, Rules::open(1, ROUTES, vec![("rare", forward(2, 1)), ("walrus", forward(3, 9))]));
    net.query(asker, 4, 1, guid(1), "rare walrus");
    assert_eq!(net.of_kind(sharer, Kind::QUERY).len(), 1, "leaves that may answer get it in any case");
    let got = ttls(&mut net, &others);
    assert_eq!((reached(&got), got.concat()), (2, vec![1, 1]));
    net.query(asker, 4, 1, guid(2), "walrus");
    let got = ttls(&mut net, &others);
    assert_eq!((reached(&got), got.concat()), (3, vec![3; 3]), "no farther than it would without");
    // What no rule speaks of goes where standard rules say.
    net.query(asker, 4, 1, guid(3), "zebra");
    assert_eq!(reached(&ttls(&mut net, &others)), 5);
    net.query(asker, 4, 1, guid(4), "rare nowhere");
    assert_eq!(reached(&ttls(&mut net, &others)), 0);
    assert_eq!(net.metric(up, "avp_dropped_messages_total", &[("reason", "denied")]), 1.0);
    // Another generation holds from the next query on.
    net.govern(up, Rules::open(2, ROUTES, vec![("walrus", forward(1, 2))]));
    net.query(asker, 4, 1, guid(5), "walrus");
    assert_eq!(reached(&ttls(&mut net, &others)), 1);
    net.govern(up, Rules::open(3, Plan::default(), vec![("walrus", forward(1, 2))]));
    net.query(asker, 4, 1, guid(6), "walrus");
    assert_eq!(reached(&ttls(&mut net, &others)), 5, "it has no such chain");
    assert!(net.rules(up).routed.is_empty());
}

#[test]
fn queries_of_a_batch_are_decided_together_and_stay_in_their_order() {
    let mut net = Net::new();
    let up = net.peer(config());
    let asker = net.ultrapeer(1, up);
    let other = net.ultrapeer(2, up);
    net.govern(up, Rules::open(1, ROUTES, vec![("walrus", forward(9, 9))]));
    let payload = avp::gnutella::query::Builder::new("walrus").finish();
    for n in 0..7 {
        net.message(asker, Kind::QUERY, 4, 1, guid(10 + n), &payload);
    }
    net.run();
    assert_eq!(net.rules(up).routed, [7]);
    let seen: Vec<_> = net.of_kind(other, Kind::QUERY).into_iter().map(|(h, _)| h.guid).collect();
    assert_eq!(seen, [10, 11, 12, 13, 14, 15, 16].map(guid));
}

#[test]
fn a_leafs_query_is_put_to_so_many_neighbours_in_all_its_life() {
    let mut net = Net::new();
    let up = net.peer(config());
    let leaf = net.leaf(1, up);
    let others = ultrapeers(&mut net, up, 8);
    net.govern(up, Rules::open(1, ROUTES, vec![("walrus", forward(3, 2))]));
    net.query(leaf, 4, 0, guid(1), "walrus");
    net.advance(60 * SECOND);
    let got = ttls(&mut net, &others);
    assert_eq!(reached(&got), 3, "{got:?}");
    assert!(got.concat().iter().all(|ttl| *ttl <= 2), "{got:?}");
    assert_eq!(net.rules(up).routed, [1], "its steps need no other decision");
    net.query(leaf, 4, 0, guid(2), "zebra");
    net.advance(60 * SECOND);
    assert_eq!(reached(&ttls(&mut net, &others)), 8);
}

#[test]
fn a_search_under_way_obeys_the_next_generation_and_the_next_instance() {
    let mut net = Net::new();
    let up = net.peer(config());
    let leaf = net.leaf(1, up);
    let others = ultrapeers(&mut net, up, 8);
    net.govern(up, Rules::open(1, ROUTES, vec![("walrus", forward(8, 4))]));
    net.query(leaf, 4, 0, guid(1), "walrus");
    net.query(leaf, 4, 0, guid(2), "zebra");
    let first = reached(&ttls(&mut net, &others));
    assert!((1..8).contains(&first), "{first}");
    let state = net.virtual_peer(up).save();
    net.carry_on(up, config(), &state, 9).expect("its own state");
    net.govern(up, Rules::open(2, ROUTES, vec![("walrus", forward(1, 4)), ("zebra", forward(1, 4))]));
    net.advance(60 * SECOND);
    assert_eq!(reached(&ttls(&mut net, &others)), 0, "more than one was asked already");
}

#[test]
fn a_path_is_no_longer_than_the_policy_says() {
    let mut net = Net::new();
    let up = net.peer(config());
    let (asker, leaf) = (net.ultrapeer(1, up), net.leaf(2, up));
    let other = net.ultrapeer(3, up);
    net.govern(up, Rules::open(1, Plan { path_length: Some(2), ..Plan::default() }, vec![]));
    net.query(asker, 4, 1, guid(1), "walrus");
    net.query(asker, 4, 2, guid(2), "walrus");
    net.query(leaf, 4, 0, guid(3), "zebra");
    let got: Vec<_> = net.of_kind(other, Kind::QUERY).iter().map(|(h, _)| (h.guid, h.ttl)).collect();
    assert_eq!(got, [(guid(1), 1), (guid(3), 2)]);
}

fn degree(min: u32, target: u32, max: u32) -> Plan {
    Plan { degree: Some(Degree { min, target, max }), ..Plan::default() }
}

#[test]
fn no_more_neighbours_are_let_in_than_the_policy_says_and_those_too_many_go() {
    let mut net = Net::new();
    let up = net.peer(config());
    net.govern(up, Rules::open(1, degree(0, 3, 3), vec![]));
    let three = ultrapeers(&mut net, up, 3);
    let (answer, _) = net.shake(50, up, "X-Ultrapeer: True\r\nX-Query-Routing: 0.1\r\n");
    assert!(
        answer.starts_with("GNUTELLA/0.6 200") && answer.contains("X-Ultrapeer-Needed: False"),
        "{answer}"
    );
    let leaf = net.leaf(60, up);
    net.govern(up, Rules::open(2, degree(0, 1, 2), vec![]));
    net.advance(3 * SECOND);
    assert_eq!(three.iter().filter(|raw| !net.is_closed(**raw)).count(), 1, "down to the target");
    assert!(!net.is_closed(leaf));
    // Without a policy there is room again.
    net.govern(up, Rules::open(0, Plan::default(), vec![]));
    let _ = net.ultrapeer(70, up);
    assert_eq!(net.status(up).ultrapeers.used, 2);
}

#[test]
fn neighbours_are_looked_for_below_the_least_number_and_up_to_the_target() {
    let mut net = Net::new();
    let hosts: Vec<_> = (101..109).map(address).collect();
    for host in &hosts {
        net.listen(*host);
    }
    let up = net.peer(config());
    net.govern(up, Rules::open(1, degree(1, 3, 8), vec![]));
    net.configure(up, Config { connect: hosts.clone(), ..config() });
    net.advance(2 * SECOND);
    let dialled = |net: &mut Net| hosts.iter().filter(|host| net.accept(**host).is_some()).count();
    assert_eq!(dialled(&mut net), 3);
    net.govern(up, Rules::open(2, degree(0, 3, 8), vec![]));
    net.advance(200 * SECOND);
    dialled(&mut net);
    // One has come by itself: that is no less than the least.
    let _ = net.ultrapeer(1, up);
    net.govern(up, Rules::open(3, degree(1, 3, 8), vec![]));
    net.advance(5 * SECOND);
    assert_eq!(dialled(&mut net), 0);
}

#[test]
fn searches_stay_in_the_region_and_go_there_first() {
    let mut net = Net::new();
    let up = net.peer(config());
    let asker = net.ultrapeer(1, up);
    let others = ultrapeers(&mut net, up, 4);
    let surveyed = Plan { regions: true, ..ROUTES };
    let stay = Avoid { regions: [Region::Other, Region::Unknown].into_iter().collect(), ..Avoid::default() };
    let near = [Some(Preference::SameRegion), None, None, None];
    let ways = vec![
        ("walrus", Forward { avoid: stay, ..forward(9, 9) }),
        ("zebra", Forward { prefer: near, ..forward(2, 9) }),
    ];
    let there = [Region::Other, Region::Unknown, Region::Same, Region::Other, Region::Same];
    net.govern(up, Rules::open(1, surveyed, ways.clone()).around(&there));
    let got = |net: &mut Net| ttls(net, &others).iter().map(|ttls| !ttls.is_empty()).collect::<Vec<_>>();
    net.query(asker, 4, 1, guid(1), "walrus");
    assert_eq!(got(&mut net), [false, true, false, true]);
    net.query(asker, 4, 1, guid(2), "zebra");
    assert_eq!(got(&mut net), [false, true, false, true]);
    // What is asked for anew once a second holds from then on.
    net.rules(up).regions = [&there[..4], &[Region::Other]].concat();
    net.advance(2 * SECOND);
    net.query(asker, 4, 1, guid(3), "walrus");
    assert_eq!(got(&mut net), [false, true, false, false]);
    // Where the policy does not ask, nobody knows.
    net.govern(up, Rules::open(2, ROUTES, ways).around(&there));
    net.advance(2 * SECOND);
    let late = net.ultrapeer(60, up);
    net.query(asker, 4, 1, guid(4), "walrus");
    assert_eq!(reached(&ttls(&mut net, &[late])), 0);
}

#[test]
fn the_policy_hears_how_links_do_and_those_that_cost_most_are_given_up_first() {
    let mut net = Net::new();
    let up = net.peer(config());
    let three = ultrapeers(&mut net, up, 3);
    let _leaf = net.leaf(60, up);
    let costs = vec![Some(80.0), Some(3.0), Some(700.0), None];
    let plan = Plan { links: true, ..degree(0, 1, 2) };
    net.govern(up, Rules::open(1, plan, vec![]).at_costs(costs));
    net.advance(3 * SECOND);
    let closed: Vec<bool> = three.iter().map(|raw| net.is_closed(*raw)).collect();
    assert_eq!(closed, [true, false, true]);
    let told = &net.rules(up).told;
    assert_eq!(told.len(), 2, "leaves' links too");
    assert!(told.iter().all(|link| (0.0..=1.0).contains(&link.load) && link.bytes_s >= 0.0), "{told:?}");
}
