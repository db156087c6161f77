//! Searches: how far, how long, at what cost.

use serde_json::json;

use super::{Curve, Outcome, Plot, Published, Row, Scale, missing, world};
use crate::engine::Dice;
use crate::measure::Estimate;
use crate::measure::ledger::Class;
use crate::measure::stats::{mean_and_deviation, quantile};
use crate::workload::content::Content;
use crate::workload::preset::{Reach, Searches};
use crate::workload::{Life, Preset};
use crate::world::{Setup, World};

/// Files for networks of some hundred peers: few enough that a good part of the searches is answered.
pub(super) const FILES: Content = Content::Ranked { files: 20_000, exponent: 0.6, shift: 20.0 };

fn row(what: &str, published: Published, source: &'static str, ours: Estimate, unit: &'static str) -> Row {
    Row { what: what.into(), published, source, ours, unit }
}

/// Peers from which a flood is followed where no messages are.
const SOURCES: usize = 50;

/// Figures of the searches that began in a span of time.
pub(super) struct Found {
    /// Median time to the first answer, in seconds.
    pub(super) median_s: f64,
    /// Share that was answered, in a hundred.
    pub(super) answered: f64,
    /// Query messages for a search.
    pub(super) messages: f64,
    /// Files found by a search.
    pub(super) hits: f64,
    /// Peers that a search reached.
    pub(super) reached: f64,
    /// Searches.
    count: f64,
}

/// Runs a world and looks at the searches that begin between two times; they get two minutes more to end.
pub(super) fn searches(mut world: World, from_s: u64, until_s: u64) -> Found {
    world.run_until(from_s);
    let (before, reached) = (world.ledger.clone(), world.records.reached);
    world.run_until(until_s);
    let messages = world.ledger.since(&before).of(Class::Query).messages as f64;
    let reached = (world.records.reached - reached) as f64;
    let ended = found(&mut world, from_s, until_s);
    Found { messages: messages / ended.count, reached: reached / ended.count, ..ended }
}

/// The same for a world that has run until then, without what is counted on the way.
pub(super) fn found(world: &mut World, from_s: u64, until_s: u64) -> Found {
    world.run_until(until_s + 121);
    let begun: Vec<_> = world
        .records
        .searches
        .iter()
        .filter(|s| s.at_s >= from_s as f64 && s.at_s < until_s as f64)
        .collect();
    let first: Vec<f64> = begun.iter().filter_map(|s| s.first_s).collect();
    let count = begun.len() as f64;
    Found {
        median_s: quantile(&first, 0.5),
        answered: first.len() as f64 / count * 100.0,
        messages: f64::NAN,
        hits: begun.iter().map(|s| f64::from(s.hits)).sum::<f64>() / count,
        reached: f64::NAN,
        count,
    }
}

/// Peers that a flood with this TTL reaches in a tree whose nodes have so many relations as these, chosen by chance.
fn reach_of_tree(degrees: &[f64], ttl: u32) -> f64 {
    let sum: f64 = degrees.iter().sum();
    // Who is met over a relation has so many others in the mean.
    let others = degrees.iter().map(|d| d * (d - 1.0)).sum::<f64>() / sum;
    let mean = sum / degrees.len() as f64;
    let hops = std::iter::successors(Some(mean), |reached| Some(reached * others));
    hops.take(ttl as usize).sum()
}

/// Peers that a flood reaches in the mean where the ends of all relations are joined anew by chance.
fn reach_by_chance(degrees: &[f64], ttl: u8, dice: &mut Dice) -> f64 {
    let mut ends: Vec<usize> = degrees.iter().enumerate().flat_map(|(n, d)| vec![n; *d as usize]).collect();
    dice.shuffle(&mut ends);
    let mut links = vec![Vec::new(); degrees.len()];
    for pair in ends.chunks_exact(2) {
        links[pair[0]].push(pair[1]);
        links[pair[1]].push(pair[0]);
    }
    let reached = |from: usize| {
        let mut seen = vec![false; links.len()];
        seen[from] = true;
        let mut edge = vec![from];
        for _ in 0..ttl {
            let next = edge.iter().flat_map(|n| &links[*n]).copied();
            edge = next.filter(|to| !std::mem::replace(&mut seen[*to], true)).collect();
        }
        seen.iter().filter(|seen| **seen).count() - 1
    };
    (0..SOURCES).map(|_| reached(dice.below(links.len())) as f64).sum::<f64>() / SOURCES as f64
}

pub(super) fn flood_reach(scale: &Scale) -> Result<Outcome, String> {
    let peers = scale.peers(20_000);
    let preset = Preset {
        neighbours: 4,
        neighbours_spare: 0,
        hubs_percent: 0,
        pong_caching: true,
        life: Life::Forever,
        searches: Searches::Every(60.0 * peers as f64 / 100.0),
        uplinks_kbit_s: vec![100_000],
        ..Preset::flood_2000()
    };
    let reached = scale.estimates(|seed| {
        let setup = Setup { shards: 1, ..Setup::new(preset.clone(), peers, seed) };
        let Ok(mut world) = world(setup) else { return missing(5) };
        world.run_until(600);
        let degrees: Vec<f64> = world.light().map(|(_, l)| l.degree() as f64).filter(|d| *d > 0.0).collect();
        let found = searches(world, 600, 780);
        let tree = reach_of_tree(&degrees, preset.ttl.into());
        let by_chance = reach_by_chance(&degrees, preset.ttl, &mut Dice::new(seed, "by chance"));
        vec![found.reached, found.messages, mean_and_deviation(&degrees).0, tree, by_chance]
    });
    Ok(Outcome {
        setup: format!(
            "{peers} peers, each looking for four relations, TTL 7, no churn. The formula counts a tree where all have four."
        ),
        rows: vec![
            row(
                "flood, TTL 7: peers that a search reaches",
                Published::Is(4_372.0),
                "Ritter: n (n-1)^i added up, n = 4, T = 7 (workloads)",
                reached[0],
                "peers",
            ),
            row(
                "flood, TTL 7: relations of a peer",
                Published::Is(4.0),
                "what the formula assumes",
                reached[2],
                "relations",
            ),
            row("flood, TTL 7: messages of a search", Published::Nothing, "-", reached[1], "messages"),
        ],
        notes: vec![format!(
            "With the relations that these peers have, the formula gives {:.0}. Joined by chance, they reach {:.0}: in circles \
             copies of a search meet, and there are only so many peers. What is missing to that comes of how peers find each other: \
             web caches name who has room, and that is who has just come, so peers that come together hang together and circles \
             are short.",
            reached[3].mean, reached[4].mean
        )],
        plots: Vec::new(),
    })
}

pub(super) fn dynamic(scale: &Scale) -> Result<Outcome, String> {
    let peers = scale.peers(1_500);
    let measure = |reach: Reach, virtual_peers: usize, seed: u64| {
        let preset = Preset {
            reach,
            life: Life::Forever,
            searches: Searches::Every(600.0),
            content: FILES,
            ..Preset::modern()
        };
        let setup = Setup::new(preset, peers, seed).with_virtual(virtual_peers, json!({"leaves": 300}));
        let Ok(world) = world(setup) else { return missing(4) };
        let found = searches(world, 300, 900);
        vec![found.messages, found.answered, found.hits, found.median_s]
    };
    let flood = scale.estimates(|seed| measure(Reach::Flood, 0, seed));
    let dynamic = scale.estimates(|seed| measure(Reach::Dynamic, 0, seed));
    let with = scale.estimates(|seed| measure(Reach::Dynamic, 4, seed));
    let mut rows = Vec::new();
    for (name, found) in
        [("flooding", &flood), ("dynamic", &dynamic), ("dynamic, with 4 virtual peers", &with)]
    {
        rows.push(row(
            &format!("{name}: query messages for a search"),
            Published::Nothing,
            "-",
            found[0],
            "messages",
        ));
        rows.push(row(&format!("{name}: searches with an answer"), Published::Nothing, "-", found[1], "%"));
        rows.push(row(
            &format!("{name}: files found by a search"),
            Published::Nothing,
            "-",
            found[2],
            "files",
        ));
        rows.push(row(
            &format!("{name}: time to the first answer, median"),
            Published::Nothing,
            "-",
            found[3],
            "s",
        ));
    }
    Ok(Outcome {
        setup: format!(
            "{peers} peers in two tiers (modern), no churn, each searching every ten minutes; ultrapeers flood with TTL 4 or put \
             the query to one neighbour after the other. Both check routing tables at the last hop."
        ),
        rows,
        notes: Vec::new(),
        plots: Vec::new(),
    })
}

pub(super) fn time(scale: &Scale) -> Result<Outcome, String> {
    let sizes: Vec<usize> = [125, 250, 500, 1_000, 2_000].iter().map(|n| scale.peers(*n)).collect();
    let measure = |peers: usize, life: Life, seed: u64| {
        let preset = Preset { life, searches: Searches::Every(300.0), content: FILES, ..Preset::modern() };
        let setup = Setup::new(preset, peers, seed).with_virtual(2, json!({"leaves": 300}));
        let Ok(world) = world(setup) else { return missing(2) };
        let found = searches(world, 300, 900);
        vec![found.median_s * 1_000.0, found.answered]
    };
    let mut curves = Vec::new();
    let mut shares = Vec::new();
    let mut rows = Vec::new();
    for (name, life) in [
        ("no churn", Life::Forever),
        ("two-state churn", Life::TwoState),
        ("60-minute churn", Life::Exponential(3_600.0)),
    ] {
        let all: Vec<(f64, Vec<Estimate>)> =
            sizes.iter().map(|n| (*n as f64, scale.estimates(|seed| measure(*n, life, seed)))).collect();
        if let Some((peers, last)) = all.last() {
            rows.push(row(
                &format!("{name}: time to the first answer of {peers} peers, median"),
                Published::Nothing,
                "-",
                last[0],
                "ms",
            ));
            rows.push(row(
                &format!("{name}: searches with an answer"),
                Published::Nothing,
                "-",
                last[1],
                "%",
            ));
        }
        let part = |n: usize| all.iter().map(|(x, e)| (*x, e[n])).collect();
        curves.push(Curve { name: name.into(), points: part(0) });
        shares.push(Curve { name: name.into(), points: part(1) });
    }
    Ok(Outcome {
        setup: "Networks of the preset modern with two virtual peers, each peer searching every five minutes. A search by words, \
                not a lookup by key: for those see \"Lookup time\"."
            .into(),
        rows,
        notes: Vec::new(),
        plots: vec![
            Plot {
                name: "search-time",
                title: "Time to the first answer, against the network's size",
                axes: ("peers", "median time to the first answer, ms"),
                log: true,
                floor: 0.0,
                ceiling: None,
                published: None,
                curves,
            },
            Plot {
                name: "search-share",
                title: "Searches that are answered, against the network's size",
                axes: ("peers", "searches with an answer, %"),
                log: true,
                floor: 0.0,
                ceiling: Some(100.0),
                published: None,
                curves: shares,
            },
        ],
    })
}
