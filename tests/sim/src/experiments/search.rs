//! Searches: how far, how long, at what cost.

use serde_json::json;

use super::{Curve, Outcome, Plot, Published, Row, Scale, missing, world};
use crate::measure::Estimate;
use crate::measure::ledger::Class;
use crate::measure::stats::quantile;
use crate::workload::content::Content;
use crate::workload::preset::{Reach, Searches};
use crate::workload::{Life, Preset};
use crate::world::{Setup, World};

/// Files for networks of some hundred peers: few enough that a good part of the searches is answered.
const FILES: Content = Content::Ranked { files: 20_000, exponent: 0.6, shift: 20.0 };

fn row(what: &str, published: Published, source: &'static str, ours: Estimate, unit: &'static str) -> Row {
    Row { what: what.into(), published, source, ours, unit }
}

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
}

/// Runs a world and looks at the searches that begin between two times; they get two minutes more to end.
pub(super) fn searches(mut world: World, from_s: u64, until_s: u64) -> Found {
    world.run_until(from_s);
    let (before, reached) = (world.ledger.clone(), world.records.reached);
    world.run_until(until_s);
    let messages = world.ledger.since(&before).of(Class::Query).messages as f64;
    let reached = (world.records.reached - reached) as f64;
    world.run_until(until_s + 121);
    let begun: Vec<_> = world
        .records
        .searches
        .iter()
        .filter(|s| s.at_s >= from_s as f64 && s.at_s < until_s as f64)
        .collect();
    let first: Vec<f64> = begun.iter().filter_map(|s| s.first_s).collect();
    let n = begun.len() as f64;
    Found {
        median_s: quantile(&first, 0.5),
        answered: first.len() as f64 / n * 100.0,
        messages: messages / n,
        hits: begun.iter().map(|s| f64::from(s.hits)).sum::<f64>() / n,
        reached: reached / n,
    }
}

pub(super) fn flood_reach(scale: &Scale) -> Result<Outcome, String> {
    let peers = scale.peers(8_000);
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
        let Ok(world) = world(Setup::new(preset.clone(), peers, seed)) else { return missing(2) };
        let found = searches(world, 300, 600);
        vec![found.reached, found.messages]
    });
    Ok(Outcome {
        setup: format!(
            "{peers} peers, each with four relations, TTL 7, no churn. The formula counts a tree where all have four; this network has circles, \
             and not everybody finds a fourth."
        ),
        rows: vec![
            row(
                "peers that a search reaches",
                Published::Is(4_372.0),
                "Ritter: n (n-1)^i added up, n = 4, T = 7 (workloads)",
                reached[0],
                "peers",
            ),
            row("messages for it", Published::Nothing, "-", reached[1], "messages"),
        ],
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
        plots: vec![
            Plot { name: "search-time", axes: ("peers", "median time to the first answer, ms"), curves },
            Plot { name: "search-share", axes: ("peers", "searches with an answer, %"), curves: shares },
        ],
    })
}
