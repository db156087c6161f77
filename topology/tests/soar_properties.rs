//! What holds for all reports and all graphs.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use topology::NodeId;
use topology::soar::Metric;
use topology::soar::report::{Edge, Message, Name, Report, Sealed};
use topology::soar::routes::Map;
use topology::soar::view::{Believed, Level, believed, infer, region_of};

fn id(n: u8) -> NodeId {
    NodeId::of_public_key(&[n])
}

fn edge() -> impl Strategy<Value = Edge> {
    (0u8..12, 1u32..100_000, any::<Option<u32>>(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(to, rtt_us, throughput_kbps, near, inner, elected)| Edge {
            to: id(to),
            rtt_us,
            throughput_kbps,
            near,
            region: near.then(|| id(to / 2)),
            inner,
            elected,
        },
    )
}

fn report(origin: u8) -> impl Strategy<Value = Report> {
    (prop::collection::vec(edge(), 0..12), any::<u64>(), any::<u32>()).prop_map(
        move |(edges, version, load_milli)| {
            let edges: BTreeMap<NodeId, Edge> =
                edges.into_iter().filter(|e| e.to != id(origin)).map(|e| (e.to, e)).collect();
            let (origin, region) = (id(origin), id(origin / 2));
            Report {
                origin,
                level: 0,
                version,
                region,
                home: origin,
                load_milli,
                edges: edges.into_values().collect(),
            }
        },
    )
}

fn level() -> impl Strategy<Value = Level> {
    (0u8..12)
        .map(report)
        .collect::<Vec<_>>()
        .prop_map(|reports| reports.into_iter().map(|r| (r.origin, r)).collect())
}

proptest! {
    #[test]
    fn a_report_is_read_as_it_was_written(report in report(3)) {
        prop_assert_eq!(Report::decode(&report.encode(), 64).unwrap(), report);
    }

    #[test]
    fn a_message_is_read_as_it_was_written(
        number: u64,
        reports in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..100), any::<[u8; 9]>()), 0..9),
        answer: bool,
    ) {
        let names = (0..20).map(|n| Name { origin: id(n), level: n, version: number }).collect();
        let reports = reports.into_iter().map(|(report, seal)| Sealed { report, seal: seal.to_vec() }).collect();
        for message in [
            Message::Probe(number),
            Message::SureProbe(number),
            Message::Echo(number),
            Message::Reports(reports),
            Message::Have { names, answer },
        ] {
            prop_assert_eq!(Message::decode(&message.clone().encode()).unwrap(), message);
        }
    }

    #[test]
    fn noise_and_damage_do_no_harm(
        noise in prop::collection::vec(any::<u8>(), 0..200),
        report in report(1),
        at: prop::sample::Index,
        with: u8,
    ) {
        let _ = Message::decode(&noise);
        let _ = Report::decode(&noise, 64);
        let mut bytes = report.encode();
        let at = at.index(bytes.len());
        bytes[at] = with;
        let _ = Report::decode(&bytes, 64);
        let _ = Report::decode(&bytes[..at], 64);
    }

    #[test]
    fn regions_are_the_same_from_each_member(level in level()) {
        for origin in level.keys() {
            let region = region_of(&level, [*origin]);
            for member in &region {
                prop_assert_eq!(&region_of(&level, [*member]), &region);
            }
        }
    }

    #[test]
    fn nobody_is_believed_alone(level in level(), a in 0u8..12, b in 0u8..12) {
        let (a, b) = (id(a), id(b));
        let both = level[&a].edge(b).zip(level[&b].edge(a));
        prop_assert_eq!(believed(&level, a, b).map(|e| e.rtt_us), both.map(|(x, y)| x.rtt_us.max(y.rtt_us)));
        prop_assert_eq!(believed(&level, a, b), believed(&level, b, a));
        if let Some(bounds) = infer(&level, a, b) {
            prop_assert!(bounds.low_us <= bounds.high_us);
        }
    }

    #[test]
    fn routes_never_loop_and_the_first_is_the_best(
        edges in prop::collection::vec((0u8..9, 0u8..9, 1u32..1000, any::<Option<u16>>(), 0u32..1000), 0..30),
        to in 1u8..9,
        count in 1usize..6,
    ) {
        let mut map = Map::default();
        let mut costs: BTreeMap<(NodeId, NodeId), u64> = BTreeMap::new();
        for (a, b, rtt_us, kbps, load) in edges.into_iter().filter(|(a, b, ..)| a != b) {
            let throughput_kbps = kbps.map(u32::from);
            let edge = Believed { rtt_us, throughput_kbps, near: false, inner: false };
            map.edge(id(a), id(b), edge, [load, 0]);
            costs.insert((id(a).min(id(b)), id(a).max(id(b))), u64::from(rtt_us));
        }
        for metric in [Metric::RoundTrip, Metric::Throughput, Metric::Load] {
            let routes = map.routes(metric, id(0), id(to), count);
            prop_assert!(routes.len() <= count);
            prop_assert!(routes.is_sorted_by_key(|(cost, _)| *cost));
            prop_assert_eq!(routes.iter().map(|(_, p)| p).collect::<BTreeSet<_>>().len(), routes.len());
            for (_, path) in &routes {
                prop_assert_eq!(path.iter().collect::<BTreeSet<_>>().len(), path.len());
                prop_assert!(path.windows(2).all(|p| costs.contains_key(&(p[0].min(p[1]), p[0].max(p[1])))));
            }
        }
        // Bellman and Ford's answer.
        let mut best: BTreeMap<NodeId, u64> = BTreeMap::from([(id(0), 0)]);
        for _ in 0..9 {
            for ((a, b), cost) in &costs {
                for (from, to) in [(a, b), (b, a)] {
                    if let Some(way) = best.get(from).map(|c| c + cost)
                        && best.get(to).is_none_or(|old| way < *old)
                    {
                        best.insert(*to, way);
                    }
                }
            }
        }
        let found = map.routes(Metric::RoundTrip, id(0), id(to), 1).first().map(|(cost, _)| *cost);
        prop_assert_eq!(found, best.get(&id(to)).copied());
    }
}
