//! `eep list`

use crate::cli::format::{bytes, span};
use crate::cli::output::{Outcome, json, note, print, table};
use crate::cli::service::{Service, read};
use crate::cli::target::{Target, block_on};

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
    let services: Vec<Service> = read(&answer["services"])?;
    if services.is_empty() {
        note("no services; load one with `eep load URL --sha256 HEX`");
        return Ok(());
    }
    let head = ["NAME", "STATE", "LISTENING", "MEMORY", "CONNECTIONS", "RESTARTS", "UP", "DIGEST"];
    let rows: Vec<_> = services.iter().map(row).collect();
    print(&table(&head, &rows));
    Ok(())
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
