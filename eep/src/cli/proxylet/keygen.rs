//! `eep proxylet keygen`

use std::path::PathBuf;

use serde_json::json;

use crate::cli::output::{Outcome, json, line};
use crate::cli::proxylet::key_file::{create, new_password};
use crate::problem::Problem;
use crate::proxylet::trust::secret::{SecretError, SecretKey};

/// Make a pair of keys: NAME.key to sign with, which stays secret, and NAME.pub for those who trust it.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  eep proxylet keygen --out keys/isp-a --comment \"releases of isp-a\"
  eep proxylet keygen --out ci --no-password

Environment:
  EEP_KEY_PASSWORD   the password, where nobody can be asked")]
pub(super) struct Args {
    /// What to call the two files.
    #[arg(long, value_name = "NAME", default_value = "eep")]
    out: PathBuf,
    /// What the key is for.
    #[arg(long, value_name = "TEXT", default_value = "eep proxylet key")]
    comment: String,
    /// Do not lock the secret key with a password.
    #[arg(long)]
    no_password: bool,
    /// Answer in JSON.
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let comment: String = args.comment.chars().filter(|c| !c.is_control()).collect();
    let with = |suffix: &str| {
        let mut path = args.out.clone().into_os_string();
        path.push(suffix);
        PathBuf::from(path)
    };
    let (secret_file, public_file) = (with(".key"), with(".pub"));
    let failed = |e: SecretError| Problem::new("system", 500, format!("no key could be made: {e}"));
    let secret_comment = format!("secret key: {comment}");
    let (file, key) = if args.no_password {
        let key = SecretKey::generate().map_err(failed)?;
        (key.file(&secret_comment).map_err(failed)?, key)
    } else {
        SecretKey::generate_locked(&new_password()?, &secret_comment).map_err(failed)?
    };
    let public = key.public().map_err(failed)?;
    create(&secret_file, &file, 0o600)?;
    create(&public_file, &format!("untrusted comment: {comment}\n{public}\n"), 0o644)?;
    if args.json {
        json(&json!({"key": key.id().to_string(), "public": public,
            "secret_file": secret_file, "public_file": public_file}));
    } else {
        line(&format!("key {}", key.id()));
        line(&format!("  {}  secret: sign with it, and keep it off the nodes", secret_file.display()));
        line(&format!("  {}  public: name it in a node file's `trust.keys`", public_file.display()));
    }
    Ok(())
}
