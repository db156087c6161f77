//! Locality of links and of bytes: random, an oracle, and one virtual peer a system.

use std::collections::VecDeque;

use serde_json::json;

use super::{Outcome, Published, Row, Scale, missing, world};
use crate::engine::Dice;
use crate::internet::Graph;
use crate::workload::Preset;
use crate::workload::preset::{Choice, Searches};
use crate::world::{Setup, World};

const PEERS: usize = 1_500;
const SYSTEMS: usize = 30;
/// Systems of the flat network that is compared with crawls.
const FLAT_SYSTEMS: usize = 100;
/// Systems of the graph whose degrees are compared with the published law, and the least degree that counts.
const EXPONENT_SYSTEMS: usize = 4_000;
const EXPONENT_FROM: usize = 3;
const FROM_S: u64 = 300;
const UNTIL_S: u64 = 900;
/// Peers from which ways through the overlay are counted.
const SOURCES: usize = 20;

/// Share of relations within a system.
fn local_links(world: &World) -> f64 {
    let (mut local, mut all) = (0, 0);
    for (node, light) in world.light() {
        for (other, _) in light.relations(world.now()) {
            all += 1;
            local += usize::from(world.places.system(node) == world.places.system(other));
        }
    }
    f64::from(u32::try_from(local).unwrap_or(u32::MAX)) / f64::from(all.max(1)) * 100.0
}

/// Share of pairs less than seven hops apart.
fn near_pairs(world: &World) -> f64 {
    let mut links = vec![Vec::new(); world.len()];
    for (node, light) in world.light() {
        for (other, _) in light.relations(world.now()) {
            links[node as usize].push(other);
            links[other as usize].push(node);
        }
    }
    let here: Vec<u32> = world.light().map(|(n, _)| n).collect();
    let (mut near, mut all) = (0_u64, 0_u64);
    for source in here.iter().step_by((here.len() / SOURCES).max(1)) {
        let mut hops = vec![u8::MAX; world.len()];
        hops[*source as usize] = 0;
        let mut todo = VecDeque::from([*source]);
        while let Some(at) = todo.pop_front() {
            for to in &links[at as usize] {
                if hops[*to as usize] == u8::MAX {
                    hops[*to as usize] = hops[at as usize].saturating_add(1);
                    todo.push_back(*to);
                }
            }
        }
        let others = here.iter().filter(|n| *n != source).map(|n| hops[*n as usize]);
        for hop in others.filter(|h| *h < u8::MAX) {
            all += 1;
            near += u64::from(hop < 7);
        }
    }
    near as f64 / all.max(1) as f64 * 100.0
}

pub(super) fn run(scale: &Scale) -> Result<Outcome, String> {
    let peers = scale.peers(PEERS);
    let measure = |choice: Choice, seed: u64| {
        let preset = Preset { choice, searches: Searches::Every(300.0), ..Preset::modern() };
        // In a domain with a virtual peer everybody is below it.
        let domain = choice == Choice::Domain;
        let preset =
            Preset { ultrapeers_permille: if domain { 0 } else { preset.ultrapeers_permille }, ..preset };
        let setup = Setup::new(preset, peers, seed);
        let setup =
            setup.with_virtual(if domain { SYSTEMS } else { 0 }, json!({"leaves": 5_000, "ultrapeers": 32}));
        let Ok(mut world) = world(Setup { systems: SYSTEMS, ..setup }) else { return missing(5) };
        world.run_until(FROM_S);
        let before = world.ledger.clone();
        world.run_until(UNTIL_S);
        let ledger = world.ledger.since(&before);
        let seconds = (UNTIL_S - FROM_S) as f64;
        vec![
            local_links(&world),
            ledger.local_bytes as f64 / ledger.sent_bytes as f64 * 100.0,
            ledger.transit_bytes as f64 / seconds / peers as f64,
            ledger.border_query_bytes as f64 / seconds / peers as f64,
            world.places.random_locality() * 100.0,
        ]
    };
    // The crawls were of flat networks, in an Internet of many more systems.
    let flat = scale.estimates(|seed| {
        let preset = Preset { searches: Searches::Never, ..Preset::flood_2001() };
        let graph = Graph::generate(EXPONENT_SYSTEMS, 1.0, &mut Dice::new(seed, "internet"));
        let setup = Setup { systems: FLAT_SYSTEMS, ..Setup::new(preset, peers, seed) };
        let Ok(mut world) = world(setup) else { return missing(3) };
        world.run_until(FROM_S);
        vec![local_links(&world), near_pairs(&world), graph.degree_exponent(EXPONENT_FROM)]
    });
    let random = scale.estimates(|seed| measure(Choice::Random, seed));
    let oracle = scale.estimates(|seed| measure(Choice::Oracle, seed));
    let domain = scale.estimates(|seed| measure(Choice::Domain, seed));
    let row = |what: String, published, source, ours, unit| Row { what, published, source, ours, unit };
    let mut rows = vec![
        row(
            "flat network, random: pairs less than 7 hops apart".into(),
            Published::Above(95.0),
            "topology crawls (workloads)",
            flat[1],
            "%",
        ),
        row(
            "flat network, random: relations within a system".into(),
            Published::Between(2.0, 5.0),
            "topology crawls (workloads)",
            flat[0],
            "%",
        ),
        row(
            "exponent of the systems' degrees".into(),
            Published::Is(2.2),
            "Faloutsos 1999, power law 2",
            flat[2],
            "",
        ),
        row("relations within a system, random".into(), Published::Nothing, "-", random[0], "%"),
        row("by chance alone, as systems have their sizes".into(), Published::Nothing, "-", random[4], "%"),
        row("relations within a system, oracle".into(), Published::Nothing, "-", oracle[0], "%"),
        row("relations within a system, a virtual peer each".into(), Published::Nothing, "-", domain[0], "%"),
    ];
    for (name, found) in [("random", &random), ("oracle", &oracle), ("a virtual peer each", &domain)] {
        rows.push(row(
            format!("bytes that stay in a system, {name}"),
            Published::Nothing,
            "-",
            found[1],
            "%",
        ));
        rows.push(row(
            format!("query bytes over a border, {name}"),
            Published::Nothing,
            "-",
            found[3],
            "bytes/s a peer",
        ));
        rows.push(row(
            format!("bytes times borders crossed, {name}"),
            Published::Nothing,
            "-",
            found[2],
            "bytes/s a peer",
        ));
    }
    Ok(Outcome {
        setup: format!(
            "{peers} peers in {SYSTEMS} systems, two-state lives, a search in five minutes. Random: ultrapeers from a web cache. \
             Oracle: of one's own system first. A virtual peer each: its operator told the peers of a system of its virtual peer; \
             there are no other ultrapeers. Flat network: as many peers of flood-2001 without searches in {FLAT_SYSTEMS} systems; \
             its degrees have no long tail, as those of the crawled networks had, so its ways are longer; \
             the exponent is that of {EXPONENT_SYSTEMS} systems."
        ),
        rows,
        plots: Vec::new(),
    })
}
