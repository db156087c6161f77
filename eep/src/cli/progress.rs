//! Long work, shown while it lasts.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use crate::cli::client::Lines;
use crate::cli::output::Failure;
use crate::node::progress::{Progress, Step};
use crate::problem::Problem;

/// Reads a streamed answer to its end and shows the steps on the way, where stderr is a terminal.
pub(super) async fn follow(mut lines: Lines, quiet: bool) -> Result<Value, Failure> {
    let bar = ProgressBar::no_length();
    if quiet || !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    while let Some(step) = lines.next::<Step<Value>>().await? {
        match step {
            Step::Progress(progress) => show(&bar, progress),
            Step::Done(answer) => {
                bar.finish_and_clear();
                return Ok(answer);
            }
            Step::Refused(problem) => {
                bar.finish_and_clear();
                return Err(problem.into());
            }
        }
    }
    bar.finish_and_clear();
    Err(Problem::new("broken-off", 502, "the node's answer broke off")
        .fix("see with `eep list` what was done")
        .into())
}

fn show(bar: &ProgressBar, progress: Progress) {
    let style =
        |template| ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    match progress {
        Progress::Fetching { bytes, total: Some(total) } => {
            bar.set_style(style("{spinner} fetching {bar:30} {bytes}/{total_bytes} {bytes_per_sec}"));
            bar.set_length(total);
            bar.set_position(bytes);
        }
        Progress::Fetching { bytes, total: None } => {
            bar.set_style(style("{spinner} fetching {bytes}"));
            bar.set_position(bytes);
        }
        Progress::Preparing => bar.set_style(style("{spinner} verifying and compiling")),
        Progress::Starting => bar.set_style(style("{spinner} starting")),
        Progress::Proving { window_ms } => {
            bar.set_style(style("{spinner} {msg}"));
            bar.set_message(format!("the new version serves, on probation for {window_ms} ms"));
        }
    }
}
