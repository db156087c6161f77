//! `eep proxylet verify`

use std::path::PathBuf;
use std::time::SystemTime;

use serde_json::json;

use crate::cli::load::one_line;
use crate::cli::output::{Failure, Outcome, json, line, printable};
use crate::cli::target::block_on;
use crate::config::{NodeFile, Source};
use crate::node::refusals;
use crate::problem::Problem;
use crate::proxylet::digest::Digest;
use crate::proxylet::fetch::Fetcher;
use crate::proxylet::trust::verdict::Standing;
use crate::proxylet::trust::{KeySource, Keyring, Signatures, Trust, TrustError};

/// Check who signed a proxylet, as a node with these keys would.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  eep proxylet verify echo.wasm --key keys/isp-a.pub
  eep proxylet verify https://repo.example/echo.wasm --key a.pub --key b.pub --require 2
  eep proxylet verify echo.wasm --config /etc/eep/eep.yaml")]
pub(super) struct Args {
    /// Where the proxylet is.
    #[arg(value_name = "URL", value_parser = one_line::<Source>)]
    url: Source,
    /// A public key that is trusted: its file, or the key itself. May be given more than once.
    #[arg(
        long = "key",
        value_name = "FILE|KEY",
        required_unless_present = "config",
        conflicts_with = "config"
    )]
    keys: Vec<String>,
    /// How many of the keys must vouch for it.
    #[arg(long, value_name = "K", default_value_t = 1, conflicts_with = "config",
        value_parser = clap::value_parser!(u32).range(1..=64))]
    require: u32,
    /// A node file whose `trust` says both.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Answer in JSON.
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let trust = match &args.config {
        Some(path) => NodeFile::read(path)?.trust().ok_or_else(|| {
            Problem::new("no-trust", 422, "this node file asks for no signatures")
                .at(path.display().to_string())
                .fix("give it `trust: {keys: […]}`, or name keys with --key")
        })?,
        None => Trust {
            keys: args.keys.iter().cloned().map(KeySource::from).collect(),
            require: args.require as usize,
        },
    };
    let (code, signatures) = fetch(&args.url)?;
    let keyring = Keyring::read(&trust.keys).map_err(|e| refusals::trust(&args.url, &e.into()))?;
    let now = SystemTime::now();
    let verdict =
        trust.check(&code, &signatures, now).map_err(|e: TrustError| refusals::trust(&args.url, &e))?;
    let all = Signatures::parse(&signatures).map_err(|e| refusals::trust(&args.url, &e.into()))?;
    let standings = keyring.judge(&code, &all, now).standings;
    let label = |id| keyring.keys().find(|key| key.id == id).map(|key| key.label.clone()).unwrap_or_default();
    if args.json {
        let each: Vec<_> = standings
            .iter()
            .map(|(key, standing)| {
                json!({"key": key.to_string(), "label": label(*key), "vouches": *standing == Standing::Good,
                    "standing": standing.to_string()})
            })
            .collect();
        json(&json!({"sha256": Digest::of(&code), "require": trust.require, "vouching": verdict.len(),
            "signatures": each}));
        return Ok(());
    }
    line(&format!("{}: {} of {} required keys vouch for it", args.url, verdict.len(), trust.require));
    for (key, standing) in &standings {
        line(format!("  {key} {standing}  {}", printable(&label(*key))).trim_end());
    }
    Ok(())
}

/// Code and the file of its signatures.
pub(super) fn fetch(url: &Source) -> Result<(Vec<u8>, Vec<u8>), Failure> {
    block_on(async {
        let fetcher = Fetcher::new().map_err(|e| refusals::fetch(url, &e))?;
        let code = fetcher.fetch(url, &|_, _| {}).await.map_err(|e| refusals::fetch(url, &e))?;
        let signatures = fetcher.signatures(url).await.map_err(|e| refusals::signatures(url, &e))?;
        Ok((code, signatures))
    })
}
