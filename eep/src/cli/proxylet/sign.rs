//! `eep proxylet sign`

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::json;

use crate::cli::output::{Outcome, json, line};
use crate::cli::proxylet::key_file::{self, unreadable};
use crate::config::Source;
use crate::node::refusals;
use crate::problem::Problem;
use crate::proxylet::digest::Digest;
use crate::proxylet::fetch::CODE_BYTES_MAX;
use crate::proxylet::inspect::inspect;
use crate::proxylet::trust::keyring::date_of;
use crate::proxylet::trust::{SIGNATURE_SUFFIX, SIGNATURES_BYTES_MAX, Signatures};
use crate::state::directory::write_whole;

/// Sign a proxylet: the signature is put into FILE.minisig, beside those of other keys.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  eep proxylet sign target/proxylets/echo.wasm --key keys/isp-a.key
  eep proxylet sign echo.wasm --key ci.key --expires 90d
  eep proxylet sign echo.wasm --key ci.key --expires 2027-01-01

The signature is minisign's: `minisign -V -p keys/isp-a.pub -m echo.wasm` verifies it.

Environment:
  EEP_KEY_PASSWORD   the key's password, where nobody can be asked")]
pub(super) struct Args {
    /// The proxylet.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The secret key.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// When the signature ceases to count: a date, a time in UTC, or from now on as 90d or 12h.
    #[arg(long, value_name = "DATE|DURATION", value_parser = moment)]
    expires: Option<SystemTime>,
    /// Answer in JSON.
    #[arg(long)]
    pub(super) json: bool,
}

fn moment(text: &str) -> Result<SystemTime, String> {
    let now = SystemTime::now();
    let after = || humantime::parse_duration(text).ok().and_then(|d| now.checked_add(d));
    match date_of(text).or_else(after) {
        Some(at) if at > now => Ok(at),
        Some(_) => Err("that is not in the future".to_owned()),
        None => Err("write 2027-01-01, 2027-01-01T12:00:00Z, 90d or 12h".to_owned()),
    }
}

pub(super) fn run(args: &Args) -> Outcome {
    let code = read(&args.file, CODE_BYTES_MAX)?;
    // What is signed is a proxylet, and not what lay beside it.
    inspect(&code).map_err(|e| refusals::load(&Source::File(args.file.clone()), &e))?;
    let key = key_file::open(&args.key)?;
    // Who signs the same file at the same time waits, and then adds to what is there.
    let alone = File::open(&args.file).map_err(|e| unreadable(&args.file, &e))?;
    alone.lock().map_err(|e| unreadable(&args.file, &e))?;
    let beside = signature_file(&args.file);
    let known = match std::fs::exists(&beside) {
        Ok(false) => Signatures::default(),
        _ => Signatures::parse(&read(&beside, SIGNATURES_BYTES_MAX)?).map_err(|e| {
            Problem::new("bad-signatures", 422, e.to_string())
                .at(beside.display().to_string())
                .fix("remove the file to begin anew")
        })?,
    };
    let name = args.file.file_name().unwrap_or_default().to_string_lossy();
    let made = key.sign(&code, &name, args.expires).map_err(|e| {
        Problem::new("system", 500, format!("the signature could not be made: {e}"))
            .fix("see what it names, and try again")
    })?;
    let all = known.with(made);
    let whole = std::path::absolute(&beside).map_err(|e| unreadable(&beside, &e))?;
    write_whole(&whole, all.text().as_bytes()).map_err(Box::<Problem>::from)?;
    // Signatures are for everybody who may read the code.
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&beside, readable).map_err(|e| unreadable(&beside, &e))?;
    let (digest, signers) = (Digest::of(&code), all.iter().map(|s| s.key().to_string()).collect::<Vec<_>>());
    if args.json {
        json(&json!({"file": args.file, "sha256": digest, "signatures": beside, "key": key.id().to_string(),
            "signers": signers}));
    } else {
        line(&format!("{}  signed by {}", beside.display(), signers.join(", ")));
    }
    Ok(())
}

/// Where the signatures of a file lie.
pub(super) fn signature_file(file: &Path) -> PathBuf {
    let mut path = file.to_owned().into_os_string();
    path.push(SIGNATURE_SUFFIX);
    path.into()
}

/// A file, whole.
pub(super) fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Box<Problem>> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes))
        .map_err(|e| unreadable(path, &e))?;
    if bytes.len() as u64 > bytes_max {
        return Err(Problem::new("too-large", 422, format!("the file has more than {bytes_max} bytes"))
            .at(path.display().to_string())
            .fix("is it the right file?"));
    }
    Ok(bytes)
}
