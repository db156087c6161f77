//! Searches in a two-tier network, with each parameter of the workload that is from memory at both ends of its range.

use serde_json::json;

use super::search::searches;
use super::{Outcome, Published, Row, Scale, missing, world};
use crate::workload::content::Content;
use crate::workload::preset::Searches;
use crate::workload::{Life, Preset};
use crate::world::Setup;

const PEERS: usize = 400;
const FROM_S: u64 = 300;
const UNTIL_S: u64 = 600;

/// A parameter, its value, and the preset that has it.
fn variants() -> Vec<(&'static str, Preset)> {
    let content = |exponent, shift| Content::Ranked { files: 5_000, exponent, shift };
    let base =
        || Preset { searches: Searches::Every(300.0), content: content(0.6, 20.0), ..Preset::modern() };
    vec![
        ("as everywhere", base()),
        ("popularity of files, exponent 0.55", Preset { content: content(0.55, 20.0), ..base() }),
        ("popularity of files, exponent 0.7", Preset { content: content(0.7, 20.0), ..base() }),
        ("popularity of files, exponent 1.2", Preset { content: content(1.2, 20.0), ..base() }),
        ("popularity of files, shift 5", Preset { content: content(0.6, 5.0), ..base() }),
        ("popularity of files, shift 60", Preset { content: content(0.6, 60.0), ..base() }),
        ("15 ultrapeer relations", Preset { neighbours: 15, ..base() }),
        ("30 leaves an ultrapeer", Preset { leaves: 30, ..base() }),
        ("75 leaves an ultrapeer", Preset { leaves: 75, ..base() }),
        ("no free riders", Preset { free_riders_percent: 0, ..base() }),
        ("two of three ride free", Preset { free_riders_percent: 66, ..base() }),
        ("nobody leaves", Preset { life: Life::Forever, ..base() }),
        ("exponential lives of the same mean", Preset { life: Life::Exponential(1_435.0), ..base() }),
    ]
}

pub(super) fn run(scale: &Scale) -> Result<Outcome, String> {
    let peers = scale.peers(PEERS);
    let mut rows = Vec::new();
    for (name, preset) in variants() {
        let found = scale.estimates(|seed| {
            let setup = Setup::new(preset.clone(), peers, seed).with_virtual(2, json!({"leaves": 100}));
            let Ok(world) = world(setup) else { return missing(2) };
            let found = searches(world, FROM_S, UNTIL_S);
            vec![found.answered, found.messages]
        });
        for (n, (what, unit)) in
            [("searches with an answer", "%"), ("query messages for a search", "messages")]
                .into_iter()
                .enumerate()
        {
            let what = format!("{name}: {what}");
            rows.push(Row { what, published: Published::Nothing, source: "-", ours: found[n], unit });
        }
    }
    Ok(Outcome {
        setup: format!(
            "{peers} peers in two tiers with two virtual peers, two-state lives, a search in five minutes, 5,000 files. One \
             parameter at a time is moved to an end of the range that the literature gives."
        ),
        rows,
        notes: Vec::new(),
        plots: Vec::new(),
    })
}
