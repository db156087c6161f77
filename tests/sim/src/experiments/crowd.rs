//! Virtual peers under a flash crowd: everybody comes within ten seconds.

use serde_json::json;

use super::{Curve, Outcome, Plot, Published, Row, Scale, missing, world};
use crate::measure::Estimate;
use crate::workload::preset::Searches;
use crate::workload::{Life, Preset};
use crate::world::{Setup, World};

const CROWD: usize = 2_000;
const LEAVES_EACH: usize = 1_000;
/// When one looks, in seconds.
const TIMES: [u64; 12] = [1, 2, 3, 5, 7, 10, 12, 15, 20, 30, 45, 60];
/// A virtual peer with so many of a hundred of its leaves is nearly full: another one is placed.
const FULL_PERCENT: usize = 90;

pub(super) fn run(scale: &Scale) -> Result<Outcome, String> {
    let crowd = scale.peers(CROWD);
    let leaves_each = (LEAVES_EACH / scale.smaller).max(10);
    let build = |virtual_peers: usize, virtual_at_s: Vec<u64>, seed: u64| {
        let preset = Preset {
            ultrapeers_permille: 0,
            parents: 1,
            life: Life::Forever,
            searches: Searches::Never,
            ..Preset::modern()
        };
        let setup =
            Setup::new(preset, crowd, seed).with_virtual(virtual_peers, json!({"leaves": leaves_each}));
        world(Setup { ramp_s: 10, virtual_at_s, ..setup })
    };
    let measure = |virtual_peers: usize, virtual_at_s: Vec<u64>, seed: u64| {
        let Ok(mut world) = build(virtual_peers, virtual_at_s, seed) else { return missing(TIMES.len() + 1) };
        let mut shares = Vec::new();
        for at in TIMES {
            world.run_until(at);
            let served = world.light().filter(|(_, l)| l.degree() > 0).count();
            shares.push(served as f64 / crowd as f64 * 100.0);
        }
        shares.push(world.records.refused as f64 / crowd as f64);
        shares
    };
    // The second at which one virtual peer alone is nearly full.
    let full_at = |seed: u64| -> u64 {
        let Ok(mut world) = build(1, Vec::new(), seed) else { return 0 };
        let full = |world: &World| {
            let leaves: f64 =
                world.virtual_peers().map(|(_, avp)| avp.metric("avp_links", &[("role", "leaf")])).sum();
            leaves * 100.0 >= (leaves_each * FULL_PERCENT) as f64
        };
        (1..TIMES[TIMES.len() - 1])
            .find(|at| {
                world.run_until(*at);
                full(&world)
            })
            .unwrap_or(0)
    };
    let mut rows = Vec::new();
    let mut curves = Vec::new();
    let there = |n: usize| move |seed| measure(n, Vec::new(), seed);
    let placed = |after_s: u64| move |seed| measure(2, vec![0, full_at(seed) + after_s], seed);
    let runs: [(&str, Vec<Estimate>); 5] = [
        ("one virtual peer", scale.estimates(there(1))),
        ("one, a second placed within 1 s", scale.estimates(placed(1))),
        ("one, a second placed within 20 s", scale.estimates(placed(20))),
        ("two from the beginning", scale.estimates(there(2))),
        ("four from the beginning", scale.estimates(there(4))),
    ];
    for (name, found) in runs {
        let mut push = |what: &str, ours, unit| {
            let what = format!("{name}: {what}");
            rows.push(Row { what, published: Published::Nothing, source: "-", ours, unit });
        };
        push("served after 15 s", found[7], "% of the crowd");
        push("served after 60 s", found[11], "% of the crowd");
        push("refusals until then", found[TIMES.len()], "for each of the crowd");
        let points = TIMES.iter().map(|t| *t as f64).zip(found).collect();
        curves.push(Curve { name: name.into(), points });
    }
    Ok(Outcome {
        setup: format!(
            "{crowd} leaves come within ten seconds, each looking for one ultrapeer; virtual peers take {leaves_each} leaves each: one is \
             half of what is needed, two are just enough. A second one is placed when the first has {FULL_PERCENT} % of its leaves, \
             and takes leaves 1 s later, as where its code is at hand, or 20 s later, as where it is fetched and compiled. The \
             rule and the two times are the experiment's: what the product has is placing a service when it is told to."
        ),
        rows,
        notes: Vec::new(),
        plots: vec![Plot {
            name: "flash-crowd",
            title: "A crowd comes within ten seconds",
            axes: ("seconds", "of the crowd has an ultrapeer, %"),
            log: false,
            floor: 0.0,
            ceiling: Some(100.0),
            published: None,
            curves,
        }],
    })
}
