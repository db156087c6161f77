//! `eep proxylet publish`

use std::path::PathBuf;

use serde_json::json;

use crate::cli::load::one_line;
use crate::cli::output::{Failure, Outcome, json, line};
use crate::cli::proxylet::sign::{read, signature_file};
use crate::cli::target::block_on;
use crate::config::Source;
use crate::node::refusals;
use crate::problem::Problem;
use crate::proxylet::digest::Digest;
use crate::proxylet::fetch::{CODE_BYTES_MAX, FetchError};
use crate::proxylet::inspect::inspect;
use crate::proxylet::registry::Registry;
use crate::proxylet::registry::push::Published;
use crate::proxylet::trust::{SIGNATURES_BYTES_MAX, Signatures};

/// Put a proxylet into an OCI registry, with the signatures that lie beside it.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  eep proxylet publish target/proxylets/echo.wasm oci://repo.example/isp-a/echo:1.0
  eep load oci://repo.example/isp-a/echo:1.0 --sha256 HEX

A registry on this machine (localhost, 127.0.0.1) is spoken to over http, any other over https.

Environment:
  EEP_REGISTRY_HOST                          the registry, as in its addresses: repo.example, 127.0.0.1:5000
  EEP_REGISTRY_USER, EEP_REGISTRY_PASSWORD   who publishes there; no other registry is told
Nodes use them to fetch, too.")]
pub(super) struct Args {
    /// The proxylet.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where to: oci://HOST/NAME:TAG.
    #[arg(value_name = "URL", value_parser = one_line::<Source>)]
    to: Source,
    /// Answer in JSON.
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let Source::Oci(image) = &args.to else {
        return Err(Problem::new("bad-request", 400, "proxylets are published to OCI registries")
            .at(args.to.to_string())
            .fix("write oci://HOST/NAME:TAG; for a web server, copy the file and its .minisig there")
            .into());
    };
    let code = read(&args.file, CODE_BYTES_MAX)?;
    let here = Source::File(args.file.clone());
    let inspection = inspect(&code).map_err(|e| refusals::load(&here, &e))?;
    let beside = signature_file(&args.file);
    let signatures = match std::fs::exists(&beside) {
        Ok(false) => Vec::new(),
        _ => read(&beside, SIGNATURES_BYTES_MAX)?,
    };
    let signers = Signatures::parse(&signatures).map_err(|e| refusals::trust(&here, &e.into()))?;
    let digest = Digest::of(&code);
    let name = args.file.file_name().unwrap_or_default().to_string_lossy();
    let published = Published { name: &name, code, signatures, inspection: &inspection };
    let at = block_on(async {
        let done = match Registry::of(image) {
            Ok(registry) => registry.push(published).await,
            Err(error) => Err(error),
        };
        done.map_err(|error| {
            let mut problem = refusals::fetch(&args.to, &FetchError::Registry(error));
            problem.title = problem.title.replace("cannot be fetched", "cannot be published");
            Failure::from(problem)
        })
    })?;
    let signers: Vec<_> = signers.iter().map(|signature| signature.key().to_string()).collect();
    if args.json {
        json(&json!({"url": args.to.to_string(), "by_digest": at.to_string(), "sha256": digest,
            "signers": signers}));
    } else {
        let signed = if signers.is_empty() { "nobody".to_owned() } else { signers.join(", ") };
        line(&format!("{}  signed by {signed}", args.to));
        line(&format!("  image   {at}"));
        line(&format!("  sha256  {digest}  (of the code: for `eep load --sha256`)"));
    }
    Ok(())
}
