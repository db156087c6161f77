//! `eep proxylet inspect`

use serde_json::json;

use crate::cli::load::one_line;
use crate::cli::output::{BOLD, DIM, Failure, Outcome, json, paint, print, printable};
use crate::cli::target::block_on;
use crate::config::Source;
use crate::node::refusals;
use crate::proxylet::digest::Digest;
use crate::proxylet::fetch::Fetcher;
use crate::proxylet::inspect::{Inspection, inspect};

/// Show what a proxylet says of itself: what it asks for, its settings, its digest. Nothing of it is run.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  eep proxylet inspect target/proxylets/echo.wasm\n  eep proxylet inspect https://repo.example/gnutella-peer.wasm --json"
)]
pub(super) struct Args {
    /// Where the proxylet is: an https:// or http:// address, or a file.
    #[arg(value_name = "URL", value_parser = one_line::<Source>)]
    url: Source,
    /// Answer in JSON.
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let bytes = block_on(async {
        let fetched = match Fetcher::new() {
            Ok(fetcher) => fetcher.fetch(&args.url, &|_, _| {}).await,
            Err(e) => Err(e),
        };
        fetched.map_err(|e| Failure::from(refusals::fetch(&args.url, &e)))
    })?;
    let found = inspect(&bytes).map_err(|e| refusals::load(&args.url, &e))?;
    let digest = Digest::of(&bytes);
    if args.json {
        json(&json!({"sha256": digest, "bytes": bytes.len(), "inspection": found}));
    } else {
        print(&shown(&found, &digest, bytes.len()));
    }
    Ok(())
}

fn shown(found: &Inspection, digest: &Digest, bytes: usize) -> String {
    let manifest = &found.manifest;
    let name = if manifest.name.is_empty() { "a proxylet without a name" } else { &manifest.name };
    let mut out = format!("{} {}\n", paint(BOLD, &printable(name)), printable(&manifest.version));
    let mut row = |key: &str, value: &str| {
        if !value.is_empty() {
            out += &format!("  {}{}\n", paint(DIM, &format!("{key:<11}")), printable(value));
        }
    };
    row("about", &manifest.about);
    row("sha256", &digest.to_string());
    row("size", &format!("{bytes} bytes"));
    row("asks for", &manifest.wants.join(", "));
    let imports: Vec<_> = found.imports.iter().map(ToString::to_string).collect();
    row("imports", &imports.join(", "));
    let properties = manifest.schema.as_ref().and_then(|schema| schema.get("properties")?.as_object());
    for (i, (key, setting)) in properties.into_iter().flatten().enumerate() {
        let default = manifest.config.get(key).or(setting.get("default"));
        let default = default.map(|value| format!(" (default {value})")).unwrap_or_default();
        let about = setting.get("description").and_then(serde_json::Value::as_str).unwrap_or_default();
        row(if i == 0 { "settings" } else { " " }, &format!("{key}: {about}{default}"));
    }
    out
}
