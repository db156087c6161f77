//! The two-state law against what was measured.

use super::{Curve, Outcome, Plot, Published, Row, Scale};
use crate::engine::Dice;
use crate::workload::Life;

/// Connections that were measured.
const CONNECTIONS: usize = 300;

pub(super) fn run(scale: &Scale) -> Result<Outcome, String> {
    // Sampling costs nothing: more seeds than elsewhere.
    let scale = Scale { seeds: scale.seeds * 10, ..*scale };
    let lives = |seed: u64| -> Vec<f64> {
        let mut dice = Dice::new(seed, "life");
        (0..CONNECTIONS).map(|_| Life::TwoState.draw(&mut dice).seconds / 60.0).collect()
    };
    let mean_of_at_least = |lives: &[f64], least: f64| {
        let kept: Vec<f64> = lives.iter().copied().filter(|l| *l >= least).collect();
        kept.iter().sum::<f64>() / kept.len() as f64
    };
    let means = scale.estimates(|seed| {
        let lives = lives(seed);
        [0.0, 1.0, 5.0].iter().map(|least| mean_of_at_least(&lives, *least)).collect()
    });
    let minutes: Vec<f64> = vec![0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0, 240.0, 480.0];
    let shares = scale.estimates(|seed| {
        let lives = lives(seed);
        let share = |m: &f64| lives.iter().filter(|l| *l >= m).count() as f64 / lives.len() as f64 * 100.0;
        minutes.iter().map(share).collect()
    });
    let row = |what: &str, published, ours| Row {
        what: what.to_owned(),
        published,
        source: "connection measurement, 300 connections (workloads)",
        ours,
        unit: "min",
    };
    Ok(Outcome {
        setup: format!(
            "{CONNECTIONS} relations a run, drawn from the two-state law that all experiments with churn use."
        ),
        rows: vec![
            row("mean life of all relations", Published::Fitted(24.0), means[0]),
            row("mean life of those that lasted a minute", Published::Fitted(88.0), means[1]),
            row("mean life of those that lasted five minutes", Published::Fitted(133.0), means[2]),
        ],
        notes: Vec::new(),
        plots: vec![Plot {
            name: "life",
            title: "How long relations last",
            axes: ("minutes since it began", "relations still there, %"),
            log: true,
            floor: 0.0,
            ceiling: Some(100.0),
            published: None,
            curves: vec![Curve {
                name: "two-state law".into(),
                points: minutes.into_iter().zip(shares).collect(),
            }],
        }],
    })
}
