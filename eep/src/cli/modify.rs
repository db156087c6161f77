//! `eep modify`

use serde_json::{Map, Value, json};

use crate::cli::client::Client;
use crate::cli::load::one_line;
use crate::cli::output::{Failure, Outcome, json, print};
use crate::cli::progress::follow;
use crate::cli::service::{Service, read};
use crate::cli::target::{Target, block_on, path_of};
use crate::config::Source;
use crate::config::settings::parse_set;
use crate::host::grant::Grant;
use crate::problem::Problem;
use crate::proxylet::digest::Digest;
use crate::proxylet::service::OnTrap;
use crate::record::service::Record;

/// Give a service another configuration, other code or other grants, also one that was placed elsewhere from here. Where
/// that fails, it goes on as it was.
///
/// Other code takes over all that the service holds: no connection ends. It is on probation for a while, and is taken back
/// where it traps, or where the service's health probe fails.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  eep modify edge --set leaves=2000 --set ultrapeers=null
  eep modify edge --url https://repo.example/gnutella-peer-0.2.wasm --sha256 HEX
  eep modify edge --grant net.listen:6346 --grant net.connect
  eep modify edge --limit memory=512MiB --limit cpu=0.5 --on-trap fail-closed
  eep modify edge --record on")]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true))]
pub(super) struct Args {
    /// The service.
    name: String,
    /// Other code: an https://, http:// or oci:// address, eep:SHA256 for code in the mesh, or a file.
    #[arg(long, value_name = "URL", group = "change", value_parser = one_line::<Source>)]
    url: Option<Source>,
    /// The SHA-256 that the code must have.
    #[arg(long, value_name = "HEX", group = "change")]
    sha256: Option<Digest>,
    /// Set a key of the proxylet's configuration; null takes it back to the proxylet's default.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_set, group = "change")]
    sets: Vec<(String, Value)>,
    /// What it may reach, in place of what it may now. May be given more than once.
    #[arg(long = "grant", value_name = "GRANT", group = "change")]
    grants: Vec<Grant>,
    /// How much it may use: one of its limits, as `eep status` shows them; the others stay. May be given more than once.
    #[arg(long = "limit", value_name = "KEY=VALUE", value_parser = parse_set, group = "change")]
    limits: Vec<(String, Value)>,
    /// What happens when it traps: restart, stop, fail-closed, or fail-open=ADDR:PORT.
    #[arg(long, value_name = "WHAT", value_parser = on_trap, group = "change")]
    on_trap: Option<OnTrap>,
    /// Whether all that it sees and does is recorded from now on: on, off, or the most bytes of all its recordings.
    #[arg(long, value_name = "on|off|SIZE", value_parser = record, group = "change")]
    record: Option<Record>,
    /// For how many milliseconds a new version is on probation, from now on [default: 5000, or what the manifest says].
    #[arg(long, value_name = "MS", group = "change")]
    health_window_ms: Option<u32>,
    #[command(flatten)]
    pub(super) target: Target,
}

pub(super) fn run(args: &Args) -> Outcome {
    let mut change = Map::new();
    if let Some(url) = &args.url {
        let here = std::env::current_dir()
            .map_err(|e| Problem::new("system", 500, format!("the current directory cannot be read: {e}")))?;
        change.insert("url".into(), json!(url.clone().under(&here)));
    }
    if let Some(digest) = &args.sha256 {
        change.insert("sha256".into(), json!(digest));
    }
    if !args.grants.is_empty() {
        change.insert("grant".into(), json!(args.grants));
    }
    if let Some(on_trap) = &args.on_trap {
        change.insert("on-trap".into(), json!(on_trap));
    }
    if let Some(record) = &args.record {
        change.insert("record".into(), json!(record));
    }
    if let Some(window_ms) = args.health_window_ms {
        change.insert("health-window-ms".into(), json!(window_ms));
    }
    if !args.sets.is_empty() {
        let sets: Map<String, Value> = args.sets.iter().cloned().collect();
        change.insert("config".into(), Value::Object(sets));
    }
    let path = path_of(&args.name)?;
    let answer = block_on(async {
        let client = args.target.client()?;
        if !args.limits.is_empty() {
            let mut limits = match client.get(&path).await {
                Err(no) if no.is("no-such-service") => limits_of_placed(&client, &args.name, no).await?,
                answer => answer?["limits"].take(),
            };
            if let Some(limits) = limits.as_object_mut() {
                limits.extend(args.limits.iter().cloned());
            }
            change.insert("limits".into(), limits);
        }
        let body = Value::Object(change);
        let lines = client.lines(reqwest::Method::PATCH, &path, Some(&body)).await?;
        follow(lines, args.target.json).await
    })?;
    if args.target.json {
        json(&answer);
    } else {
        print(&read::<Service>(&answer)?.introduce());
    }
    Ok(())
}

/// How much a service may use now that was placed elsewhere.
async fn limits_of_placed(client: &Client, name: &str, no: Failure) -> Result<Value, Failure> {
    let Ok(mut placed) = client.get(&format!("/v1/placements/{name}")).await else { return Err(no) };
    let placed = placed["services"][0].take();
    match placed["service"]["limits"].clone() {
        Value::Null => {
            let why = placed["unknown"].as_str().unwrap_or("its node does not say");
            let title = format!("what {name} may use now is not known: {why}");
            Err(Problem::new("node-unreachable", 502, title)
                .fix("try again when `eep status` shows it")
                .into())
        }
        limits => Ok(limits),
    }
}

fn on_trap(text: &str) -> Result<OnTrap, String> {
    let written = match text.split_once("fail-open=") {
        Some(("", to)) => json!({"fail-open": {"to": to}}),
        _ => json!(text),
    };
    serde_json::from_value(written)
        .map_err(|_| "write restart, stop, fail-closed, or fail-open=ADDR:PORT".to_owned())
}

fn record(text: &str) -> Result<Record, String> {
    let written = match text {
        "on" | "off" => json!(text),
        size => json!({"budget": size}),
    };
    serde_json::from_value(written).map_err(|e| e.to_string())
}
