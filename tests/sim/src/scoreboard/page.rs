//! The page.

use std::fmt::Write;

use crate::experiments::{Experiment, Outcome, Row, Scale};
use crate::measure::Estimate;

/// From what and where a page was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// Commit of the code.
    pub commit: String,
    /// Class of machine.
    pub machine: String,
    /// Wall time of all experiments.
    pub seconds: u64,
}

impl std::fmt::Display for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Made by version {}, commit {}, on {} in {} minutes.",
            env!("CARGO_PKG_VERSION"),
            self.commit,
            self.machine,
            self.seconds.div_ceil(60)
        )
    }
}

/// Writes the page.
#[must_use]
pub fn page(
    scale: &Scale,
    made: &Made,
    results: &[(Experiment, Outcome)],
    absent: &[(&str, &str)],
) -> String {
    let mut out = String::from(
        "# Scoreboard\n\n\
         Published results against ours, from the simulator in `tests/sim`: the virtual peer and the mesh exactly as they are\n\
         shipped, ordinary peers with full messages, virtual time. `make scoreboard` writes this page. Results follow from the\n\
         seeds alone (1, 2, 3 and so on), whatever the machine; `eep-sim` is `cargo run --release -p eep-sim --`.\n\n\
         One large network instead: `eep-sim run --peers 100000 --seconds 3600`, an hour of 100,000 peers with churn and searches,\n\
         on all cores (`--threads 2` on two, with the same digest). It takes 20 minutes of processor time, and 3.5 GiB.\n\n",
    );
    let _ = writeln!(
        out,
        "S1 to S4 are the founding papers: distributed network agents, management of instant messaging, dynamic operation of\n\
         overlays, active load distribution. A bound *holds* or *does not hold* where the whole interval says so. *Fitted* means\n\
         that the workload was chosen so that the number comes out, which shows that it can, and predicts nothing.\n"
    );
    let _ = writeln!(
        out,
        "Ours is the mean of {} seeds with its 95 % confidence interval (Student's t). Published numbers marked with a source\n\
         `workloads` are from that collection, some of them from memory: they are for orientation, never a claim of fidelity.\n\
         Bytes are counted before compression; downlinks are taken as wide enough; ordinary peers send no datagrams.\n",
        scale.seeds
    );
    let _ = writeln!(out, "{made}\n");
    for (experiment, outcome) in results {
        let _ = write!(
            out,
            "## {}\n\n{}\n\n`{}`\n\n",
            experiment.title,
            outcome.setup,
            command(experiment, scale)
        );
        out.push_str("| what | published | source | ours | compared |\n| --- | --- | --- | --- | --- |\n");
        for row in &outcome.rows {
            let compared = row.published.compared(row.ours);
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {compared} |",
                row.what,
                row.published,
                row.source,
                ours(row)
            );
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

fn command(experiment: &Experiment, scale: &Scale) -> String {
    let smaller = if scale.smaller > 1 { format!(" --smaller {}", scale.smaller) } else { String::new() };
    format!("eep-sim scoreboard --only {} --seeds {}{smaller}", experiment.name, scale.seeds)
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
    use crate::experiments::{ALL, Published};

    #[test]
    fn a_page_has_every_number_with_its_source_interval_and_command() {
        let row = Row {
            what: "relations".into(),
            published: Published::Is(9.86),
            source: "S3",
            ours: Estimate { mean: 9.5, half_width: 0.25, runs: 5 },
            unit: "relations",
        };
        let outcome = Outcome { setup: "Some peers.".into(), rows: vec![row], plots: vec![] };
        let scale = Scale { seeds: 5, smaller: 1, threads: 1, progress: || () };
        let made = Made { commit: "abc".into(), machine: "2 cores".into(), seconds: 61 };
        let relations = *ALL.iter().find(|e| e.name == "relations").unwrap();
        let text = page(&scale, &made, &[(relations, outcome)], &[("lookups", "`topology`")]);
        assert!(text.contains("| relations | 9.86 | S3 | 9.50 ± 0.25 relations | 4 % less |"));
        assert!(text.contains("`eep-sim scoreboard --only relations --seeds 5`"));
        assert!(text.contains("commit abc"));
        assert!(text.contains("| lookups | `topology` |"));
    }
}
