//! The page.

use std::fmt::Write;

use crate::experiments::{Experiment, Outcome, Published, Row, Scale};
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
         shipped, ordinary peers with full messages, virtual time. `make scoreboard` writes this page.\n\n",
    );
    in_short(&mut out, results);
    out.push_str(
        "## How to read it\n\n\
         S1 to S4 are the founding papers: distributed network agents, management of instant messaging, dynamic operation of\n\
         overlays, active load distribution. A bound *holds* or *does not hold* where the whole interval says so. *Fitted* means\n\
         that the workload was chosen so that the number comes out, which shows that it can, and predicts nothing.\n\n",
    );
    let _ = writeln!(
        out,
        "Ours is the mean of {} seeds with its 95 % confidence interval (Student's t), which plots show as a band. Published\n\
         numbers marked with a source `workloads` are from that collection, some of them from memory: they are for orientation,\n\
         never a claim of fidelity. Bytes are counted before compression; downlinks are taken as wide enough; ordinary peers\n\
         send no datagrams.\n\n\
         Results follow from the seeds alone (1, 2, 3 and so on), whatever the machine; `eep-sim` is\n\
         `cargo run --release -p eep-sim --`. One large network instead: `eep-sim run --peers 100000 --seconds 3600`, an hour of\n\
         100,000 peers with churn and searches, on all cores (`--threads 2` on two, with the same digest).\n",
        scale.seeds
    );
    let _ = writeln!(out, "{made}\n");
    for (experiment, outcome) in results {
        section(&mut out, experiment, outcome, scale);
    }
    out.push_str("## Absent\n\nNot measured, because the part does not exist yet.\n\n| what | waits for |\n| --- | --- |\n");
    for (what, part) in absent {
        let _ = writeln!(out, "| {what} | {part} |");
    }
    out
}

/// Every row that has a published number, on one screen.
fn in_short(out: &mut String, results: &[(Experiment, Outcome)]) {
    out.push_str("## In short\n\n| what | published | ours | compared |\n| --- | --- | --- | --- |\n");
    for (experiment, outcome) in results {
        for row in outcome.rows.iter().filter(|row| row.published.is_number()) {
            let _ = writeln!(
                out,
                "| [{}](#{}) | {} | {} | {} |",
                row.what,
                anchor(experiment.title),
                row.published,
                ours(row),
                row.published.compared(row.ours)
            );
        }
    }
    out.push('\n');
}

/// How a heading is linked to.
fn anchor(title: &str) -> String {
    let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

fn section(out: &mut String, experiment: &Experiment, outcome: &Outcome, scale: &Scale) {
    let command = command(experiment, scale);
    let _ = write!(out, "## {}\n\n{}\n\n`{command}`\n\n", experiment.title, outcome.setup);
    let (published, own): (Vec<&Row>, Vec<&Row>) =
        outcome.rows.iter().partition(|row| row.published != Published::Nothing);
    if !published.is_empty() {
        out.push_str("| what | published | source | ours | compared |\n| --- | --- | --- | --- | --- |\n");
        for row in published {
            let (ours, compared) = (ours(row), row.published.compared(row.ours));
            let _ =
                writeln!(out, "| {} | {} | {} | {ours} | {compared} |", row.what, row.published, row.source);
        }
        out.push('\n');
    }
    match matrix(&own) {
        Some(table) => out.push_str(&table),
        None if own.is_empty() => {}
        None => {
            out.push_str("| what | ours |\n| --- | --- |\n");
            for row in own {
                let _ = writeln!(out, "| {} | {} |", row.what, ours(row));
            }
            out.push('\n');
        }
    }
    for note in &outcome.notes {
        let _ = write!(out, "{note}\n\n");
    }
    for plot in &outcome.plots {
        let [y, x] = [plot.axes.1, plot.axes.0];
        let _ = write!(out, "![{}: {y} against {x}](scoreboard/{}.svg)\n\n", plot.title, plot.name);
    }
}

/// Rows called "case: figure" as a table of cases and figures, where each case has the same figures.
fn matrix(rows: &[&Row]) -> Option<String> {
    let mut cases: Vec<(&str, Vec<&Row>)> = Vec::new();
    let mut figures: Vec<(&str, &str)> = Vec::new();
    for row in rows {
        let (case, figure) = row.what.split_once(": ")?;
        match cases.last_mut().filter(|(last, _)| *last == case) {
            Some((_, rows)) => rows.push(row),
            None => cases.push((case, vec![row])),
        }
        if cases.len() == 1 {
            figures.push((figure, row.unit));
        }
    }
    let same = |(case, rows): &(&str, Vec<&Row>)| {
        let named = rows.iter().map(|row| (row.what[case.len() + 2..].trim_start(), row.unit));
        named.eq(figures.iter().copied())
    };
    if cases.len() < 2 || figures.len() < 2 || !cases.iter().all(same) {
        return None;
    }
    let named = |(figure, unit): &(&str, &str)| match figure.starts_with(unit) {
        true => (*figure).to_owned(),
        false => format!("{figure}, {unit}"),
    };
    let head: Vec<String> = figures.iter().map(named).collect();
    let mut out = format!("| | {} |\n|{}\n", head.join(" | "), " --- |".repeat(figures.len() + 1));
    for (case, rows) in cases {
        let numbers: Vec<String> = rows.iter().map(|row| interval(row.ours)).collect();
        let _ = writeln!(out, "| {case} | {} |", numbers.join(" | "));
    }
    out.push('\n');
    Some(out)
}

fn command(experiment: &Experiment, scale: &Scale) -> String {
    let smaller = if scale.smaller > 1 { format!(" --smaller {}", scale.smaller) } else { String::new() };
    format!("eep-sim scoreboard --only {} --seeds {}{smaller}", experiment.name, scale.seeds)
}

fn ours(row: &Row) -> String {
    match row.ours.runs {
        0 => "nothing to measure".to_owned(),
        _ => format!("{} {}", interval(row.ours), row.unit).trim_end().to_owned(),
    }
}

/// A mean and how far to trust it.
fn interval(Estimate { mean, half_width, runs }: Estimate) -> String {
    if runs == 0 {
        return "-".to_owned();
    }
    let width =
        if half_width.is_finite() { format!(" ± {}", number(half_width, mean)) } else { String::new() };
    format!("{}{width}", number(mean, mean))
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
            published: Published::Is(9.86),
            source: "S3",
            ours: Estimate { mean: 9.5, half_width: 0.25, runs: 5 },
            unit: "relations",
        };
        let outcome = Outcome {
            setup: "Some peers.".into(),
            rows: vec![row],
            notes: vec!["A note.".into()],
            plots: vec![],
        };
        let scale = Scale { seeds: 5, smaller: 1, threads: 1, progress: || () };
        let made = Made { commit: "abc".into(), machine: "2 cores".into(), seconds: 61 };
        let relations = *ALL.iter().find(|e| e.name == "relations").unwrap();
        let text = page(&scale, &made, &[(relations, outcome)], &[("lookups", "`topology`")]);
        assert!(text.contains("| relations | 9.86 | S3 | 9.50 ± 0.25 relations | 4 % less |"));
        assert!(text.contains("`eep-sim scoreboard --only relations --seeds 5`"));
        let link = "(#relations-over-time-with-and-without-virtual-peers) | 9.86 | 9.50 ± 0.25 relations | 4 % less |";
        assert!(text.contains(link) && text.contains("\nA note.\n"));
        assert!(text.contains("commit abc"));
        assert!(text.contains("| lookups | `topology` |"));
    }

    #[test]
    fn cases_with_the_same_figures_are_a_table_of_both() {
        let row = |what: &str, mean| Row {
            what: what.into(),
            published: Published::Nothing,
            source: "-",
            ours: Estimate { mean, half_width: f64::NAN, runs: 1 },
            unit: "%",
        };
        let rows =
            [row("flooding: answered", 80.0), row("flooding: lost", 1.0), row("dynamic: answered", 81.0)];
        let last = row("dynamic: lost", 2.0);
        let all: Vec<&Row> = rows.iter().chain([&last]).collect();
        let table = matrix(&all).unwrap();
        assert!(
            table.starts_with(
                "| | answered, % | lost, % |\n| --- | --- | --- |\n| flooding | 80.0 | 1.00 |\n"
            )
        );
        assert_eq!(matrix(&all[..3]), None, "one has a figure less");
    }
}
