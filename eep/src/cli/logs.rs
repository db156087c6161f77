//! `eep logs`

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::cli::format::time;
use crate::cli::output::{BAD, DIM, Outcome, WARN, line, paint, printable};
use crate::cli::record::record;
use crate::cli::target::{Target, block_on, path_of};

/// Show what a service says, or record what it does.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  eep logs edge\n  eep logs edge -f\n  eep logs edge --tail 20 --json\n  eep logs edge --record edge.eeprec --for 30s"
)]
pub(super) struct Args {
    /// The service.
    name: String,
    /// Go on with each new line, until Ctrl-C or until the service is unloaded.
    #[arg(short, long)]
    follow: bool,
    /// How many of the last lines to begin with.
    #[arg(short = 'n', long, value_name = "LINES", default_value_t = 100)]
    tail: usize,
    /// Write no lines but all that the service sees and does, from now until Ctrl-C, into this new file, for
    /// `eep proxylet replay`. What its peers sent is in it: keep it as you would keep that.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["follow", "tail"])]
    record: Option<PathBuf>,
    /// Record for so long, such as 30s or 5m.
    #[arg(long = "for", value_name = "TIME", requires = "record", value_parser = humantime::parse_duration)]
    within: Option<Duration>,
    /// Begin the recording with a new instance of the same code, as in a swap: it can be replayed to the byte.
    #[arg(long, requires = "record")]
    renew: bool,
    #[command(flatten)]
    pub(super) target: Target,
}

pub(super) fn run(args: &Args) -> Outcome {
    if let Some(path) = &args.record {
        return record(&args.name, path, args.renew, args.within, &args.target);
    }
    let path = format!("{}/logs?tail={}&follow={}", path_of(&args.name)?, args.tail, args.follow);
    block_on(async {
        let mut lines = args.target.client()?.lines(reqwest::Method::GET, &path, None).await?;
        while let Some(entry) = lines.next::<Value>().await? {
            let text = if args.target.json { entry.to_string() } else { shown(&entry) };
            // Nobody reads any more: `eep logs -f edge | head`.
            if !line(&text) {
                break;
            }
        }
        Ok(())
    })
}

fn shown(entry: &Value) -> String {
    let level = entry["level"].as_str().unwrap_or_default();
    let level = match level {
        "error" => paint(BAD, "error"),
        "warn" => paint(WARN, "warn "),
        _ => format!("{level:<5}"),
    };
    let at = paint(DIM, &time(entry["at_s"].as_f64().unwrap_or_default()));
    let source = if entry["source"] == "node" { paint(DIM, "node: ") } else { String::new() };
    format!("{at} {level} {source}{}", printable(entry["text"].as_str().unwrap_or_default()))
}
