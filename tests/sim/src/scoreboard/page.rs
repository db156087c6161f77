//! The page.

use std::fmt::Write;

use crate::experiments::{Experiment, Outcome, Row, Scale};
use crate::measure::Estimate;

/// Writes the page.
#[must_use]
pub fn page(scale: &Scale, results: &[(Experiment, Outcome)], absent: &[(&str, &str)]) -> String {
    let mut out = String::from(
        "# Scoreboard\n\n\
         Published results against ours, from the simulator in `tests/sim`: the virtual peer exactly as it is shipped, ordinary\n\
         peers with full messages, virtual time. `make scoreboard` writes this page; results follow from the seeds alone.\n\n",
    );
    let _ = writeln!(
        out,
        "Ours is the mean of {} seeds with its 95 % confidence interval (Student's t). Published numbers marked with a source\n\
         `workloads` are from that collection, some of them from memory: they are for orientation, never a claim of fidelity.\n\
         Bytes are counted before compression; downlinks are taken as wide enough; ordinary peers send no datagrams.\n",
        scale.seeds
    );
    for (experiment, outcome) in results {
        let _ = write!(
            out,
            "## {}\n\n{}\n\n`eep-sim scoreboard --only {} --seeds {}`\n\n",
            experiment.title, outcome.setup, experiment.name, scale.seeds
        );
        out.push_str("| what | published | source | ours |\n| --- | --- | --- | --- |\n");
        for row in &outcome.rows {
            let _ = writeln!(out, "| {} | {} | {} | {} |", row.what, row.published, row.source, ours(row));
        }
        for plot in &outcome.plots {
            let _ =
                write!(out, "\n![{} against {}](scoreboard/{}.svg)\n", plot.axes.1, plot.axes.0, plot.name);
        }
        out.push('\n');
    }
    out.push_str("## Absent\n\nNot measured, because the part does not exist yet.\n\n| what | waits for |\n| --- | --- |\n");
    for (what, part) in absent {
        let _ = writeln!(out, "| {what} | {part} |");
    }
    out
}

fn ours(row: &Row) -> String {
    let Estimate { mean, half_width, runs } = row.ours;
    if runs == 0 {
        return "nothing to measure".to_owned();
    }
    let interval =
        if half_width.is_finite() { format!(" ± {}", number(half_width, mean)) } else { String::new() };
    format!("{}{interval} {}", number(mean, mean), row.unit)
}

/// With as many places as a number of this size deserves.
fn number(value: f64, size: f64) -> String {
    match size.abs() {
        1_000.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiments::ALL;

    #[test]
    fn a_page_has_every_number_with_its_source_interval_and_command() {
        let row = Row {
            what: "relations".into(),
            published: "9.86",
            source: "S3",
            ours: Estimate { mean: 9.5, half_width: 0.25, runs: 5 },
            unit: "relations",
        };
        let outcome = Outcome { setup: "Some peers.".into(), rows: vec![row], plots: vec![] };
        let scale = Scale { seeds: 5, smaller: 1, threads: 1 };
        let relations = *ALL.iter().find(|e| e.name == "relations").unwrap();
        let text = page(&scale, &[(relations, outcome)], &[("lookups", "`topology`")]);
        assert!(text.contains("| relations | 9.86 | S3 | 9.50 ± 0.25 relations |"));
        assert!(text.contains("`eep-sim scoreboard --only relations --seeds 5`"));
        assert!(text.contains("| lookups | `topology` |"));
    }
}
