//! Relations over time, with and without virtual peers (third founding paper).

use serde_json::json;

use super::{Curve, Outcome, Plot, Published, Row, Scale, missing, world};
use crate::measure::stats::mean_and_deviation;
use crate::workload::Preset;
use crate::workload::preset::Searches;
use crate::world::Setup;

const PEERS: usize = 400;
const VIRTUAL: usize = 4;
/// When the network is looked at, in seconds.
const TIMES: [u64; 8] = [60, 120, 300, 600, 900, 1_200, 1_800, 2_400];

pub(super) fn run(scale: &Scale) -> Result<Outcome, String> {
    let peers = scale.peers(PEERS);
    // Fitted: how many relations peers look for, so that they have as many as was measured.
    let fitted = Preset {
        neighbours: 5,
        hubs_percent: 20,
        neighbours_spare: 6,
        searches: Searches::Never,
        ..Preset::flood_2001()
    };
    let without = |seed| Setup::new(fitted.clone(), peers, seed);
    // The same people: everybody is an ordinary peer of a community, and virtual peers stand for it.
    let community = Preset { ultrapeers_permille: 0, searches: Searches::Never, ..Preset::modern() };
    let config = json!({"leaves": 1_000, "ultrapeers": 32});
    let with = |seed| Setup::new(community.clone(), peers, seed).with_virtual(VIRTUAL, config.clone());
    let measure = |setup: Setup| {
        let Ok(mut world) = world(setup) else { return missing(TIMES.len() * 2 + 1) };
        let mut means = Vec::new();
        let mut deviations = Vec::new();
        for at in TIMES {
            world.run_until(at);
            let degrees: Vec<f64> = world.light().map(|(_, l)| l.degree() as f64).collect();
            let (mean, deviation) = mean_and_deviation(&degrees);
            means.push(mean);
            deviations.push(deviation);
        }
        let short = world.records.relations.iter().filter(|r| r.seconds < 60.0).count() as f64;
        let share = short / world.records.relations.len().max(1) as f64 * 100.0;
        means.into_iter().chain(deviations).chain([share]).collect()
    };
    let flat = scale.estimates(|seed| measure(without(seed)));
    let virtual_ = scale.estimates(|seed| measure(with(seed)));
    let last = TIMES.len() - 1;
    let curve = |name: &str, estimates: &[crate::measure::Estimate]| Curve {
        name: name.into(),
        points: TIMES.iter().map(|t| *t as f64 / 60.0).zip(estimates.iter().copied()).collect(),
    };
    const PAPER: &str = "S3, measured in the network of its time";
    let row =
        |what: &str, published, source, ours, unit| Row { what: what.into(), published, source, ours, unit };
    Ok(Outcome {
        setup: format!(
            "{peers} ordinary peers with two-state lives. Without: a flat network, peers look for 5 relations, a \
             fifth of them for 15, and accept 6 more (fitted to the measured mean). With: the same peers below {VIRTUAL} virtual \
             peers, each with 3 of them."
        ),
        rows: vec![
            row(
                "relations of a peer, without virtual peers",
                Published::Fitted(9.86),
                PAPER,
                flat[last],
                "relations",
            ),
            row(
                "their deviation among peers, without",
                Published::Shape("very high variance"),
                PAPER,
                flat[TIMES.len() + last],
                "relations",
            ),
            row(
                "relations of a peer, with virtual peers",
                Published::Nothing,
                "-",
                virtual_[last],
                "relations",
            ),
            row(
                "their deviation among peers, with",
                Published::Nothing,
                "-",
                virtual_[TIMES.len() + last],
                "relations",
            ),
            row(
                "relations shorter than a minute, without",
                Published::Nothing,
                "-",
                flat[TIMES.len() * 2],
                "%",
            ),
            row(
                "relations shorter than a minute, with",
                Published::Nothing,
                "-",
                virtual_[TIMES.len() * 2],
                "%",
            ),
        ],
        notes: Vec::new(),
        plots: vec![Plot {
            name: "relations",
            title: "Relations of an ordinary peer, with and without virtual peers",
            axes: ("minutes", "relations of an ordinary peer"),
            log: false,
            floor: 0.0,
            ceiling: None,
            published: Some((9.86, "9.86 without virtual peers (S3, fitted)")),
            curves: vec![curve("without virtual peers", &flat), curve("with virtual peers", &virtual_)],
        }],
    })
}
