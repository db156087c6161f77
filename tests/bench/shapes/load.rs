//! From a URL to the first byte that the proxylet serves.
//!
//! A node is told of a URL over its API; the code is fetched over HTTP, verified, compiled and started; meanwhile a
//! leaf dials until its handshake gets an answer. The clock runs from the request to the first byte of that answer.

use std::fs::{self, DirEntry};
use std::io::{Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use eep_tests::http::{self, Served, Server};
use eep_tests::loopback::Loopback;
use eep_tests::node::{GNUTELLA_PORT, Node, sha256};
use serde_json::json;

use crate::report::Report;

/// How long a handshake may stay without an answer.
const LIMIT: Duration = Duration::from_secs(60);
/// Between two attempts to connect while nobody listens yet, at least.
const RETRY: Duration = Duration::from_micros(50);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The node's binary
    #[arg(long, value_name = "FILE")]
    pub(crate) eep: PathBuf,
    /// The Gnutella peer's code
    #[arg(long, value_name = "FILE")]
    pub(crate) proxylet: PathBuf,
    /// Nodes that have never seen the code; each then loads it twice more, before and after it was killed
    #[arg(long, default_value_t = 5)]
    pub(crate) runs: usize,
}

pub(crate) fn run(args: &Args) -> Result<Report, String> {
    let code = fs::read(&args.proxylet).map_err(|e| format!("{}: {e}", args.proxylet.display()))?;
    let net = Loopback::claim();
    let server = Server::start(net.at(0)).map_err(|e| e.to_string())?;
    let url = server.put("/peer.wasm", Served::Whole(code.clone()));
    let mut uncompiled = Vec::new();
    let mut cached = Vec::new();
    let mut restarted = Vec::new();
    for _ in 0..args.runs.max(1) {
        let mut node = Node::start_binary(&args.eep, &net);
        let listen = SocketAddrV4::new(net.ip(), GNUTELLA_PORT);
        let body = json!({
            "name": "edge",
            "proxylet": { "url": url, "sha256": sha256(&code) },
            "config": { "listen": listen.to_string() },
        })
        .to_string();
        uncompiled.push(load(node.api(), &body, listen.into())?);
        wait_for_cache(&node)?;
        unload(node.api())?;
        cached.push(load(node.api(), &body, listen.into())?);
        unload(node.api())?;
        // What is cached is on disk.
        node.kill();
        node.run();
        restarted.push(load(node.api(), &body, listen.into())?);
    }
    uncompiled.sort();
    cached.sort();
    restarted.sort();
    let ms = |times: &[Duration], at: usize| times[at].as_secs_f64() * 1e3;
    let mut report = Report::new("load");
    report
        .setting("bytes", code.len())
        .setting("runs", args.runs)
        .figure("uncompiled_p50", ms(&uncompiled, uncompiled.len() / 2), "ms")
        .figure("uncompiled_max", ms(&uncompiled, uncompiled.len() - 1), "ms")
        .figure("cached_p50", ms(&cached, cached.len() / 2), "ms")
        .figure("cached_max", ms(&cached, cached.len() - 1), "ms")
        .figure("restarted_p50", ms(&restarted, restarted.len() / 2), "ms")
        .figure("restarted_max", ms(&restarted, restarted.len() - 1), "ms");
    Ok(report)
}

fn load(api: SocketAddr, body: &str, listen: SocketAddr) -> Result<Duration, String> {
    let began = Instant::now();
    std::thread::scope(|scope| {
        let first_byte = scope.spawn(move || dial(listen, began));
        let answer =
            http::request(api, "POST", "/v1/services", &["Content-Type: application/json"], body.as_bytes())
                .map_err(|e| format!("load: {e}"))?;
        if answer.status != 201 {
            return Err(format!("load: {}", String::from_utf8_lossy(&answer.body)));
        }
        first_byte.join().map_err(|_| "a thread panicked".to_owned())?
    })
}

fn dial(listen: SocketAddr, began: Instant) -> Result<Duration, String> {
    while began.elapsed() < LIMIT {
        let Ok(mut stream) = TcpStream::connect(listen) else {
            // As long as makes a hundredth of the figure: who dials on and on takes a core from those who compile.
            std::thread::sleep(RETRY.max(began.elapsed() / 100));
            continue;
        };
        let mut byte = [0];
        stream.set_read_timeout(Some(LIMIT)).map_err(|e| e.to_string())?;
        stream
            .write_all(b"GNUTELLA CONNECT/0.6\r\nX-Ultrapeer: False\r\n\r\n")
            .and_then(|()| stream.read_exact(&mut byte))
            .map_err(|e| format!("the first byte: {e}"))?;
        return Ok(began.elapsed());
    }
    Err(format!("nobody listens on {listen}"))
}

/// Waits until the code was compiled for speed, serves, and is on disk.
fn wait_for_cache(node: &Node) -> Result<(), String> {
    let folder = node.data().join("cache");
    let began = Instant::now();
    while began.elapsed() < LIMIT {
        let answer = http::get(node.api(), "/v1/services/edge/logs").map_err(|e| format!("logs: {e}"))?;
        let serves = String::from_utf8_lossy(&answer.body).contains("compiled for speed");
        // An entry appears under its name when it is whole.
        let kept = |entry: DirEntry| entry.path().extension().is_some_and(|kind| kind == "cwasm");
        if serves && fs::read_dir(&folder).is_ok_and(|entries| entries.flatten().any(kept)) {
            return Ok(());
        }
        std::thread::sleep(RETRY);
    }
    Err(format!("the code was not compiled for speed and kept in {}", folder.display()))
}

fn unload(api: SocketAddr) -> Result<(), String> {
    let answer =
        http::request(api, "DELETE", "/v1/services/edge", &[], &[]).map_err(|e| format!("unload: {e}"))?;
    if answer.status >= 300 {
        return Err(format!("unload: {}", String::from_utf8_lossy(&answer.body)));
    }
    Ok(())
}
