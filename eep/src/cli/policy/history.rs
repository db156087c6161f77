//! `eep policy history`

use std::time::SystemTime;

use serde_json::Value;

use crate::cli::format::{span, time};
use crate::cli::output::{BOLD, DIM, Outcome, WARN, json, note, paint, print, printable, table};
use crate::cli::target::{Target, block_on, path_of};
use crate::policy::unenforced::sentence;

/// Show the generations of a service's policy, and which one is in force.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  eep policy history edge\n  eep policy history edge --json")]
pub(super) struct Args {
    /// The service.
    service: String,
    #[command(flatten)]
    pub(super) target: Target,
}

pub(super) fn run(args: &Args) -> Outcome {
    let path = format!("{}/policy", path_of(&args.service)?);
    let answer = block_on(async { args.target.client()?.get(&path).await })?;
    if args.target.json {
        json(&answer);
        return Ok(());
    }
    print(&in_force(&args.service, &answer));
    warn_of_sections(&answer);
    let history = answer["history"].as_array().map(Vec::as_slice).unwrap_or_default();
    if history.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = history.iter().rev().map(|g| row(g, &answer)).collect();
    print(&format!("\n{}", table(&["GENERATION", "", "POLICY", "READ", "BY", "FILE"], &rows)));
    Ok(())
}

fn row(generation: &Value, now: &Value) -> Vec<String> {
    let text = |key: &str| printable(generation[key].as_str().unwrap_or("-"));
    let number = &generation["number"];
    let mark = if *number == now["generation"] { "in force" } else { "" };
    let by = if generation["origin"] == "reloaded" { "changed sets" } else { "apply" };
    let at = time(generation["at_s"].as_f64().unwrap_or_default());
    vec![number.to_string(), mark.to_owned(), text("policy"), at, by.to_owned(), text("file")]
}

/// What is in force, in words.
pub(super) fn in_force(service: &str, now: &Value) -> String {
    let text = |key: &str| printable(now[key].as_str().unwrap_or("-"));
    if now["generation"] == 0 {
        return format!("{} has no policy\n", paint(BOLD, service));
    }
    let shadow = if now["shadow"] == true { ", in shadow: it only counts" } else { "" };
    let mut out = format!(
        "{} decides by {}, generation {}{shadow}\n",
        paint(BOLD, service),
        text("policy"),
        now["generation"]
    );
    let mut row =
        |key: &str, value: &str| out += &format!("  {}{value}\n", paint(DIM, &format!("{key:<11}")));
    row("file", &text("file"));
    if let Some(trial) = trial(now) {
        row("trial", &paint(WARN, &trial));
    }
    if now["file_differs"] == true {
        row("", &format!("the file has changed since: eep policy apply {service}"));
    }
    if let Some(stale) = now["stale"]["what"].as_str() {
        let since = time(now["stale"]["since_s"].as_f64().unwrap_or_default());
        row("stale", &paint(WARN, &format!("since {since} sets cannot be reloaded: {}", printable(stale))));
    }
    out
}

/// What happens unless it is confirmed.
pub(in crate::cli) fn trial(now: &Value) -> Option<String> {
    let until_s = now["trial"]["until_s"].as_f64()?;
    let here = SystemTime::UNIX_EPOCH.elapsed().map_or(0.0, |d| d.as_secs_f64());
    let then = match now["trial"]["back_to"].as_u64() {
        None | Some(0) => "it ends".to_owned(),
        Some(n) => format!("generation {n} comes back"),
    };
    Some(format!("{then} in {}, unless this one is confirmed", span((until_s - here).max(0.0))))
}

/// Says what nothing carries out.
pub(super) fn warn_of_sections(now: &Value) {
    let names = now["not_enforced"].as_array().map(Vec::as_slice).unwrap_or_default();
    if let Some(words) = sentence(names.iter().filter_map(Value::as_str)) {
        note(&format!("{} {}", paint(WARN, "warning:"), printable(&words)));
    }
}
