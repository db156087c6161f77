//! `eep run`

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::api::serve::Listening;
use crate::cli::dev;
use crate::cli::output::{BOLD, DIM, Failure, Outcome, WARN, colours, json, note, paint, print};
use crate::cli::service::{Service, read};
use crate::config::node_file::{DATA_DIR, NodeFile, api_address};
use crate::config::{ServiceEntry, ServiceName, Source};
use crate::mesh::{Mesh, MeshSettings};
use crate::node::{Node, Recalled};
use crate::problem::Problem;
use crate::state::State;

/// Threads for the API and for loading. Services have threads of their own.
const WORKERS: usize = 2;
/// The first pause before a service of the node file that could not be loaded is tried again; it doubles.
const AGAIN_FIRST: Duration = Duration::from_secs(2);
/// The longest pause.
const AGAIN_LONGEST: Duration = Duration::from_secs(300);

/// Start a node.
///
/// Services that were loaded before come back. Without a node file its data lies in ./eep-data and its API is served
/// on 127.0.0.1:8346.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  eep run
  eep run --config /etc/eep/eep.yaml
  eep run --data /tmp/node --api 127.0.0.1:0 --service target/proxylets/echo.wasm
  eep run --dev --service target/proxylets/echo.wasm

Environment:
  EEP_LOG   what the node says of itself on stderr, such as info or eep=debug (default warn)")]
pub(super) struct Args {
    /// The node file; see `eep check`.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The data directory [default: ./eep-data, or what the node file says].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where to serve the API: a loopback address; port 0 lets the system choose [default: 127.0.0.1:8346, or what
    /// the node file says].
    #[arg(long, value_name = "ADDR:PORT", value_parser = address)]
    api: Option<SocketAddr>,
    /// Run this proxylet under its own name, with what it asks for granted. May be given more than once.
    #[arg(long = "service", value_name = "URL|FILE")]
    services: Vec<Source>,
    /// For developing proxylets: take over each new build of a --service file while the node runs, show here what all
    /// services say, and check no signatures.
    #[arg(long)]
    dev: bool,
    /// Say in JSON what runs where.
    #[arg(long)]
    pub(super) json: bool,
}

impl Args {
    /// A node for developing one proxylet, whose data lies in a folder of its own.
    pub(super) fn developing(service: Source, data: PathBuf, api: Option<SocketAddr>, json: bool) -> Self {
        Self { config: None, data: Some(data), api, services: vec![service], dev: true, json }
    }
}

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    api_address(text).map_err(|words| words.replace('\n', "; "))
}

pub(super) fn run(args: &Args) -> Outcome {
    let file = match &args.config {
        Some(path) => NodeFile::read(path)?,
        None => NodeFile::default(),
    };
    let filter = EnvFilter::try_from_env("EEP_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours())
        .with_target(false)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_name("eep")
        .enable_all()
        .build()
        .map_err(|e| {
            Problem::new("system", 500, format!("cannot begin: {e}"))
                .fix("check this user's limits: ulimit -a")
        })?;
    let done = runtime.block_on(serve(args, &file));
    // What still runs has been told to end and was waited for; a fetch that hangs is not.
    runtime.shutdown_background();
    done
}

async fn serve(args: &Args, file: &NodeFile) -> Outcome {
    let (data, data_is_default) = match args.data.as_ref().or(file.node.data.as_ref()) {
        Some(data) => (data.clone(), false),
        None => (PathBuf::from(DATA_DIR), true),
    };
    let state = State::open(&data).map_err(Box::<Problem>::from)?;
    let listening = Listening::open(state.directory().path(), args.api.unwrap_or(file.listen.api)).await?;
    let name = file.node.name.as_ref().map_or_else(machine_name, ToString::to_string);
    let mut node = Node::new(name, state)?;
    match file.trust() {
        Some(_) if args.dev => {
            note(&format!("{} --dev: signatures are not checked", paint(WARN, "warning:")))
        }
        Some(trust) => node = node.trusting(trust),
        None => {}
    }
    if let Some(table) = &file.addresses.systems {
        node.knows_systems(table)?;
    }
    let node = Arc::new(node);
    let recalled = node.recall()?;
    node.serves_requests();
    if let Some(address) = listening.address() {
        node.serves_api_at(address);
    }
    let socket = listening.socket().display().to_string();
    if let Some(settings) = MeshSettings::of(file, &data) {
        node.govern_mesh(&settings).await?;
        node.joins(Mesh::start(settings, node.mesh_policy(), node.ending())?);
        node.mesh()?.open_links(&node.ending()).await?;
        let server = Arc::clone(&node);
        tokio::spawn(async move { server.serve_streams().await });
        let looker = Arc::clone(&node);
        tokio::spawn(async move { looker.look_around().await });
        let linker = Arc::clone(&node);
        tokio::spawn(async move { linker.look_after_links().await });
        let (owner, holder) = (Arc::clone(&node), Arc::clone(&node));
        tokio::spawn(async move { owner.look_after_placements().await });
        tokio::spawn(async move { holder.keep_leases().await });
    }
    let serving = tokio::spawn(listening.serve(Arc::clone(&node)));
    let keeper = Arc::clone(&node);
    tokio::spawn(async move { keeper.look_after().await });
    let keeper = Arc::clone(&node);
    tokio::spawn(async move { keeper.look_after_policies().await });
    let mut stop = Signals::new()?;

    let begun = tokio::select! {
        begun = begin(&node, recalled, args, file) => begun,
        () = stop.wait() => Ok(()),
    };
    if begun.is_ok() && !stop.came {
        tell(&node, &socket, (!data_is_default).then_some(&data), args.json)?;
        stop.wait().await;
    }
    if !args.json && begun.is_ok() {
        note("ending: services save their state; press Ctrl-C again to end at once");
    }
    tokio::select! {
        () = node.end() => {}
        () = stop.wait() => {}
    }
    match serving.await {
        Ok(Ok(())) => begun,
        Ok(Err(e)) => Err(Problem::new("api", 500, format!("the API could not be served on: {e}")).into()),
        Err(e) => Err(Problem::new("internal", 500, format!("the API broke off: {e}")).into()),
    }
}

/// Brings back what was wanted, applies the node file, runs what was named on the command line.
async fn begin(
    node: &Arc<Node>,
    recalled: Recalled<'_>,
    args: &Args,
    file: &NodeFile,
) -> Result<(), Failure> {
    node.restore(recalled).await;
    for entry in file.services() {
        if let Some(name) = &entry.name {
            let (node, name, entry) = (Arc::clone(node), name.clone(), entry.clone());
            apply(node, name, entry).await;
        }
    }
    let here = std::env::current_dir()
        .map_err(|e| Problem::new("system", 500, format!("the current directory cannot be read: {e}")))?;
    let mut sources = Vec::new();
    for source in &args.services {
        let source = source.clone().under(&here);
        let seen = dev::seen(&source);
        node.ensure(&source, &|_| {}).await?;
        sources.push((source, seen));
    }
    if args.dev {
        tokio::spawn(dev::watch(Arc::clone(node), sources));
        tokio::spawn(dev::logs(Arc::clone(node)));
    }
    Ok(())
}

/// Applies an entry of the node file; where that fails, says so and tries again in the background: a node does not
/// stay down because one of its services cannot be had.
async fn apply(node: Arc<Node>, name: ServiceName, entry: ServiceEntry) {
    if let Err(problem) = node.apply(&name, &entry).await {
        note(&format!(
            "{} the service {name} is not as the node file says: {problem}",
            paint(WARN, "warning:")
        ));
        tokio::spawn(async move {
            let mut pause = AGAIN_FIRST;
            let mut ending = node.ending();
            loop {
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    _ = ending.wait_for(|ending| *ending) => return,
                }
                match node.apply(&name, &entry).await {
                    Ok(_) => return,
                    Err(problem) => tracing::warn!(service = %name, %problem, "not as the node file says"),
                }
                pause = (pause * 2).min(AGAIN_LONGEST);
            }
        });
    }
}

/// Says what runs where, and what to type next.
fn tell(node: &Node, socket: &str, data: Option<&PathBuf>, as_json: bool) -> Outcome {
    let (info, list) = (node.info(), node.list());
    if as_json {
        json(&serde_json::json!({"node": info, "control": socket, "services": list.services}));
        return Ok(());
    }
    let key = |key: &str| paint(DIM, &format!("{key:<11}"));
    let mut out = format!("{} eep {}, process {}\n", paint(BOLD, &info.name), info.version, info.pid);
    out += &format!("  {}{}\n", key("API"), info.api.as_deref().unwrap_or("-"));
    out += &format!("  {}{socket}\n", key("control"));
    if let Some(mesh) = &info.mesh {
        out += &format!("  {}{} as {}@{}\n", key("mesh"), mesh.address, mesh.name, mesh.domain);
    }
    for view in &list.services {
        let service: Service = read(&serde_json::to_value(view).unwrap_or_default())?;
        out += &format!("\n{}", service.introduce());
    }
    let data = data.map(|data| format!(" --data {}", data.display())).unwrap_or_default();
    out += "\nNext, in another terminal:\n";
    match list.services.first() {
        Some(first) => {
            let name = &first.status.name;
            out += &format!("  eep list{data}\n  eep status {name}{data}\n  eep logs {name} -f{data}\n");
        }
        None => out += &format!("  eep load URL --sha256 HEX{data}\n  eep list{data}\n"),
    }
    out += "Ctrl-C ends the node; its services come back with `eep run`.\n";
    print(&out);
    Ok(())
}

/// SIGINT and SIGTERM.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    came: bool,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let refuse = |e| Problem::new("system", 500, format!("signals cannot be received: {e}"));
        let interrupt = signal(SignalKind::interrupt()).map_err(refuse)?;
        let terminate = signal(SignalKind::terminate()).map_err(refuse)?;
        Ok(Self { interrupt, terminate, came: false })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        self.came = true;
    }
}

/// What the machine is called.
pub(super) fn machine_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "eep".to_owned() } else { name.to_owned() }
}
