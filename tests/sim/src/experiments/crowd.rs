//! Virtual peers under a flash crowd: everybody comes within ten seconds.

use serde_json::json;

use super::{Curve, Outcome, Plot, Published, Row, Scale, missing, world};
use crate::measure::Estimate;
use crate::workload::preset::Searches;
use crate::workload::{Life, Preset};
use crate::world::Setup;

const CROWD: usize = 2_000;
const LEAVES_EACH: usize = 1_000;
/// When one looks, in seconds.
const TIMES: [u64; 11] = [1, 2, 3, 5, 7, 10, 12, 15, 20, 30, 60];

pub(super) fn run(scale: &Scale) -> Result<Outcome, String> {
    let crowd = scale.peers(CROWD);
    let leaves = LEAVES_EACH / scale.smaller;
    let measure = |virtual_peers: usize, seed: u64| {
        let preset = Preset {
            ultrapeers_permille: 0,
            parents: 1,
            life: Life::Forever,
            searches: Searches::Never,
            ..Preset::modern()
        };
        let setup =
            Setup::new(preset, crowd, seed).with_virtual(virtual_peers, json!({"leaves": leaves.max(10)}));
        let Ok(mut world) = world(Setup { ramp_s: 10, ..setup }) else { return missing(TIMES.len() + 1) };
        let mut shares = Vec::new();
        for at in TIMES {
            world.run_until(at);
            let served = world.light().filter(|(_, l)| l.degree() > 0).count();
            shares.push(served as f64 / crowd as f64 * 100.0);
        }
        shares.push(world.records.refused as f64 / crowd as f64);
        shares
    };
    let mut rows = Vec::new();
    let mut curves = Vec::new();
    for n in [1, 2, 4] {
        let found: Vec<Estimate> = scale.estimates(|seed| measure(n, seed));
        let row =
            |what: String, ours, unit| Row { what, published: Published::Nothing, source: "-", ours, unit };
        rows.push(row(format!("{n} virtual peers: served after 15 s"), found[7], "% of the crowd"));
        rows.push(row(format!("{n} virtual peers: served after 60 s"), found[10], "% of the crowd"));
        rows.push(row(
            format!("{n} virtual peers: refusals until then"),
            found[TIMES.len()],
            "for each of the crowd",
        ));
        let points = TIMES.iter().map(|t| *t as f64).zip(found).collect();
        curves.push(Curve { name: format!("{n} virtual peers"), points });
    }
    Ok(Outcome {
        setup: format!(
            "{crowd} leaves come within ten seconds, each looking for one ultrapeer; virtual peers take {} leaves each and are \
             there from the beginning: one is half of what is needed, two are just enough. Placing them on demand is absent.",
            leaves.max(10)
        ),
        rows,
        plots: vec![Plot { name: "flash-crowd", axes: ("seconds", "% of the crowd served"), curves }],
    })
}
