//! `eep policy tap`

use serde_json::{Value, json};

use crate::cli::format::time;
use crate::cli::output::{BAD, DIM, Outcome, WARN, line, paint, printable};
use crate::cli::target::{Target, block_on, path_of};

/// Show decisions as they are made: refusals and what rules in shadow would have decided first, and some of the others.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  eep policy tap edge
  eep policy tap edge -f
  eep policy tap edge -f --recording > traffic.jsonl    for `eep policy replay`")]
pub(super) struct Args {
    /// The service.
    service: String,
    /// Go on with each new decision, until Ctrl-C.
    #[arg(short, long)]
    follow: bool,
    /// How many of the last decisions to begin with.
    #[arg(short = 'n', long, value_name = "DECISIONS", default_value_t = 100)]
    tail: usize,
    /// Print a recording: what was decided about, one event a line.
    #[arg(long)]
    recording: bool,
    #[command(flatten)]
    pub(super) target: Target,
}

pub(super) fn run(args: &Args) -> Outcome {
    let service = path_of(&args.service)?;
    let path = format!("{service}/policy/decisions?tail={}&follow={}", args.tail, args.follow);
    block_on(async {
        let mut lines = args.target.client()?.lines(reqwest::Method::GET, &path, None).await?;
        while let Some(record) = lines.next::<Value>().await? {
            let text = if args.recording {
                json!({"id": record["id"], "chain": record["chain"], "event": record["event"]}).to_string()
            } else if args.target.json {
                record.to_string()
            } else {
                shown(&record)
            };
            // Nobody reads any more: `eep policy tap -f edge | head`.
            if !line(&text) {
                break;
            }
        }
        Ok(())
    })
}

fn shown(record: &Value) -> String {
    let text = |value: &Value| printable(value.as_str().unwrap_or_default());
    let action = match &record["action"] {
        Value::Object(map) => map.keys().next().cloned().unwrap_or_default(),
        other => text(other),
    };
    let action = match action.as_str() {
        "deny" | "drop" if record["enforced"] == true => paint(BAD, &action),
        _ => action,
    };
    let event = &record["event"];
    let mut about = format!("{} {}", text(&event["direction"]), text(&event["message"]));
    for part in [&event["peer"]["address"], &event["peer"]["user-agent"], &event["content"]["text"]] {
        if part.is_string() {
            about += &format!(" {}", text(part));
        }
    }
    let mut out = format!(
        "{} {} {} {action} by {} of {}: {about}",
        paint(DIM, &time(record["at_s"].as_f64().unwrap_or_default())),
        text(&record["id"]),
        text(&record["chain"]),
        text(&record["rule"]),
        record["generation"],
    );
    if let Some(rule) = record["shadow"]["rule"].as_str() {
        out += &format!(" {}", paint(WARN, &format!("(shadow: {})", printable(rule))));
    }
    if let Some(why) = record["failed"]["why"].as_str() {
        out += &format!(" {}", paint(WARN, &format!("(not evaluated: {})", printable(why))));
    }
    out
}
