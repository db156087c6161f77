//! `eep init`

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;

use crate::cli::load::one_line;
use crate::cli::output::{BOLD, DIM, Outcome, json, paint, print};
use crate::config::ServiceName;
use crate::config::node_file::DATA_DIR;
use crate::mesh::authority::{Authority, Pair};
use crate::mesh::identity::{CA_FILE, CA_KEY_FILE, CERTIFICATE_FILE, IdentityFiles, KEY_FILE};
use crate::mesh::trust::{Domains, domain_name, read_authorities};
use crate::problem::Problem;

/// Give this node an identity for the mesh: a domain's CA and a certificate, or a certificate of a CA that there is.
///
/// A node is its key: its id is the SHA-256 of its public key. Files lie in DATA/mesh, private keys with mode 0600. The
/// node that has ca.key can make certificates for others, and renews its own.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  eep init --domain isp-a --name edge-1                     a new domain, and its first node
  eep init --ca eep-data/mesh/ca.pem --ca-key eep-data/mesh/ca.key --name edge-2 --data edge-2
                                                            a certificate for another node: copy edge-2/mesh there
  eep init --ca ca.pem --certificate edge-3.pem --key edge-3.key
                                                            the operator's own certificate")]
pub(super) struct Args {
    /// What the new domain is called, such as isp-a.
    #[arg(long, value_name = "NAME", value_parser = one_line::<ServiceName>, conflicts_with = "ca", required_unless_present = "ca")]
    domain: Option<ServiceName>,
    /// What the node is called, such as edge-1; the machine's name unless given.
    #[arg(long, value_name = "NAME", value_parser = one_line::<ServiceName>, conflicts_with = "certificate")]
    name: Option<ServiceName>,
    /// The certificate of the domain's CA, in PEM.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The CA's private key; it is used and not copied.
    #[arg(long, value_name = "FILE", requires = "ca", conflicts_with = "certificate")]
    ca_key: Option<PathBuf>,
    /// The node's own certificate, in PEM, for both ends of TLS.
    #[arg(long, value_name = "FILE", requires = "ca", requires = "key")]
    certificate: Option<PathBuf>,
    /// The node's own private key, in PEM.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// The data directory of the node that is to have it.
    #[arg(long, value_name = "DIR", default_value = DATA_DIR)]
    data: PathBuf,
    /// Answer in JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// What is to be written.
struct Made {
    ca: String,
    ca_key: Option<String>,
    pair: Pair,
}

pub(super) fn run(args: &Args) -> Outcome {
    let files = IdentityFiles::in_data(&args.data);
    for file in [&files.certificate, &files.key, &files.ca] {
        if file.exists() {
            return Err(Problem::new("identity-exists", 409, "this node has an identity already")
                .at(file.display().to_string())
                .fix("a new one would be another node; to make one all the same, move the folder away first")
                .into());
        }
    }
    let made = make(args)?;
    let (id, name, domain) = judge(&made)?;
    let folder = args.data.join("mesh");
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    let refuse = |path: &Path, e: std::io::Error| {
        Problem::new("data-directory", 500, format!("cannot write: {e}"))
            .at(path.display().to_string())
            .fix("let this user write there, or choose another directory with --data DIR")
    };
    builder.create(&folder).map_err(|e| refuse(&folder, e))?;
    let mut parts = vec![(CA_FILE, &made.ca, 0o644)];
    parts.extend(made.ca_key.as_ref().map(|key| (CA_KEY_FILE, key, 0o600)));
    parts.extend([(KEY_FILE, &made.pair.key, 0o600), (CERTIFICATE_FILE, &made.pair.certificate, 0o644)]);
    for (file, text, mode) in parts {
        let path = folder.join(file);
        write_new(&path, text, mode).map_err(|e| refuse(&path, e))?;
    }
    tell(args, &id, &name, &domain, &folder, made.ca_key.is_some());
    Ok(())
}

fn make(args: &Args) -> Result<Made, Box<Problem>> {
    let failed = |e: &dyn std::fmt::Display| {
        Problem::new("mesh-identity", 500, format!("the certificate cannot be made: {e}"))
            .fix("choose another name")
    };
    let words = |words: String| Problem::words("mesh-identity", 400, &words);
    let name = args.name.as_ref().map_or_else(super::run::machine_name, ToString::to_string);
    match (&args.domain, &args.ca, &args.ca_key, &args.certificate, &args.key) {
        (Some(domain), ..) => {
            let (authority, ca) = Authority::make(domain.as_str()).map_err(|e| failed(&e))?;
            let pair = authority.certify(&name).map_err(|e| failed(&e))?;
            Ok(Made { ca: ca.certificate, ca_key: Some(ca.key), pair })
        }
        (None, Some(ca), Some(key), ..) => {
            let authority = Authority::read(ca, key).map_err(words)?;
            let pair = authority.certify(&name).map_err(|e| failed(&e))?;
            Ok(Made { ca: authority.certificate().to_owned(), ca_key: None, pair })
        }
        (None, Some(ca), None, Some(certificate), Some(key)) => {
            let text = |path: &Path| {
                fs::read_to_string(path).map_err(|e| {
                    Problem::new("mesh-identity", 400, format!("the file cannot be read: {e}"))
                        .at(path.display().to_string())
                        .fix("check the path")
                })
            };
            read_authorities(ca).map_err(words)?;
            Ok(Made {
                ca: text(ca)?,
                ca_key: None,
                pair: Pair { certificate: text(certificate)?, key: text(key)? },
            })
        }
        _ => Err(Problem::new(
            "bad-request",
            400,
            "a CA's certificate alone makes no certificate for the node",
        )
        .fix("give --ca-key FILE to have one made, or --certificate FILE and --key FILE")),
    }
}

/// Checks what was made as other nodes will: id, name and domain.
fn judge(made: &Made) -> Result<(String, String, String), Box<Problem>> {
    let bad = |e: &dyn std::fmt::Display| {
        Problem::new("mesh-identity", 400, format!("other nodes would not accept it: {e}")).fix(
            "give a certificate that this CA has signed, for client and server authentication, and its key",
        )
    };
    let read = |text: &str| CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
    let ca = read(&made.ca).map_err(|e| bad(&e))?;
    let chain = read(&made.pair.certificate).map_err(|e| bad(&e))?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let domain = domain_name(&ca).map_err(|words| Problem::words("mesh-identity", 400, &words))?;
    let domains =
        Domains::new(&provider, &ca).map_err(|words| Problem::words("mesh-identity", 400, &words))?;
    let key =
        rustls::pki_types::PrivateKeyDer::from_pem_slice(made.pair.key.as_bytes()).map_err(|e| bad(&e))?;
    let key = provider.key_provider.load_private_key(key).map_err(|e| bad(&e))?;
    rustls::sign::CertifiedKey::new(chain.clone(), key).keys_match().map_err(|e| bad(&e))?;
    let peer = domains.judge(&chain, std::time::SystemTime::now()).map_err(|e| bad(&e))?;
    Ok((peer.id.to_string(), peer.name, domain))
}

fn write_new(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn tell(args: &Args, id: &str, name: &str, domain: &str, folder: &Path, is_authority: bool) {
    if args.json {
        json(&json!({"id": id, "name": name, "domain": domain, "folder": folder, "authority": is_authority}));
        return;
    }
    let key = |key: &str| paint(DIM, &format!("{key:<11}"));
    let mut out = format!("{} of the domain {}\n", paint(BOLD, name), paint(BOLD, domain));
    out += &format!("  {}{id}\n  {}{}\n", key("id"), key("files"), folder.display());
    out += "\nNext, in the node file:\n";
    out += &format!(
        "  node: {{domain: {domain}}}\n  listen: {{mesh: \"0.0.0.0:6340\"}}\n  mesh: {{seeds: [\"HOST:6340\"]}}\n"
    );
    if is_authority {
        let folder = folder.display();
        out += &format!(
            "For another node of the domain:\n  eep init --ca {folder}/{CA_FILE} --ca-key {folder}/{CA_KEY_FILE} --name NAME --data DIR\n"
        );
    }
    print(&out);
}
