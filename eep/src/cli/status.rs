//! `eep status`

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::cli::format::{bytes, span, time};
use crate::cli::list::Placed;
use crate::cli::output::{BOLD, DIM, Failure, Outcome, WARN, json, paint, print, table};
use crate::cli::policy::trial;
use crate::cli::service::{Service, read};
use crate::cli::target::{Target, block_on, path_of};
use crate::policy::unenforced::sentence;

/// Show all that is known of a service, of a web, or of the node.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  eep status            the node\n  eep status edge       one service\n  eep status pair       a web: its services, where they run and how\n  eep status edge --json"
)]
pub(super) struct Args {
    /// The service or the web, also one that is placed on other nodes; the node itself where none is named.
    name: Option<String>,
    #[command(flatten)]
    pub(super) target: Target,
}

pub(super) fn run(args: &Args) -> Outcome {
    let path = match &args.name {
        Some(name) => path_of(name)?,
        None => "/v1/node".to_owned(),
    };
    let answer = block_on(async {
        let client = args.target.client()?;
        match (client.get(&path).await, &args.name) {
            // One that does not run here may be placed elsewhere, or be a web.
            (Err(no), Some(name)) if no.is("no-such-service") => {
                client.get(&format!("/v1/placements/{name}")).await.map_err(|_| no)
            }
            (answer, _) => answer,
        }
    })?;
    if args.target.json {
        json(&answer);
    } else if answer["services"].is_array() {
        print(&of_placed(&read(&answer)?));
    } else if args.name.is_some() {
        print(&of_service(&read(&answer)?));
    } else {
        print(&of_node(&read(&answer)?));
    }
    Ok(())
}

/// What became of a service, or of a web.
pub(super) fn introduce(answer: &Value) -> Result<String, Failure> {
    match answer["services"].is_array() {
        true => Ok(of_placed(&read(answer)?)),
        false => Ok(read::<Service>(answer)?.introduce()),
    }
}

/// What was placed: one service, or a web.
#[derive(Deserialize)]
struct PlacedStatus {
    name: String,
    web: bool,
    services: Vec<PlacedService>,
}

#[derive(Deserialize)]
struct PlacedService {
    #[serde(flatten)]
    placed: Placed,
    service: Option<Service>,
    unknown: Option<String>,
}

impl PlacedService {
    fn row(&self) -> Vec<String> {
        let or = |of: &dyn Fn(&Service) -> String| self.service.as_ref().map_or_else(|| "-".to_owned(), of);
        vec![
            self.placed.name.clone(),
            self.service.as_ref().map_or_else(|| "unknown".to_owned(), |s| s.state.clone()),
            self.placed.called(),
            or(&Service::listeners),
            or(&|s| s.connections.to_string()),
            or(&|s| s.restarts.to_string()),
            or(&|s| if s.state == "running" { span(s.uptime_s) } else { "-".to_owned() }),
            self.placed.moves.to_string(),
        ]
    }

    fn is_running(&self) -> bool {
        self.service.as_ref().is_some_and(|s| s.state == "running")
    }

    /// What is not well, where something is not.
    fn trouble(&self) -> Option<&str> {
        self.unknown.as_deref().or_else(|| self.service.as_ref()?.reason.as_deref())
    }
}

fn of_placed(status: &PlacedStatus) -> String {
    let running = status.services.iter().filter(|s| s.is_running()).count();
    let what = if status.web { "is a web" } else { "is placed by this node" };
    let mut out = format!("{} {what}: ", paint(BOLD, &status.name));
    out += &format!("{} of {} running\n", running, status.services.len());
    let head = ["SERVICE", "STATE", "RUNS ON", "LISTENING", "CONNECTIONS", "RESTARTS", "UP", "MOVED"];
    let rows: Vec<_> = status.services.iter().map(PlacedService::row).collect();
    out += &table(&head, &rows);
    for (service, trouble) in status.services.iter().filter_map(|s| Some((s, s.trouble()?))) {
        out += &format!("{}\n", paint(WARN, &format!("{}: {trouble}", service.placed.name)));
    }
    out
}

fn row(out: &mut String, key: &str, value: &str) {
    *out += &format!("  {}{value}\n", paint(DIM, &format!("{key:<13}")));
}

fn of_node(node: &Map<String, Value>) -> String {
    let text = |key: &str| node.get(key).and_then(Value::as_str).unwrap_or("-").to_owned();
    let number = |key: &str| node.get(key).and_then(Value::as_f64).unwrap_or_default();
    let mut out = format!("{} eep {}\n", paint(BOLD, &text("name")), text("version"));
    row(&mut out, "API", &text("api"));
    row(&mut out, "data", &text("data"));
    row(&mut out, "process", &format!("{}", number("pid")));
    row(&mut out, "up", &span(number("uptime_s")));
    row(
        &mut out,
        "services",
        &format!("{} wanted, {} running", number("services"), number("services_running")),
    );
    if let Some(table) = node.get("systems").filter(|table| table.is_object()) {
        let text = |key: &str| table.get(key).and_then(Value::as_str);
        let prefixes = table.get("prefixes").and_then(Value::as_u64).unwrap_or_default();
        row(&mut out, "systems", &format!("{prefixes} prefixes from {}", text("file").unwrap_or("-")));
        if let Some(why) = text("stale") {
            row(&mut out, "", &paint(WARN, &format!("as it was: the file cannot be used now: {why}")));
        }
    }
    row(&mut out, "memory", &bytes(number("memory_bytes") as u64));
    row(&mut out, "descriptors", &format!("{} of {}", number("descriptors"), number("descriptors_max")));
    out
}

fn of_service(s: &Service) -> String {
    let mut out = format!("{} is {}", paint(BOLD, &s.name), s.painted_state());
    if s.state == "running" {
        out += &format!(", up {}", span(s.uptime_s));
    }
    out.push('\n');
    let rows = &mut out;
    if let Some(reason) = &s.reason {
        row(rows, "because", reason);
    }
    row(rows, "proxylet", &format!("{} {}", s.proxylet, s.version));
    if !s.about.is_empty() {
        row(rows, "", &s.about);
    }
    row(rows, "from", &s.url);
    row(rows, "sha256", &format!("{}{}", s.digest, if s.pinned { " (pinned)" } else { "" }));
    for (i, signer) in s.signers.iter().enumerate() {
        row(
            rows,
            if i == 0 { "signed by" } else { "" },
            format!("{} {}", signer.key, signer.label).trim_end(),
        );
    }
    row(rows, "granted", &if s.grants.is_empty() { "nothing".to_owned() } else { s.grants.join(", ") });
    row(rows, "limits", &pairs(&s.limits));
    if s.policy.is_object() {
        policy(rows, &s.policy);
    }
    row(rows, "on trap", &on_trap(&s.on_trap));
    if s.wanted == "stopped" {
        row(rows, "wanted", "stopped, also after the node starts again");
    }
    row(rows, "config", &pairs(&s.config));
    if !s.settings.is_empty() {
        row(rows, "  set here", &pairs(&s.settings));
    }
    row(rows, "listening", &s.listeners());
    row(
        rows,
        "connections",
        &format!("{} now, {} refused at the limit", s.connections, s.connections_refused),
    );
    row(rows, "memory", &bytes(s.memory_bytes));
    row(rows, "processor", &format!("{:.2} s", s.cpu_s));
    row(rows, "traffic", &format!("{} received, {} sent", bytes(s.received_bytes), bytes(s.sent_bytes)));
    row(
        rows,
        "batches",
        &format!(
            "{} of {} events; half within {:.0} us, 99 of 100 within {:.0} us",
            s.batches, s.events, s.batch_us_p50, s.batch_us_p99
        ),
    );
    if let Some(recording) = &s.recording {
        row(rows, "recorded", &format!("{} into {}", bytes(recording.bytes), recording.file));
    }
    row(rows, "restarts", &s.restarts.to_string());
    if let Some(swap) = &s.last_swap {
        row(rows, "last swap", &format!("{} {}", time(swap.at_s), swap.tell()));
    }
    if let Some(trap) = &s.last_trap {
        row(rows, "last trap", &format!("{} in `{}`: {}", time(trap.at_s), trap.during, trap.message));
        for frame in &trap.backtrace {
            row(rows, "", &format!("at {frame}"));
        }
        if let Some(file) = &trap.recording {
            row(rows, "", &format!("again with: eep proxylet replay {file}"));
        }
    }
    if let Some(hint) = &s.hint {
        row(rows, "try", hint);
    }
    out
}

/// `restart`, or `fail-open, to 192.0.2.1:6346`.
fn on_trap(policy: &Value) -> String {
    match (policy, &policy["fail-open"]["to"]) {
        (_, Value::String(to)) => format!("fail-open, to {to}"),
        (Value::String(policy), _) => policy.clone(),
        (other, _) => other.to_string(),
    }
}

/// Which policy is in force, and what an operator must know of it.
fn policy(rows: &mut String, now: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let shadow = if now["shadow"] == true { ", in shadow: it only counts" } else { "" };
    row(rows, "policy", &format!("{}, generation {}{shadow}", text(&now["policy"]), now["generation"]));
    row(rows, "", &format!("from {}", text(&now["file"])));
    if let Some(trial) = trial(now) {
        row(rows, "", &paint(WARN, &trial));
    }
    if now["stale"].is_object() {
        let what = format!("its sets cannot be reloaded: {}", text(&now["stale"]["what"]));
        row(rows, "", &paint(WARN, &what));
    }
    for alarm in now["alarms"].as_array().into_iter().flatten().filter(|a| a["raised_since_s"].is_number()) {
        let words =
            format!("alarm {} ({}) {}", text(&alarm["id"]), text(&alarm["severity"]), text(&alarm["about"]));
        row(rows, "", &paint(WARN, words.trim_end().trim_end_matches('-')));
    }
    for (budget, share) in now["budgets"].as_object().into_iter().flatten() {
        row(rows, "", &format!("budget {budget}: {:.1} % used", share.as_f64().unwrap_or_default() * 100.0));
    }
    let missing = now["not_enforced"].as_array().map(Vec::as_slice).unwrap_or_default();
    if let Some(missing) = sentence(missing.iter().filter_map(Value::as_str)) {
        row(rows, "", &paint(WARN, &missing));
    }
    if now["file_differs"] == true {
        row(rows, "", "the file has changed since; `eep policy apply` puts it in force");
    }
}

/// `key=value` pairs in a line; a value that is a text stands without quotes.
fn pairs(map: &Map<String, Value>) -> String {
    let pair = |(key, value): (&String, &Value)| match value {
        Value::String(text) => format!("{key}={text}"),
        other => format!("{key}={other}"),
    };
    map.iter().map(pair).collect::<Vec<_>>().join(" ")
}
