//! `eep proxylet inspect`

use serde_json::json;

use crate::cli::load::one_line;
use crate::cli::output::{BOLD, DIM, Outcome, json, paint, print, printable};
use crate::cli::proxylet::verify::fetch;
use crate::config::Source;
use crate::host::grant::{Grant, Grants};
use crate::node::refusals;
use crate::proxylet::contract;
use crate::proxylet::digest::Digest;
use crate::proxylet::inspect::{Inspection, Need, VERSION, inspect};
use crate::proxylet::trust::{KeyId, Signatures};

/// Show what a proxylet says of itself: what it imports and asks for, who signed it, its settings, its digest. Nothing
/// of it is run.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  eep proxylet inspect target/proxylets/echo.wasm\n  eep proxylet inspect echo.wasm --grant net.listen:7007\n  eep proxylet inspect https://repo.example/gnutella-peer.wasm --json"
)]
pub(super) struct Args {
    /// Where the proxylet is: an oci://, https:// or http:// address, or a file.
    #[arg(value_name = "URL", value_parser = one_line::<Source>)]
    url: Source,
    /// Show what its imports could do with this grant. May be given more than once; what it asks for unless given.
    #[arg(long = "grant", value_name = "GRANT")]
    grants: Vec<Grant>,
    /// Answer in JSON.
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let (bytes, signatures) = fetch(&args.url)?;
    let found = inspect(&bytes).map_err(|e| refusals::load(&args.url, &e))?;
    let signatures = Signatures::parse(&signatures).map_err(|e| refusals::trust(&args.url, &e.into()))?;
    let signers: Vec<KeyId> = signatures.iter().map(|signature| signature.key()).collect();
    // What cannot be granted as it is written is shown as it is written.
    let asked = || found.manifest.grants_wanted(&found.manifest.config).unwrap_or_default();
    let listed = if args.grants.is_empty() { asked() } else { args.grants.clone() };
    let grants: Grants = listed.iter().copied().collect();
    let needs = found.needs(&grants);
    let digest = Digest::of(&bytes);
    let refused = found.check_interfaces().and_then(|()| contract::check(&bytes)).err();
    let refused = refused.map(|error| error.to_string());
    if args.json {
        let signers: Vec<_> = signers.iter().map(ToString::to_string).collect();
        json(&json!({"sha256": digest, "bytes": bytes.len(), "inspection": found, "needs": needs,
            "grants": listed, "signers": signers, "offered": VERSION, "refused": refused}));
    } else {
        print(&shown(&found, &needs, &signers, &digest, bytes.len(), refused.as_deref()));
    }
    Ok(())
}

fn shown(
    found: &Inspection,
    needs: &[Need],
    signers: &[KeyId],
    digest: &Digest,
    bytes: usize,
    refused: Option<&str>,
) -> String {
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
    let signed: Vec<_> = signers.iter().map(ToString::to_string).collect();
    let signed = if signed.is_empty() { "nobody".to_owned() } else { signed.join(", ") };
    row("signed by", &format!("{signed} (`eep proxylet verify` tells whether to believe it)"));
    row("contract", &format!("{} (offered here: {VERSION})", found.contract().unwrap_or("none")));
    row("loads here", &refused.map_or_else(|| "yes".to_owned(), |why| format!("no: {why}")));
    row("SDK", &found.sdk);
    row("asks for", &manifest.wants.join(", "));
    for (i, need) in needs.iter().enumerate() {
        row(if i == 0 { "imports" } else { " " }, &format!("{}: {}", need.interface, need.told()));
    }
    for (i, export) in found.exports.iter().enumerate() {
        row(if i == 0 { "exports" } else { " " }, &export.to_string());
    }
    let properties = manifest.schema.as_ref().and_then(|schema| schema.get("properties")?.as_object());
    for (i, (key, setting)) in properties.into_iter().flatten().enumerate() {
        let default = manifest.config.get(key).or(setting.get("default"));
        let default = default.map(|value| format!(" (default {value})")).unwrap_or_default();
        let about = setting.get("description").and_then(serde_json::Value::as_str).unwrap_or_default();
        row(if i == 0 { "settings" } else { " " }, &format!("{key}: {about}{default}"));
    }
    out
}
