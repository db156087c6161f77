//! `eep policy explain`

use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use policies::Policy;
use policies::model::rule::Chain;
use policies::proof::given::Given;
use policies::proof::replay::Recorded;

use super::read::{Recording, given, policy};
use crate::cli::output::{Failure, Outcome, json, print, printable};
use crate::problem::Problem;

/// Say how a policy decides an event: each rule that is tried, why it does not match, which one decides.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
An event is written as in tests: what is left out is not known. Facts of the node stand under `facts`.

Examples:
  eep policy explain isp-a.yaml '{message: connect, peer: {address: 192.0.2.7}}'
  eep policy explain isp-a.yaml '{message: query, content: {text: linux iso}, facts: {node.cpu: 0.9}}' --chain routing
  eep policy explain isp-a.yaml --recording decisions.jsonl --id 17    a decision of the log, by its id")]
pub(super) struct Args {
    /// The policy.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The event, in YAML or JSON; `-` reads it from stdin.
    #[arg(required_unless_present = "recording")]
    event: Option<String>,
    /// The chain that decides; every chain that the policy speaks of unless given.
    #[arg(long, value_parser = PossibleValuesParser::new(Chain::ALL.map(Chain::word)))]
    chain: Option<String>,
    /// Take the event from this recording; `-` reads it from stdin.
    #[arg(long, value_name = "FILE", requires = "id", conflicts_with = "event")]
    recording: Option<PathBuf>,
    /// The id of the decision in the recording.
    #[arg(long, requires = "recording")]
    id: Option<String>,
    /// Answer in JSON: one explanation a chain.
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let policy = policy(&args.file)?;
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
    if args.json {
        let all: Vec<_> = all.map(|e| e.json(policy.budget_names())).collect();
        json(&all);
    } else {
        all.for_each(|explanation| print(&printable(&explanation.to_string())));
    }
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
