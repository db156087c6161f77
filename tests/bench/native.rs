//! Runs the virtual peer without a node, to compare a node's figures with.

use std::convert::Infallible;
use std::net::SocketAddr;

use avp::config::Config;
use eep_tests::native::Shell;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to listen
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:6346")]
    listen: SocketAddr,
    /// Settings of the virtual peer, as JSON
    #[arg(
        long,
        value_name = "JSON",
        default_value = r#"{"allow-private-addresses": true, "leaves": 20000, "ultrapeers": 64}"#
    )]
    config: String,
}

/// Runs until the process is ended.
pub(crate) fn run(args: &Args) -> Result<Infallible, String> {
    let mut config: Config = serde_json::from_str(&args.config).map_err(|e| format!("--config: {e}"))?;
    config.listen = args.listen;
    let mut shell = Shell::new(config).map_err(|e| format!("{}: {e}", args.listen))?;
    eprintln!("the virtual peer listens on {}, process {}", shell.address(), std::process::id());
    loop {
        shell.turn().map_err(|e| e.to_string())?;
    }
}
