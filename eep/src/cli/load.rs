//! `eep load`

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::cli::list::Placed;
use crate::cli::output::{BOLD, Outcome, json, paint, print};
use crate::cli::progress::follow;
use crate::cli::service::{Service, read};
use crate::cli::target::{Target, block_on};
use crate::config::node_file::{Manifest, read_any_manifest, read_manifest};
use crate::config::settings::parse_set;
use crate::config::web::Web;
use crate::config::{ServiceEntry, ServiceName, Source};
use crate::host::grant::Grant;
use crate::node::placement::PlaceRequest;
use crate::problem::Problem;
use crate::proxylet::digest::Digest;
use crate::state::placements::Where;

/// Fetch a proxylet, verify it and run it.
///
/// Code that is pinned with --sha256 is granted what it asks for, and what that is is printed. Code that is not pinned
/// is granted what --grant names and nothing else.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  eep load ./target/proxylets/echo.wasm --sha256 HEX
  eep load https://repo.example/gnutella-peer.wasm --name edge --sha256 HEX --set leaves=5000
  eep load ./echo.wasm --grant net.listen:7007
  eep load --manifest edge.yaml
  eep load ./echo.wasm --sha256 HEX --near 192.0.2.0/24     on another node of the mesh
  eep load --manifest web.yaml                              several services, each on its node

Grants:
  net.listen:PORT  net.listen:ADDR:PORT   listen for TCP
  net.connect  net.connect:CIDR           connect by TCP
  datagram:PORT  datagram:ADDR:PORT       send and receive UDP
  policy                                  ask for decisions of the service's policy
  topology                                look at the mesh
  mesh                                    streams and messages to services on other nodes
  deploy  deploy:N                        launch services, at most 16 or N at one time")]
pub(super) struct Args {
    /// Where the proxylet is: an https://, http:// or oci:// address, eep:SHA256 for code in the mesh, or a file.
    #[arg(value_name = "URL", required_unless_present = "manifest", value_parser = one_line::<Source>)]
    url: Option<Source>,
    /// What to call the service; the proxylet's own name unless given.
    #[arg(long, value_name = "NAME", value_parser = one_line::<ServiceName>)]
    name: Option<ServiceName>,
    /// The SHA-256 that the code must have.
    #[arg(long, value_name = "HEX")]
    sha256: Option<Digest>,
    /// A service manifest: one entry of `services` as a file of its own; other options change what it says. Or a web: several
    /// services, and where each is to run.
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// Allow the service to reach something. May be given more than once.
    #[arg(long = "grant", value_name = "GRANT")]
    grants: Vec<Grant>,
    /// The service's policy.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Set a key of the proxylet's configuration. May be given more than once.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_set)]
    sets: Vec<(String, Value)>,
    /// Have this node of the mesh run it: NAME, NAME@DOMAIN, or an id or its first digits.
    #[arg(long, value_name = "NODE", group = "where", help_heading = "Placement")]
    at: Option<String>,
    /// Have the node for the users of this address or prefix run it.
    #[arg(long, value_name = "CIDR", group = "where", help_heading = "Placement")]
    near: Option<String>,
    /// Have the nearest node of this region run it; see `eep topology regions`.
    #[arg(long, value_name = "REGION", group = "where", help_heading = "Placement")]
    region: Option<String>,
    #[command(flatten)]
    pub(super) target: Target,
}

/// A path as the node, which runs elsewhere, can open it.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, crate::cli::output::Failure> {
    std::path::absolute(path)
        .map_err(|e| Problem::new("system", 500, format!("the current directory cannot be read: {e}")).into())
}

/// The words of an error in one line, as usage errors are.
pub(super) fn one_line<T: std::str::FromStr<Err = String>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|e: String| e.replace('\n', "; "))
}

pub(super) fn run(args: &Args) -> Outcome {
    if let Some(file) = &args.manifest
        && let Manifest::Web(web) = read_any_manifest(file)?
    {
        return place_web(args, &web);
    }
    let entry = entry(args)?;
    let at = match (&args.at, &args.near, &args.region) {
        (Some(node), ..) => Some(Where::At(node.clone())),
        (_, Some(prefix), _) => Some(Where::Near(prefix.clone())),
        (.., Some(region)) => Some(Where::Region(region.clone())),
        _ => None,
    };
    if let Some(at) = at {
        return place(args, PlaceRequest { service: entry, at });
    }
    let body = serde_json::to_value(&entry).map_err(|e| Problem::new("bad-request", 400, e.to_string()))?;
    let answer = block_on(async {
        let lines = args.target.client()?.lines(reqwest::Method::POST, "/v1/services", Some(&body)).await?;
        follow(lines, args.target.json).await
    })?;
    if args.target.json {
        json(&answer);
    } else {
        let service: Service = read(&answer)?;
        print(&service.introduce());
        let name = &service.name;
        print(&format!("  next       eep status {name}   eep logs {name} -f   eep stop {name}\n"));
    }
    Ok(())
}

/// Has another node run it.
fn place(args: &Args, request: PlaceRequest) -> Outcome {
    let body = serde_json::to_value(&request).map_err(|e| Problem::new("bad-request", 400, e.to_string()))?;
    let answer = block_on(async {
        let lines = args.target.client()?.lines(reqwest::Method::POST, "/v1/placements", Some(&body)).await?;
        follow(lines, args.target.json).await
    })?;
    if args.target.json {
        json(&answer);
    } else {
        let placed: Placed = read(&answer)?;
        let name = &placed.name;
        print(&format!(
            "{} runs on {}\n  next       eep list   eep unload {name}\n",
            paint(BOLD, name),
            placed.called()
        ));
    }
    Ok(())
}

/// Has the services of a web run where it says.
fn place_web(args: &Args, web: &Web) -> Outcome {
    let alone = args.url.is_none()
        && args.name.is_none()
        && args.sha256.is_none()
        && args.policy.is_none()
        && args.grants.is_empty()
        && args.sets.is_empty()
        && [&args.at, &args.near, &args.region].iter().all(|place| place.is_none());
    if !alone {
        return Err(Problem::new(
            "bad-request",
            400,
            "the file is that of a web, which says everything itself",
        )
        .fix("leave the other options out, and write it in the file")
        .into());
    }
    let body = serde_json::to_value(web).map_err(|e| Problem::new("bad-request", 400, e.to_string()))?;
    let answer = block_on(async {
        let lines = args.target.client()?.lines(reqwest::Method::POST, "/v1/webs", Some(&body)).await?;
        follow(lines, args.target.json).await
    })?;
    if args.target.json {
        json(&answer);
        return Ok(());
    }
    let placed: Vec<Placed> = read(&answer["placements"])?;
    for one in &placed {
        print(&format!("{} runs on {}\n", paint(BOLD, &one.name), one.called()));
    }
    print(&format!("  next       eep list   eep unload {}\n", web.web));
    Ok(())
}

/// What the options ask for, over what the manifest says.
fn entry(args: &Args) -> Result<ServiceEntry, crate::cli::output::Failure> {
    let url = match &args.url {
        Some(url) => {
            let here = std::env::current_dir().map_err(|e| {
                Problem::new("system", 500, format!("the current directory cannot be read: {e}"))
            })?;
            Some(url.clone().under(&here))
        }
        None => None,
    };
    let mut entry = match (&args.manifest, url) {
        (Some(file), url) => {
            let mut entry = read_manifest(file)?;
            if let Some(url) = url {
                entry.proxylet.url = url;
            }
            entry
        }
        (None, Some(url)) => ServiceEntry::of(url, None),
        (None, None) => {
            return Err(Problem::new("bad-request", 400, "no proxylet is named")
                .fix("give its URL, or --manifest FILE")
                .into());
        }
    };
    entry.name = args.name.clone().or(entry.name);
    entry.proxylet.sha256 = args.sha256.or(entry.proxylet.sha256);
    if !args.grants.is_empty() {
        entry.grant = Some(args.grants.clone());
    }
    if let Some(policy) = &args.policy {
        entry.policy = Some(absolute(policy)?);
    }
    let sets: Map<String, Value> = args.sets.iter().cloned().collect();
    crate::config::settings::change(&mut entry.config, &sets);
    Ok(entry)
}
