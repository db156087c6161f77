//! Sizes of the virtual peer's tables against their bounds.

use serde_json::json;

use super::{Curve, Outcome, Plot, Published, Row, Scale, missing, world};
use crate::workload::Preset;
use crate::workload::preset::Searches;
use crate::world::Setup;
use crate::world::checks::bounds;

const PEERS: usize = 800;
const TIMES: [u64; 6] = [120, 300, 600, 900, 1_200, 1_800];
/// Tables that [`bounds`] lists.
const TABLES: usize = 9;

pub(super) fn run(scale: &Scale) -> Result<Outcome, String> {
    let peers = scale.peers(PEERS);
    let preset = Preset { searches: Searches::Every(120.0), ..Preset::modern() };
    let config = json!({"leaves": 500, "query-routes": 20_000, "push-routes": 5_000});
    let mut names = Vec::new();
    let measure = |seed: u64| {
        let setup = Setup::new(preset.clone(), peers, seed).with_virtual(2, config.clone());
        let Ok(mut world) = world(setup) else { return missing(TIMES.len() * (TABLES + 1)) };
        let mut out = Vec::new();
        for at in TIMES {
            world.run_until(at);
            let mut most = vec![0.0_f64; TABLES];
            let mut bytes = 0.0;
            for (_, avp) in world.virtual_peers() {
                for (most, (_, value, bound)) in most.iter_mut().zip(bounds(avp)) {
                    *most = most.max(value / f64::max(bound, 1.0) * 100.0);
                }
                bytes += avp.metric("avp_routing_table_bytes", &[]) / 2.0;
            }
            out.extend(most);
            out.push(bytes / 1_024.0);
        }
        out
    };
    let all = scale.estimates(measure);
    if let Ok(mut sample) = world(Setup::new(preset.clone(), 20, 1).with_virtual(1, config.clone())) {
        sample.run_until(1);
        names = sample.virtual_peers().flat_map(|(_, avp)| bounds(avp)).map(|(name, ..)| name).collect();
    }
    let last = (TIMES.len() - 1) * (TABLES + 1);
    let mut rows: Vec<Row> = names
        .iter()
        .enumerate()
        .map(|(n, name)| Row {
            what: format!("{name}, the fuller of two virtual peers"),
            published: Published::Nothing,
            source: "-",
            ours: all[last + n],
            unit: "% of the bound",
        })
        .collect();
    rows.push(Row {
        what: "memory of routing tables, a virtual peer".into(),
        published: Published::Nothing,
        source: "-",
        ours: all[last + TABLES],
        unit: "KiB",
    });
    let curves = names.iter().enumerate().map(|(n, name)| Curve {
        name: (*name).into(),
        points: TIMES
            .iter()
            .enumerate()
            .map(|(t, at)| (*at as f64 / 60.0, all[t * (TABLES + 1) + n]))
            .collect(),
    });
    Ok(Outcome {
        setup: format!(
            "{peers} peers with two-state lives, a search in two minutes, two virtual peers with 500 leaves and 20,000 query routes a generation."
        ),
        rows,
        notes: Vec::new(),
        plots: vec![Plot {
            name: "tables",
            title: "How full a virtual peer's tables are (those that ever hold a hundredth)",
            axes: ("minutes", "entries, % of the bound"),
            log: false,
            floor: 0.0,
            ceiling: Some(100.0),
            published: None,
            curves: curves.filter(|c: &Curve| c.points.iter().any(|(_, e)| e.mean >= 1.0)).collect(),
        }],
    })
}
