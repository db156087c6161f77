//! Locality of links and of bytes: random, an oracle, and one virtual peer a system.

use std::collections::VecDeque;

use avp::Config;
use serde_json::json;

use super::search::{FILES, found};
use super::{Outcome, Published, Row, Scale, missing, world};
use crate::engine::Dice;
use crate::internet::Graph;
use crate::measure::stats::mean_and_deviation;
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
/// How the degrees of the crawled networks fell (Ripeanu, Foster and Iamnitchi 2002: November 2000), and the least that a
/// peer looks for.
const CRAWLED_EXPONENT: f64 = 2.3;
const LEAST_DEGREE: u16 = 2;
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

/// Who has relations with whom.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Ultrapeers from a web cache.
    Random,
    /// Ultrapeers of one's own system first.
    Oracle,
    /// A virtual peer in each system, for itself.
    Islands,
    /// The same, and virtual peers have relations with each other.
    Linked,
    /// The same, and searches go no farther than to the virtual peers next to one's own.
    Near,
}

/// Shares and rates in the order of the rows, and the share of local relations that chance alone gives.
fn measure(way: Way, peers: usize, seed: u64) -> Vec<f64> {
    // In a system with a virtual peer everybody is below it.
    let with_virtual = !matches!(way, Way::Random | Way::Oracle);
    let linked = matches!(way, Way::Linked | Way::Near);
    let max_ttl = if way == Way::Near { 2 } else { Config::default().max_ttl };
    let modern = Preset::modern();
    let preset = Preset {
        choice: match way {
            Way::Random => Choice::Random,
            Way::Oracle => Choice::Oracle,
            Way::Islands | Way::Linked | Way::Near => Choice::Domain,
        },
        ultrapeers_permille: if with_virtual { 0 } else { modern.ultrapeers_permille },
        // An ordinary peer looks for three ultrapeers where they may be anybody's, and for its operator's where it has one.
        parents: if with_virtual { 1 } else { modern.parents },
        searches: Searches::Every(300.0),
        content: FILES,
        ..modern
    };
    let setup = Setup {
        systems: SYSTEMS,
        acquainted: linked,
        ..Setup::new(preset, peers, seed).with_virtual(
            if with_virtual { SYSTEMS } else { 0 },
            json!({"leaves": 5_000, "ultrapeers": 32, "max-ttl": max_ttl}),
        )
    };
    let Ok(mut world) = world(setup) else { return missing(ROWS.len() + 1) };
    world.run_until(FROM_S);
    let before = world.ledger.clone();
    world.run_until(UNTIL_S);
    let ledger = world.ledger.since(&before);
    let a_second = |bytes: u64| bytes as f64 / (UNTIL_S - FROM_S) as f64 / peers as f64;
    let local = local_links(&world);
    let by_chance = world.places.random_locality() * 100.0;
    let found = found(&mut world, FROM_S, UNTIL_S);
    vec![
        local,
        ledger.local_bytes as f64 / ledger.sent_bytes as f64 * 100.0,
        a_second(ledger.border_query_bytes),
        a_second(ledger.transit_bytes),
        found.answered,
        found.hits,
        by_chance,
    ]
}

/// Which row is that of queries over borders.
const BORDER: usize = 2;
/// What is measured for each way: name and unit.
const ROWS: [(&str, &str); 6] = [
    ("relations of ordinary peers within a system", "%"),
    ("bytes that stay in a system", "%"),
    ("query bytes over a border", "bytes/s a peer"),
    ("bytes times borders crossed", "bytes/s a peer"),
    ("searches with an answer", "%"),
    ("files found by a search", "files"),
];

pub(super) fn run(scale: &Scale) -> Result<Outcome, String> {
    let peers = scale.peers(PEERS);
    // The crawls were of flat networks, in an Internet of many more systems.
    let flat = |degree_exponent: Option<f64>, seed: u64| {
        let flat = Preset { searches: Searches::Never, ..Preset::flood_2001() };
        let neighbours = if degree_exponent.is_some() { LEAST_DEGREE } else { flat.neighbours };
        let preset = Preset { degree_exponent, neighbours, ..flat };
        let setup = Setup { systems: FLAT_SYSTEMS, ..Setup::new(preset, peers, seed) };
        let Ok(mut world) = world(setup) else { return missing(3) };
        world.run_until(FROM_S);
        let degrees: Vec<f64> = world.light().map(|(_, l)| l.degree() as f64).collect();
        vec![local_links(&world), near_pairs(&world), mean_and_deviation(&degrees).0]
    };
    let tailed = scale.estimates(|seed| flat(Some(CRAWLED_EXPONENT), seed));
    let tailless = scale.estimates(|seed| flat(None, seed));
    let exponent = scale.estimates(|seed| {
        let graph = Graph::generate(EXPONENT_SYSTEMS, 1.0, &mut Dice::new(seed, "internet"));
        vec![graph.degree_exponent(EXPONENT_FROM)]
    });
    let row = |what: String, published, source, ours, unit| Row { what, published, source, ours, unit };
    const CRAWLS: &str = "topology crawls (workloads)";
    let mut rows = vec![
        row(
            "flat network, random: pairs less than 7 hops apart".into(),
            Published::Above(95.0),
            CRAWLS,
            tailed[1],
            "%",
        ),
        row(
            "flat network, random: relations within a system".into(),
            Published::Between(2.0, 5.0),
            CRAWLS,
            tailed[0],
            "%",
        ),
        row(
            "flat network, random: relations of a peer".into(),
            Published::Is(6.8),
            "volume of 170,000 connections of 50,000 nodes, with two ends each (workloads)",
            tailed[2],
            "relations",
        ),
        row(
            "exponent of the systems' degrees".into(),
            Published::Is(2.2),
            "Faloutsos 1999, power law 2",
            exponent[0],
            "",
        ),
    ];
    let mut by_chance = f64::NAN;
    let mut over_border = Vec::new();
    for (name, way) in [
        ("random", Way::Random),
        ("oracle", Way::Oracle),
        ("a virtual peer each, islands", Way::Islands),
        ("a virtual peer each, linked", Way::Linked),
        ("the same, searches of two hops", Way::Near),
    ] {
        let found = scale.estimates(|seed| measure(way, peers, seed));
        if way == Way::Random {
            by_chance = found[ROWS.len()].mean;
        }
        over_border.push(found[BORDER].mean);
        for ((what, unit), ours) in ROWS.into_iter().zip(found) {
            rows.push(row(format!("{name}: {what}"), Published::Nothing, "-", ours, unit));
        }
    }
    let relations = tailless[2].mean;
    let [random, _, _, linked, near] = over_border[..] else {
        return Err("locality: a way is missing".into());
    };
    Ok(Outcome {
        setup: format!(
            "{peers} peers in {SYSTEMS} systems, two-state lives, a search in five minutes. Random: ultrapeers from a web cache. \
             Oracle: of one's own system first; a leaf has three. A virtual peer each: its operator told the peers of a system of \
             its virtual peer, which is the one that they have; there are no other ultrapeers. Islands: virtual peers have no \
             relations with each other. Linked: each has one with each other. Flat network: as many peers of flood-2001 without searches in {FLAT_SYSTEMS} systems, whose degrees fall \
             with exponent {CRAWLED_EXPONENT}, as those of the crawled networks did; the exponent of the systems is that of \
             {EXPONENT_SYSTEMS} systems."
        ),
        rows,
        notes: vec![
            format!(
                "The long tail of the degrees is what makes ways short: with {relations:.1} relations a peer and no tail, as in the \
                 preset flood-2001, {:.0} ± {:.0} % of the pairs are less than 7 hops apart.",
                tailless[1].mean, tailless[1].half_width
            ),
            format!(
                "By chance alone, as systems have their sizes, {by_chance:.1} % of the relations would be within a system. Relations \
                 with one's own system's virtual peer are local by construction: what counts is what searches cost over the border, \
                 and what they find. Islands keep everything and find the least."
            ),
            format!(
                "Virtual peers that are all next to each other (`connect`) and let searches go two hops (`max-ttl: 2`) send {:.0} % \
                 fewer bytes of queries over borders than ultrapeers chosen by chance, and answer as many. With the four hops that \
                 are the default it is {:+.0} %: each passes on to all others what they have already.",
                (1.0 - near / random) * 100.0,
                (linked / random - 1.0) * 100.0
            ),
        ],
        plots: Vec::new(),
    })
}
