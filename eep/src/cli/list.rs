//! `eep list`

use crate::cli::format::{bytes, span};
use serde::Deserialize;

use crate::cli::output::{Outcome, json, note, print, table};
use crate::cli::service::{Service, read};
use crate::cli::target::{Target, block_on};
use crate::mesh::views::NodeRef;

/// Show the services of a node.
#[derive(clap::Args, Debug)]
#[command(visible_alias = "ls", after_help = "Examples:\n  eep list\n  eep list --json --data /var/lib/eep")]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) target: Target,
}

pub(super) fn run(args: &Args) -> Outcome {
    let answer = block_on(async { args.target.client()?.get("/v1/services").await })?;
    if args.target.json {
        json(&answer["services"]);
        return Ok(());
    }
    let placements = block_on(async { args.target.client()?.get("/v1/placements").await })?;
    let placements: Vec<Placed> = read(&placements["placements"])?;
    let services: Vec<Service> = read(&answer["services"])?;
    if services.is_empty() && placements.is_empty() {
        note("no services; load one with `eep load URL --sha256 HEX`");
        return Ok(());
    }
    let head = ["NAME", "STATE", "LISTENING", "MEMORY", "CONNECTIONS", "RESTARTS", "UP", "DIGEST"];
    let rows: Vec<_> = services.iter().map(row).collect();
    if !rows.is_empty() {
        print(&table(&head, &rows));
    }
    if !placements.is_empty() {
        let of_webs = placements.iter().any(|placed| placed.web.is_some());
        let rows: Vec<_> = placements.iter().map(|placed| placed.row(of_webs)).collect();
        let head = ["PLACED", "RUNS ON", "MOVED", "DIGEST", "WEB"];
        print(&table(&head[..4 + usize::from(of_webs)], &rows));
    }
    Ok(())
}

/// A service that the node has placed on another.
#[derive(Debug, Deserialize)]
pub(super) struct Placed {
    pub(super) name: String,
    sha256: String,
    node: Option<NodeRef>,
    alive: bool,
    pub(super) moves: u64,
    #[serde(default)]
    web: Option<String>,
}

impl Placed {
    /// Where it runs.
    pub(super) fn called(&self) -> String {
        match &self.node {
            None => "nowhere now".to_owned(),
            Some(node) => {
                let name = node
                    .name
                    .clone()
                    .zip(node.domain.clone())
                    .map(|(name, domain)| format!("{name}@{domain}"));
                let name = name.unwrap_or_else(|| node.id.chars().take(12).collect());
                if self.alive { name } else { format!("{name} (not heard of)") }
            }
        }
    }

    fn row(&self, of_webs: bool) -> Vec<String> {
        let digest = self.sha256.get(..12).unwrap_or(&self.sha256).to_owned();
        let web = of_webs.then(|| self.web.clone().unwrap_or_else(|| "-".to_owned()));
        [self.name.clone(), self.called(), self.moves.to_string(), digest].into_iter().chain(web).collect()
    }
}

fn row(service: &Service) -> Vec<String> {
    vec![
        service.name.clone(),
        service.state.clone(),
        service.listeners(),
        bytes(service.memory_bytes),
        service.connections.to_string(),
        service.restarts.to_string(),
        if service.state == "running" { span(service.uptime_s) } else { "-".to_owned() },
        service.digest.get(..12).unwrap_or(&service.digest).to_owned(),
    ]
}
