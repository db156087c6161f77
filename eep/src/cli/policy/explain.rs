//! `eep policy explain`

use std::path::{Path, PathBuf};

use clap::ArgGroup;
use clap::builder::PossibleValuesParser;
use policies::Policy;
use policies::model::rule::Chain;
use policies::proof::given::Given;
use policies::proof::replay::Recorded;
use reqwest::Method;

use super::read::{Recording, given, policy};
use crate::cli::format::time;
use crate::cli::output::{Failure, Outcome, json, print, printable};
use crate::cli::target::{Target, block_on, path_of};
use crate::problem::Problem;

/// Say how a policy decides an event: each rule that is tried, why it does not match, which one decides.
#[derive(clap::Args, Debug)]
#[command(group(ArgGroup::new("where").args(["recording", "live"])), after_help = "\
An event is written as in tests: what is left out is not known. Facts of the node stand under `facts`.

Examples:
  eep policy explain isp-a.yaml '{message: connect, peer: {address: 192.0.2.7}}'
  eep policy explain isp-a.yaml '{message: query, content: {text: linux iso}, facts: {node.cpu: 0.9}}' --chain routing
  eep policy explain isp-a.yaml --recording decisions.jsonl --id 17    a decision of the log, by its id
  eep policy explain edge --live --id 3-17                             one that `eep policy tap edge` shows
  eep policy explain edge --live '{message: ping}'                     by the policy in force")]
pub(super) struct Args {
    /// The policy's file; with --live the service whose policy is asked.
    #[arg(value_name = "FILE|SERVICE")]
    policy: String,
    /// The event, in YAML or JSON; `-` reads it from stdin.
    #[arg(required_unless_present = "id", conflicts_with = "id")]
    event: Option<String>,
    /// The chain that decides; every chain that the policy speaks of unless given.
    #[arg(long, value_parser = PossibleValuesParser::new(Chain::ALL.map(Chain::word)))]
    chain: Option<String>,
    /// Take the event from this recording; `-` reads it from stdin.
    #[arg(long, value_name = "FILE", requires = "id")]
    recording: Option<PathBuf>,
    /// Ask the policy of a service, on a node that runs.
    #[arg(long)]
    live: bool,
    /// The id of the decision, in the recording or on record in the node.
    #[arg(long, requires = "where")]
    id: Option<String>,
    #[command(flatten)]
    pub(super) target: Target,
}

pub(super) fn run(args: &Args) -> Outcome {
    if args.live {
        return live(args);
    }
    let policy = policy(args.policy.as_ref())?;
    let chain = args.chain.as_deref().and_then(Chain::of);
    let (event, of) = match (&args.recording, &args.event) {
        (Some(file), _) => {
            let recorded = find(file, args.id.as_deref().unwrap_or_default(), &policy)?;
            (recorded.given, Some(recorded.chain))
        }
        (None, event) => {
            let text = given(event.as_deref().unwrap_or_default())?;
            let event = Given::parse("event", &text, policy.budget_names());
            (event.map_err(|report| Failure::found("the event".as_ref(), report))?, None)
        }
    };
    let chains: Vec<Chain> = match chain.or(of) {
        Some(chain) => vec![chain],
        None => Chain::ALL.into_iter().filter(|c| policy.speaks_of(*c)).collect(),
    };
    if chains.is_empty() {
        let title = format!("the policy {} has no rules: it decides nothing", policy.name());
        return Err(Problem::new("no-rules", 400, title)
            .fix("add `access`, `routing`, `cache` or `traffic`")
            .into());
    }
    let all = chains.iter().map(|chain| policy.explain(*chain, &event.event(), event.facts()));
    if args.target.json {
        let all: Vec<_> = all.map(|e| e.json(policy.budget_names())).collect();
        json(&all);
    } else {
        all.for_each(|explanation| print(&printable(&explanation.to_string())));
    }
    Ok(())
}

/// Asks a node that runs.
fn live(args: &Args) -> Outcome {
    let event = args.event.as_deref().map(given).transpose()?;
    let body = serde_json::json!({"decision": args.id, "event": event, "chain": args.chain});
    let path = format!("{}/policy/explain", path_of(&args.policy)?);
    let answer = block_on(async { args.target.client()?.send(Method::POST, &path, Some(&body)).await })?;
    if args.target.json {
        json(&answer);
        return Ok(());
    }
    let record = &answer["record"];
    if let (Some(id), Some(at_s)) = (record["id"].as_str(), record["at_s"].as_f64()) {
        let generation = &answer["generation"];
        print(&format!("{} by generation {generation}, {}\n", printable(id), time(at_s)));
    }
    print(&printable(answer["words"].as_str().unwrap_or_default()));
    Ok(())
}

/// The recorded decision with an id.
fn find(file: &Path, id: &str, policy: &Policy) -> Result<Recorded, Failure> {
    let name = file.display().to_string();
    let mut recording = Recording::open(file)?;
    while let Some((number, line)) = recording.next()? {
        // Lines that do not even mention it need not be read.
        if !line.contains(id) {
            continue;
        }
        let recorded = Recorded::read(&name, number, line, policy.budget_names());
        let recorded = recorded.map_err(|report| Failure::found(file, report))?;
        if recorded.id == id {
            return Ok(recorded);
        }
    }
    let title = format!("no decision in {name} has the id `{id}`");
    Err(Problem::new("not-found", 404, title).fix("decisions are sampled: look into other recordings").into())
}
