//! Many proxylets on one node, none of which has anything to do: what each of them takes.

use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use eep_tests::node::sha256;
use serde_json::{Value, json};

use crate::process::{Usage, usage};
use crate::report::Report;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The node's binary
    #[arg(long, value_name = "FILE")]
    eep: PathBuf,
    /// A proxylet whose configuration has `listen`, such as echo
    #[arg(long, value_name = "FILE")]
    proxylet: PathBuf,
    /// How many services run it
    #[arg(long, default_value_t = 1_000)]
    services: usize,
    /// Seconds to watch them do nothing
    #[arg(long, default_value_t = 10.0)]
    stay: f64,
}

pub(crate) fn run(args: &Args) -> Result<Report, String> {
    let code = std::fs::read(&args.proxylet).map_err(|e| format!("{}: {e}", args.proxylet.display()))?;
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let (bare, _) = Node::start(args, folder.path(), "bare", &[])?.rested()?;
    let proxylet = args.proxylet.canonicalize().map_err(|e| e.to_string())?;
    let entry = |n: usize| {
        json!({
            "name": format!("idle-{n}"),
            "proxylet": { "url": format!("file://{}", proxylet.display()), "sha256": sha256(&code) },
            "config": { "listen": "127.0.0.1:0" },
        })
    };
    let services: Vec<Value> = (0..args.services).map(entry).collect();
    let began = Instant::now();
    let node = Node::start(args, folder.path(), "full", &services)?;
    let up_in = began.elapsed();
    if node.running != args.services {
        return Err(format!("{} of {} services run", node.running, args.services));
    }
    let (full, idle_cpu) = node.rested()?;
    let grown = full.resident_bytes.saturating_sub(bare.resident_bytes);
    let mut report = Report::new("proxylets");
    report
        .setting("services", args.services)
        .setting("bytes", code.len())
        .figure("resident", full.resident_bytes as f64 / f64::from(1 << 20), "MiB")
        .figure("resident_without", bare.resident_bytes as f64 / f64::from(1 << 20), "MiB")
        .figure("resident_per_service", grown as f64 / 1024.0 / args.services.max(1) as f64, "KiB")
        .figure("threads", f64::from(full.threads), "threads")
        .figure("started_in", up_in.as_secs_f64(), "s")
        .figure("idle_cpu", idle_cpu * 100.0, "% of a core");
    Ok(report)
}

/// A node; killed when dropped.
struct Node {
    child: Child,
    running: usize,
    stay: Duration,
}

impl Node {
    /// Starts a node with these services, and waits until it has begun with all of them.
    fn start(args: &Args, folder: &Path, name: &str, services: &[Value]) -> Result<Self, String> {
        let file = folder.join(format!("{name}.yaml"));
        let text = json!({ "listen": { "api": "127.0.0.1:0" }, "services": services }).to_string();
        std::fs::write(&file, text).map_err(|e| e.to_string())?;
        let mut command = Command::new(&args.eep);
        command.args(["run", "--json", "--config"]).arg(&file).arg("--data").arg(folder.join(name));
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let child = child.map_err(|e| format!("{}: {e}", args.eep.display()))?;
        let mut node = Self { child, running: 0, stay: Duration::from_secs_f64(args.stay.max(1.0)) };
        let out = node.child.stdout.take().ok_or("the node has no output")?;
        // It says what runs where once it has begun with everything.
        let said = serde_json::Deserializer::from_reader(BufReader::new(out)).into_iter::<Value>().next();
        let said = said.and_then(Result::ok).ok_or("the node did not come up")?;
        let all = said["services"].as_array().map(Vec::as_slice).unwrap_or_default();
        node.running = all.iter().filter(|service| service["state"] == "running").count();
        Ok(node)
    }

    /// What it has used after some time without work, and the part of a core that it used meanwhile.
    fn rested(&self) -> Result<(Usage, f64), String> {
        let before = usage(self.child.id()).map_err(|e| e.to_string())?;
        std::thread::sleep(self.stay);
        let after = usage(self.child.id()).map_err(|e| e.to_string())?;
        // Threads that have ended meanwhile are in the first figure only.
        let spent = after.cpu.saturating_sub(before.cpu);
        Ok((after, spent.as_secs_f64() / self.stay.as_secs_f64()))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nobody to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
