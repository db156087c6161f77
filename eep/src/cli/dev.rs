//! `eep dev`, and what `eep run --dev` does: new builds run as soon as they are there, and services say on the terminal
//! what they say.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::broadcast::error::RecvError;

use crate::cli::format::time;
use crate::cli::output::{BAD, DIM, GOOD, Outcome, note, paint, printable};
use crate::cli::run;
use crate::config::Source;
use crate::node::Node;
use crate::node::progress::Progress;
use crate::observe::log_ring::LogLine;
use crate::problem::Problem;
use crate::proxylet::build::{Built, build};

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often what was built is looked at: a few files, and somebody waits for what comes of it.
const BUILT_EVERY: Duration = Duration::from_millis(20);
/// Files of a project that are looked at.
const FILES_MAX: usize = 10_000;
/// Folders in which nothing is a source.
const NO_SOURCES: [&str; 4] = ["target", "node_modules", "eep-data", "__pycache__"];

/// When a file was written last and how long it is; none where it is not there.
pub(super) type Seen = Option<(SystemTime, u64)>;

/// Build a proxylet and run it on a node that is started for it.
///
/// What the proxylet logs is shown here. The node's data lies beside what is built, and its API is served as that of
/// `eep run`; signatures are not checked.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  eep dev
  eep dev hello --watch")]
pub(super) struct Args {
    /// The project's folder.
    #[arg(value_name = "DIR", default_value = ".")]
    project: PathBuf,
    /// Build again whenever a file of the project changes, and have the new build take over from the one that runs.
    #[arg(long)]
    watch: bool,
    /// Where to serve the API: a loopback address; port 0 lets the system choose [default: 127.0.0.1:8346].
    #[arg(long, value_name = "ADDR:PORT", value_parser = run::address)]
    api: Option<SocketAddr>,
    /// Say in JSON what runs where.
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let mut before = sources(&args.project);
    let built = loop {
        match build(&args.project, None) {
            Ok(built) => break built,
            Err(error) if args.watch => {
                note(&format!("{} {}", paint(BAD, "no build:"), printable(&error.to_string())));
                before = changed(&args.project, &before);
            }
            Err(error) => return Err(Problem::new("build-failed", 422, error.to_string()).into()),
        }
    };
    let wasm = built.path.canonicalize().unwrap_or(built.path);
    let name = wasm.file_stem().unwrap_or_default().to_owned();
    let target = wasm.parent().and_then(Path::parent).unwrap_or(Path::new("."));
    let data = target.join("eep-dev").join(name);
    std::fs::create_dir_all(&data).map_err(|e| {
        Problem::new("system", 500, e.to_string())
            .at(data.display().to_string())
            .fix("check the folder around it")
    })?;
    if args.watch {
        let project = args.project.clone();
        std::thread::spawn(move || build_again(&project, before));
    }
    run::run(&run::Args::developing(Source::File(wasm), data, args.api, args.json))
}

/// Builds whenever something has changed, as long as the process lives; the node takes over what appears.
fn build_again(project: &Path, mut before: HashMap<PathBuf, Seen>) {
    loop {
        before = changed(project, &before);
        let began = Instant::now();
        match build(project, None) {
            Ok(Built { bytes, .. }) => {
                let took = format!("built in {:.1} s:", began.elapsed().as_secs_f64());
                note(&format!("{} {bytes} bytes", paint(GOOD, &took)));
            }
            Err(error) => note(&format!("{} {}", paint(BAD, "no build:"), printable(&error.to_string()))),
        }
    }
}

/// Waits until the sources are others than before and no more are being written; how they are then.
fn changed(project: &Path, before: &HashMap<PathBuf, Seen>) -> HashMap<PathBuf, Seen> {
    let mut last = before.clone();
    loop {
        std::thread::sleep(LOOK_EVERY);
        let now = sources(project);
        if now == last && now != *before {
            return now;
        }
        last = now;
    }
}

/// The files of a project that something may be built of.
fn sources(project: &Path) -> HashMap<PathBuf, Seen> {
    let (mut found, mut folders) = (HashMap::new(), vec![project.to_owned()]);
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let (name, path) = (entry.file_name(), entry.path());
            let name = name.to_string_lossy();
            if name.starts_with('.') || NO_SOURCES.contains(&&*name) || found.len() >= FILES_MAX {
                continue;
            }
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(path),
                Ok(_) => {
                    found.insert(path.clone(), written(&path));
                }
                Err(_) => {}
            }
        }
    }
    found
}

/// Replaces services by the new builds of their files, until the node ends.
///
/// Each source comes with how it was [`seen`] before the node took it: what has changed since is new.
pub(super) async fn watch(node: Arc<Node>, mut sources: Vec<(Source, Seen)>) {
    let mut ending = node.ending();
    loop {
        tokio::select! {
            () = tokio::time::sleep(BUILT_EVERY) => {}
            _ = ending.wait_for(|ending| *ending) => return,
        }
        for (source, last) in &mut sources {
            let now = seen(source);
            if now == *last || now.is_none() {
                continue;
            }
            *last = now;
            let (starts, serves) = (OnceLock::new(), OnceLock::new());
            let on = |step| match step {
                Progress::Starting => drop(starts.set(())),
                Progress::Proving { .. } => drop(serves.set(SystemTime::now())),
                Progress::Fetching { .. } | Progress::Preparing => {}
            };
            match node.ensure(source, &on).await {
                Ok(view) if starts.get().is_none() => {
                    note(&format!("{} {} is as it was", paint(GOOD, "new build:"), view.status.name));
                }
                Ok(view) => {
                    let (name, digest) = (&view.status.name, view.status.digest.to_string());
                    let serves = serves.into_inner().unwrap_or_else(SystemTime::now);
                    let built = now.map_or(serves, |(built, _)| built);
                    // Where the clock was set back meanwhile, nobody can tell.
                    let after = serves.duration_since(built).unwrap_or_default().as_secs_f64();
                    let runs = format!("{name} runs {after:.2} s after it was built, sha256 {digest}");
                    note(&format!("{} {runs}", paint(GOOD, "new build:")));
                }
                Err(problem) => {
                    note(&format!("{} {}", paint(BAD, "new build:"), printable(&problem.to_string())))
                }
            }
        }
    }
}

/// How a source looks now; one that is no file never changes.
pub(super) fn seen(source: &Source) -> Seen {
    let Source::File(path) = source else { return None };
    written(path)
}

fn written(path: &Path) -> Seen {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

/// Shows what all services say, until the node ends.
pub(super) async fn logs(node: Arc<Node>) {
    let mut ending = node.ending();
    let mut followed = HashMap::new();
    loop {
        for view in node.list().services {
            let name = view.status.name;
            let Ok(log) = node.log(&name) else { continue };
            // A service that was unloaded and loaded again has another log.
            let same = followed
                .get(&name)
                .is_some_and(|known: &std::sync::Weak<_>| known.ptr_eq(&Arc::downgrade(&log)));
            if same {
                continue;
            }
            followed.insert(name.clone(), Arc::downgrade(&log));
            let (tail, mut new) = log.tail_and_follow(usize::MAX);
            tokio::spawn(async move {
                tail.iter().for_each(|entry| show(&name, entry));
                loop {
                    match new.recv().await {
                        Ok(entry) => show(&name, &entry),
                        Err(RecvError::Lagged(lost)) => note(&format!("{name}: {lost} lines are not shown")),
                        Err(RecvError::Closed) => return,
                    }
                }
            });
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            _ = ending.wait_for(|ending| *ending) => return,
        }
    }
}

fn show(name: &str, entry: &LogLine) {
    let level = format!("{:?}", entry.level).to_lowercase();
    note(&format!("{} {name} {level:<5} {}", paint(DIM, &time(entry.at_s)), printable(&entry.text)));
}
