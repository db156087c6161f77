//! Lookups and upkeep of the mesh (first founding paper, figures 2 to 5).

use super::{Curve, Outcome, Plot, Published, Row, Scale};
use crate::measure::Estimate;
use crate::mesh::Mesh;

const HOW: &str = "The product's Kademlia as it is shipped (k 16, alpha 4; the paper states neither): a message takes an \
                   exponential time of mean 50 ms, nodes stay for an exponential time and come as a Poisson process.";
/// Lookups that a run is given, and the time over which they are spread.
const LOOKUPS: u64 = 200;
const ASKING_S: u64 = 600;
/// Time for churn to make itself felt.
const CHURN_S: u64 = 1_800;
/// Meshes for lookups alone.
const LONG_LIVED: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];

fn row(what: &str, published: Published, source: &'static str, ours: Estimate, unit: &'static str) -> Row {
    Row { what: what.into(), published, source, ours, unit }
}

/// Mean lookup time in ms, share found in a hundred, bytes a second that a node sends.
fn measure(nodes: usize, online_minutes: Option<f64>, seed: u64) -> Vec<f64> {
    let mut mesh = Mesh::joined(nodes, seed);
    if let Some(minutes) = online_minutes {
        mesh.churn(minutes);
        mesh.run_for(CHURN_S);
    }
    let before = mesh.sent_bytes;
    mesh.run_for(ASKING_S);
    let upkeep = (mesh.sent_bytes - before) as f64 / ASKING_S as f64 / nodes as f64;
    mesh.ask_every(ASKING_S as f64 / LOOKUPS as f64);
    mesh.run_for(ASKING_S);
    let found: Vec<f64> = mesh.lookups.iter().filter(|l| l.found).map(|l| l.ms).collect();
    let n = found.len() as f64;
    vec![found.iter().sum::<f64>() / n, n / mesh.lookups.len() as f64 * 100.0, upkeep]
}

pub(super) fn time(scale: &Scale) -> Result<Outcome, String> {
    let sizes: Vec<usize> = [100, 250, 500, 1_000].iter().map(|n| scale.peers(*n)).collect();
    let mut times = Vec::new();
    let mut costs = Vec::new();
    let mut rows = Vec::new();
    const FIGURE_2: &str = "S1, figure 2: 1,000 peers";
    for (name, churn, published, source) in [
        ("no churn", None, Published::Below(200.0), FIGURE_2),
        ("60-minute churn", Some(60.0), Published::Shape("higher than without"), FIGURE_2),
    ] {
        let all: Vec<(f64, Vec<Estimate>)> =
            sizes.iter().map(|n| (*n as f64, scale.estimates(|seed| measure(*n, churn, seed)))).collect();
        if let Some((nodes, last)) = all.last() {
            rows.push(row(
                &format!("{name}: lookup time of {nodes} nodes, mean"),
                published,
                source,
                last[0],
                "ms",
            ));
            rows.push(row(&format!("{name}: nodes that were found"), Published::Nothing, "-", last[1], "%"));
            let shape = Published::Shape("concave in size; higher with churn");
            rows.push(row(
                &format!("{name}: upkeep"),
                shape,
                "S1, figure 4 (axis unknown)",
                last[2],
                "bytes/s a node",
            ));
        }
        let part = |n: usize| all.iter().map(|(x, e)| (*x, e[n])).collect();
        times.push(Curve { name: name.into(), points: part(0) });
        costs.push(Curve { name: name.into(), points: part(2) });
    }
    let mut long_lived = Vec::new();
    for full in LONG_LIVED {
        let nodes = (full / scale.smaller / scale.smaller).max(20);
        let found = scale.estimates(|seed| {
            let mut mesh = Mesh::long_lived(nodes, seed);
            mesh.ask_every(1.0);
            mesh.run_for(60);
            let found: Vec<f64> = mesh.lookups.iter().filter(|l| l.found).map(|l| l.ms).collect();
            vec![found.iter().sum::<f64>() / found.len() as f64]
        });
        rows.push(row(
            &format!("no churn: lookup time of {nodes} long-lived nodes, mean"),
            Published::Nothing,
            "-",
            found[0],
            "ms",
        ));
        long_lived.push((nodes as f64, found[0]));
    }
    times.push(Curve { name: "no churn, long-lived nodes".into(), points: long_lived });
    Ok(Outcome {
        setup: HOW.into(),
        rows,
        notes: Vec::new(),
        plots: vec![
            Plot {
                name: "lookup-time",
                title: "Finding a node by its id, against the mesh's size",
                axes: ("nodes", "mean lookup time, ms"),
                log: true,
                floor: 0.0,
                ceiling: None,
                published: Some((200.0, "below 200 ms at 1,000 nodes (S1, figure 2)")),
                curves: times,
            },
            Plot {
                name: "lookup-upkeep",
                title: "What a node sends to stay in the mesh, against the mesh's size",
                axes: ("nodes", "bytes/s a node sends without lookups"),
                log: true,
                floor: 0.0,
                ceiling: None,
                published: None,
                curves: costs,
            },
        ],
    })
}

pub(super) fn neighbours(scale: &Scale) -> Result<Outcome, String> {
    let minutes = [10.0, 30.0, 60.0, 90.0, 120.0];
    let mut correct = Vec::new();
    let mut upkeep = Vec::new();
    let mut rows = Vec::new();
    for nodes in [100, 500].map(|n| scale.peers(n)) {
        let all: Vec<(f64, Vec<Estimate>)> = minutes
            .iter()
            .map(|online| {
                let one = |seed| {
                    let mut mesh = Mesh::joined(nodes, seed);
                    mesh.churn(*online);
                    mesh.run_for(CHURN_S);
                    let before = mesh.sent_bytes;
                    let samples = 10;
                    let mut sum = 0.0;
                    for _ in 0..samples {
                        mesh.run_for(ASKING_S / samples);
                        sum += mesh.neighbours_correct();
                    }
                    let bytes = (mesh.sent_bytes - before) as f64 / ASKING_S as f64 / nodes as f64;
                    vec![sum / samples as f64, bytes]
                };
                (*online, scale.estimates(one))
            })
            .collect();
        let name = format!("{nodes} nodes");
        for (online, found) in [&all[0], &all[1], &all[4]].map(|(online, found)| (*online, found)) {
            let known = if online == 30.0 { Published::Above(4.5) } else { Published::Nothing };
            rows.push(row(
                &format!("{name}, {online} minutes online: direct neighbours known, of 5"),
                known,
                "S1, figure 3",
                found[0],
                "neighbours",
            ));
            rows.push(row(
                &format!("{name}, {online} minutes online: upkeep"),
                Published::Shape("falls as online time rises"),
                "S1, figure 5 (axis unknown)",
                found[1],
                "bytes/s a node",
            ));
        }
        let part = |n: usize| all.iter().map(|(x, e)| (*x, e[n])).collect();
        correct.push(Curve { name: name.clone(), points: part(0) });
        upkeep.push(Curve { name, points: part(1) });
    }
    Ok(Outcome {
        setup: HOW.into(),
        rows,
        notes: Vec::new(),
        plots: vec![
            Plot {
                name: "neighbours",
                title: "Of its five nearest nodes a node knows so many",
                axes: ("minutes that a node stays online, mean", "direct neighbours known, of 5"),
                log: false,
                floor: 4.0,
                ceiling: Some(5.0),
                published: Some((4.5, "above 4.5 at 30 minutes (S1, figure 3)")),
                curves: correct,
            },
            Plot {
                name: "upkeep",
                title: "What a node sends to stay in the mesh, against how long nodes stay",
                axes: ("minutes that a node stays online, mean", "bytes/s a node sends"),
                log: false,
                floor: 0.0,
                ceiling: None,
                published: None,
                curves: upkeep,
            },
        ],
    })
}
