//! Clustering and routing in simulated meshes.
#![allow(dead_code, reason = "the mesh is shared with the examples")]

mod mesh;

use std::collections::BTreeSet;
use std::time::Duration;

use mesh::Mesh;
use topology::soar::report::{Edge, Message, Report, Sealed};
use topology::soar::{Config, Metric};

fn settled(seed: u64, clusters: usize, size: usize) -> Mesh {
    let config = Config::default();
    let mut mesh = Mesh::new(seed, clusters, size, &config);
    mesh.run_for(config.probe_interval * 5);
    assert_eq!(mesh.astray(), 0, "not converged within five probe periods");
    mesh
}

#[test]
fn a_thousand_nodes_find_their_regions_and_gateways_within_five_probe_periods() {
    let mut mesh = settled(1, 40, 25);
    for node in &mesh.nodes {
        let gateways: BTreeSet<_> = node.gateways(0).values().map(|g| g.node).collect();
        assert!(!gateways.is_empty() && gateways.len() <= node.gateways(0).len());
    }
    // Region, gateways (some have come and gone) and own links: nothing that grows with the thousand.
    let most = mesh.nodes.iter().map(|n| n.reports_held()).max();
    assert!(most < Some(700), "{most:?} reports in a table");
    for _ in 0..30 {
        let (from, to) = (mesh.below(1000), mesh.below(1000));
        let way = mesh.walk(from, to).expect("a way without a loop");
        assert!(mesh.passable(&way));
    }
}

#[test]
fn regions_of_regions_are_found_and_lead_everywhere() {
    let near = vec![Duration::from_millis(10), Duration::from_millis(45)];
    let config = Config { near, ..Config::default() };
    let mut mesh = Mesh::new(10, 12, 8, &config);
    mesh.run_for(config.probe_interval * 10);
    for (node, soar) in mesh.nodes.iter().enumerate() {
        let fellows = (0..mesh.nodes.len()).filter(|other| mesh.cluster[*other] == mesh.cluster[node]);
        let fellows: BTreeSet<_> = fellows.map(|other| mesh.ids[other]).collect();
        assert_eq!(soar.region(0), fellows);
        assert_eq!(soar.locator().len(), 2);
    }
    let above: BTreeSet<_> = mesh.nodes.iter().map(|soar| soar.locator()[1]).collect();
    let below: BTreeSet<_> = mesh.nodes.iter().map(|soar| soar.locator()[0]).collect();
    assert!(above.len() < below.len() && above.len() > 1, "{} regions of {}", above.len(), below.len());
    for _ in 0..60 {
        let (from, to) = (mesh.below(96), mesh.below(96));
        let way = mesh.walk(from, to).expect("a way without a loop");
        assert!(mesh.passable(&way));
    }
}

#[test]
fn a_dead_link_is_routed_around_within_three_seconds() {
    let mut mesh = settled(2, 6, 12);
    let mut cuts = 0;
    while cuts < 10 {
        let (from, to) = (mesh.below(72), mesh.below(72));
        let Some(way) = mesh.walk(from, to).filter(|w| w.len() > 2) else { continue };
        let at = mesh.below(way.len() - 1);
        mesh.cut(way[at], way[at + 1]);
        assert!(!mesh.passable(&way));
        mesh.run_for(Duration::from_secs(3));
        let around = mesh.walk(from, to).expect("there is another way");
        assert!(mesh.passable(&around), "cut {cuts}: {around:?}");
        cuts += 1;
    }
}

#[test]
fn lost_packets_are_no_death_and_cost_something() {
    let mut mesh = settled(2, 1, 12);
    let rtt_us = |mesh: &Mesh| -> u64 {
        let links = mesh.nodes.iter().flat_map(|node| node.links().values());
        links.filter_map(|link| link.rtt_us).map(u64::from).sum()
    };
    let before = rtt_us(&mesh);
    mesh.lost = 0.2;
    mesh.run_for(Duration::from_secs(60));
    assert_eq!(mesh.nodes.iter().map(|node| node.stats().links_died).sum::<u64>(), 0);
    assert!(rtt_us(&mesh) > before * 2, "{before} before, {} now", rtt_us(&mesh));
}

#[test]
fn a_dead_link_is_told_nothing_and_brought_up_to_date_when_it_answers() {
    let mut mesh = settled(8, 1, 2);
    mesh.cut(0, 1);
    mesh.run_for(Duration::from_secs(3));
    let (a, b) = (mesh.ids[0], mesh.ids[1]);
    assert!(mesh.nodes[0].links()[&b].dead && mesh.nodes[0].region(0) == BTreeSet::from([a]));
    let sent = mesh.nodes[0].stats().sent_frames;
    // News meanwhile; once a second a probe.
    mesh.with(0, |soar, now| soar.load(now, 900));
    mesh.run_for(Duration::from_secs(10));
    let sent = mesh.nodes[0].stats().sent_frames - sent;
    assert!((9..=11).contains(&sent), "{sent} frames on a dead link");
    mesh.cut.clear();
    mesh.run_for(Duration::from_millis(1500));
    assert_eq!(mesh.astray(), 0);
    assert_eq!(mesh.nodes[1].graph(0).unwrap()[&a].load_milli, 900);
}

/// A mesh of twelve nodes 2 ms apart, and one of its links.
fn even(seed: u64) -> (Mesh, (usize, usize)) {
    let mut mesh = settled(seed, 1, 12);
    let link = *mesh.links.keys().next().expect("links");
    mesh.links.values_mut().for_each(|rtt| *rtt = 2000);
    mesh.run_for(Duration::from_secs(60));
    assert_eq!(mesh.walk(link.0, link.1).map(|way| way.len()), Some(2));
    (mesh, link)
}

#[test]
fn a_congested_link_is_left_within_three_seconds_and_its_region_is_not() {
    for (seed, queue_ms) in [(2, 20), (3, 100), (4, 500), (5, 900)] {
        let (mut mesh, (a, b)) = even(seed);
        let region = mesh.nodes[a].region(0);
        mesh.links.insert((a, b), queue_ms * 1000);
        mesh.run_for(Duration::from_millis(2900));
        for (from, to) in [(a, b), (b, a)] {
            let way = mesh.walk(from, to).expect("a way");
            assert!(way.len() > 2, "still over the congested link of {queue_ms} ms");
        }
        assert_eq!(mesh.nodes[a].region(0), region);
        assert_eq!(mesh.nodes[a].stats().links_died, 0);
        // Back to what it was, it is taken again, and not at once.
        mesh.links.insert((a, b), 2000);
        mesh.run_for(Duration::from_secs(2));
        assert!(mesh.walk(a, b).is_some_and(|way| way.len() > 2), "{queue_ms} ms");
        mesh.run_for(Duration::from_secs(120));
        assert!(mesh.walk(a, b).is_some_and(|way| way.len() == 2), "{queue_ms} ms");
    }
}

#[test]
fn one_late_answer_moves_nothing() {
    let (mesh, (a, b)) = even(6);
    let cost = |mesh: &Mesh| mesh.nodes[a].links()[&mesh.ids[b]].rtt_us.expect("measured");
    let before = cost(&mesh);
    let config = Config::default();
    let (mut link, mut now) = (mesh.nodes[a].links()[&mesh.ids[b]].clone(), mesh.now);
    let mut answer = |late_ms: u64| {
        link.tick(now, now.0, &config);
        let number = now.0;
        now = now + Duration::from_millis(late_ms);
        link.echo(now, number, &config);
        now = link.due;
        link.rtt_us.expect("measured")
    };
    assert!(answer(400) < before + 2000);
    assert!(answer(2) < before + 2000);
    assert!(answer(400) < before + 2000);
    assert!(answer(300) >= 300_000, "two in turn");
}

#[test]
fn what_comes_back_late_to_the_transport_is_probed_at_once() {
    for told in [false, true] {
        let (mut mesh, (a, b)) = even(11);
        let peer = mesh.ids[b];
        // Just after a probe was answered.
        let due = mesh.nodes[a].links()[&peer].due;
        mesh.run_for(due.since(mesh.now) + Duration::from_millis(10));
        mesh.links.insert((a, b), 100_000);
        mesh.run_for(Duration::from_millis(150));
        if told {
            mesh.with(a, |soar, now| soar.transport(now, peer, 50, 0, Some(Duration::from_millis(40))));
        }
        mesh.run_for(Duration::from_millis(250));
        let cost = mesh.nodes[a].links()[&peer].rtt_us.expect("measured");
        assert_eq!(cost > 90_000, told, "{cost} us");
        // Whatever the transport says, it is probed no more often for it than twice.
        let sent = mesh.nodes[a].stats().sent_frames;
        for _ in 0..40 {
            mesh.with(a, |soar, now| soar.transport(now, peer, 50, 0, Some(Duration::from_secs(9))));
            mesh.run_for(Duration::from_millis(250));
        }
        let links = mesh.nodes[a].links().len() as u64;
        assert!(mesh.nodes[a].stats().sent_frames - sent < links * 10 * 3);
    }
}

#[test]
fn a_node_that_is_busy_for_a_while_finds_no_way_better_for_it() {
    let (mut mesh, _) = even(12);
    let node = 0;
    let peers: Vec<usize> = mesh.nodes[node].links().keys().map(|id| mesh.index[id]).collect();
    let of_it: Vec<(usize, usize)> =
        mesh.links.keys().copied().filter(|l| l.0 == node || l.1 == node).collect();
    // Each link has its own time.
    for peer in &peers {
        let peer = mesh.ids[*peer];
        mesh.with(node, |soar, now| soar.transport(now, peer, 0, 0, Some(Duration::from_secs(9))));
        mesh.run_for(Duration::from_millis(130));
    }
    mesh.run_for(Duration::from_secs(20));
    for busy_ms in [20, 60, 300, 700] {
        of_it.iter().for_each(|link| _ = mesh.links.insert(*link, (2 + busy_ms) * 1000));
        // A stream takes another way where that costs less by half and by 2 ms, twice in turn, 100 ms apart.
        let mut better = vec![0; peers.len()];
        for look in 0..60 {
            mesh.run_for(Duration::from_millis(100));
            if look == 30 {
                of_it.iter().for_each(|link| _ = mesh.links.insert(*link, 2000));
            }
            for (peer, better) in peers.iter().zip(&mut better) {
                let target = mesh.ids[*peer];
                let routes = mesh.nodes[node].routes(Metric::RoundTrip, target, &[], 4);
                let direct = routes.iter().find(|route| route.nodes.len() == 2).map(|route| route.cost);
                let leaves = direct.is_none_or(|direct| direct > routes[0].cost * 3 / 2 + 2000);
                *better = if leaves { *better + 1 } else { 0 };
                assert!(
                    *better < 2,
                    "round {peer} after {look} looks at a node that is late by {busy_ms} ms"
                );
            }
        }
        mesh.run_for(Duration::from_secs(60));
    }
}

#[test]
fn of_the_first_round_trips_the_shortest_counts() {
    let (config, zero) = (Config::default(), topology::Instant(0));
    let mut link = topology::soar::link::Link::new(zero, zero, &config);
    let mut now = zero;
    for (number, late_ms) in [120, 3, 90, 2].into_iter().enumerate() {
        link.tick(now, number as u64, &config);
        now = now + Duration::from_millis(late_ms);
        link.echo(now, number as u64, &config);
        assert!(link.due.since(now) <= config.doubt_interval || number == 3, "the first ones are quick");
        now = link.due;
    }
    assert_eq!(link.rtt_us, Some(2_000));
    assert!(now.since(zero) < config.probe_interval * 3);
}

#[test]
fn what_the_transport_loses_costs_at_once_and_both_ends_believe_the_worse() {
    let (mut mesh, (a, b)) = even(7);
    let peer = mesh.ids[b];
    for _ in 0..2 {
        mesh.with(a, |soar, now| soar.transport(now, peer, 50, 5, None));
        mesh.run_for(Duration::from_millis(500));
    }
    // Only one end sees it, and both go round.
    for (from, to) in [(a, b), (b, a)] {
        assert!(mesh.walk(from, to).is_some_and(|way| way.len() > 2));
    }
    assert!(mesh.nodes.iter().all(|node| node.stats().lying == 0));
}

#[test]
fn a_region_splits_late_and_joins_early() {
    let mut mesh = Mesh::new(4, 1, 2, &Config::default());
    let region = |mesh: &Mesh| mesh.nodes[0].region(0).len();
    let mut at = |rtt_ms: u64| {
        mesh.links.insert((0, 1), rtt_ms * 1000);
        mesh.run_for(Duration::from_secs(60));
        region(&mesh)
    };
    // Threshold 10 ms, and half as much again to leave; up to a tenth of jitter.
    assert_eq!([at(8), at(12), at(13), at(20), at(13), at(12), at(8)], [2, 2, 2, 1, 1, 1, 2]);
}

#[test]
fn alternatives_are_simple_and_in_order() {
    let mut mesh = settled(5, 1, 12);
    let (from, to) = (mesh.ids[0], mesh.ids[6]);
    mesh.with(0, |soar, now| {
        let peers: Vec<_> = soar.links().keys().copied().collect();
        soar.throughput(now, peers[0], 1_000_000);
        soar.load(now, 700);
    });
    mesh.run_for(Duration::from_secs(1));
    for metric in [Metric::RoundTrip, Metric::Throughput, Metric::Load] {
        let routes = mesh.nodes[0].routes(metric, to, &[], 4);
        assert_eq!(routes.len(), 4);
        assert!(routes.is_sorted_by_key(|r| r.cost));
        for (i, route) in routes.iter().enumerate() {
            assert!(route.complete && route.nodes[0] == from && route.nodes.last() == Some(&to));
            assert_eq!(route.nodes.iter().collect::<BTreeSet<_>>().len(), route.nodes.len(), "a loop");
            assert!(routes[..i].iter().all(|r| r.nodes != route.nodes), "twice");
        }
    }
}

#[test]
fn unmeasured_edges_are_within_their_bounds() {
    let mesh = settled(6, 1, 12);
    let worth = mesh.nodes[0].worth_measuring(20);
    assert!(!worth.is_empty());
    for (node, bounds) in worth {
        assert!(bounds.low_us <= bounds.high_us);
        assert!(!mesh.nodes[0].links().contains_key(&node) && node != mesh.ids[0]);
    }
}

/// A report of `origin`, sealed by `by`.
fn report(
    origin: topology::NodeId,
    by: topology::NodeId,
    level: u8,
    version: u64,
    mut edges: Vec<Edge>,
) -> Sealed {
    edges.sort_by_key(|e| e.to);
    let report = Report { origin, level, version, region: origin, home: origin, load_milli: 0, edges };
    Sealed { report: report.encode(), seal: by.as_bytes().to_vec() }
}

fn edge(to: topology::NodeId, rtt_us: u32) -> Edge {
    Edge {
        to,
        rtt_us,
        throughput_kbps: Some(u32::MAX),
        near: true,
        region: None,
        inner: false,
        elected: true,
    }
}

#[test]
fn lies_about_edges_draw_no_traffic() {
    let mut mesh = settled(7, 4, 10);
    let before: Vec<_> = (0..40).map(|to| mesh.walk(11, to)).collect();
    let regions: Vec<_> = mesh.nodes.iter().map(|n| n.region(0)).collect();
    // Node 5 claims to be next to everybody, on both levels, with no delay.
    let liar = mesh.ids[5];
    let claims: Vec<Edge> = mesh.ids.iter().filter(|id| **id != liar).map(|id| edge(*id, 1)).collect();
    let peers: Vec<usize> = mesh.nodes[5].links().keys().map(|id| mesh.index[id]).collect();
    for level in 0..2 {
        let lie = report(liar, liar, level, u64::MAX - 1, claims.clone());
        for &peer in &peers {
            mesh.post(5, peer, Message::Reports(vec![lie.clone()]).encode());
        }
    }
    mesh.run_for(Duration::from_secs(10));
    let after: Vec<_> = (0..40).map(|to| mesh.walk(11, to)).collect();
    assert_eq!(mesh.nodes.iter().map(|n| n.region(0)).collect::<Vec<_>>(), regions);
    assert!(mesh.nodes.iter().map(|n| n.stats().lying).sum::<u64>() > 0, "nobody noticed");
    assert!(after.iter().all(Option::is_some));
    assert_eq!(after.len(), before.len());
    let cost = |mesh: &Mesh, ways: &[Option<Vec<usize>>]| -> u64 {
        let hops = ways.iter().flatten().flat_map(|w| w.windows(2).map(|p| (p[0].min(p[1]), p[0].max(p[1]))));
        hops.map(|link| mesh.links[&link]).sum()
    };
    assert!(cost(&mesh, &after) <= cost(&mesh, &before) * 11 / 10, "detours through the liar");
}

#[test]
fn forged_repeated_and_malformed_reports_are_refused_and_counted() {
    let mut mesh = settled(8, 2, 10);
    let (peer, from) = (mesh.index[mesh.nodes[0].links().keys().next().expect("links")], 0);
    let (victim, liar) = (mesh.ids[3], mesh.ids[from]);
    let graph = mesh.nodes[peer].graph(0).cloned();
    let forged = report(victim, liar, 0, u64::MAX, vec![edge(liar, 1)]);
    let own = mesh.nodes[peer].graph(0).expect("level 0")[&liar].version;
    let stale = report(liar, liar, 0, own, vec![]);
    let mut unsorted = Report {
        origin: liar,
        level: 0,
        version: u64::MAX,
        region: liar,
        home: liar,
        load_milli: 0,
        edges: vec![],
    };
    unsorted.edges = vec![edge(victim, 1), edge(victim, 2)];
    let unsorted = Sealed { report: unsorted.encode(), seal: liar.as_bytes().to_vec() };
    mesh.post(from, peer, Message::Reports(vec![forged, stale, unsorted]).encode());
    mesh.post(from, peer, vec![0xff; 30]);
    mesh.run_for(Duration::from_millis(200));
    let stats = mesh.nodes[peer].stats();
    assert_eq!((stats.forged, stats.malformed), (1, 2));
    assert!(stats.stale >= 1);
    assert_eq!(mesh.nodes[peer].graph(0).cloned(), graph, "and nothing has changed");
}

#[test]
fn a_flood_of_frames_is_refused_and_counted() {
    let mut mesh = settled(9, 2, 10);
    let peer = mesh.index[mesh.nodes[0].links().keys().next().expect("links")];
    let sent = mesh.nodes[peer].stats().sent_frames;
    for number in 0..20_000 {
        mesh.post(0, peer, Message::Probe(number).encode());
    }
    mesh.run_for(Duration::from_secs(1));
    let stats = mesh.nodes[peer].stats();
    assert!(stats.floods > 18_000, "{stats:?}");
    assert!(stats.sent_frames - sent < 2000, "answers to a flood");
    mesh.run_for(Duration::from_secs(10));
    assert_eq!(mesh.astray(), 0, "the flood has done harm");
}
