//! `eep run --dev`: new builds run as soon as they are there, and services say on the terminal what they say.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::broadcast::error::RecvError;

use crate::cli::format::time;
use crate::cli::output::{BAD, DIM, GOOD, note, paint, printable};
use crate::config::Source;
use crate::node::Node;
use crate::observe::log_ring::LogLine;

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// When a file was written last and how long it is; none where it is not there.
type Seen = Option<(SystemTime, u64)>;

/// Replaces services by the new builds of their files, until the node ends.
pub(super) async fn watch(node: Arc<Node>, sources: Vec<Source>) {
    let mut ending = node.ending();
    let mut last: Vec<Seen> = sources.iter().map(seen).collect();
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            _ = ending.wait_for(|ending| *ending) => return,
        }
        for (source, last) in sources.iter().zip(&mut last) {
            let now = seen(source);
            if now == *last || now.is_none() {
                continue;
            }
            *last = now;
            match node.ensure(source).await {
                Ok(view) => {
                    let (name, digest) = (&view.status.name, view.status.digest.to_string());
                    note(&format!("{} {name} runs sha256 {digest}", paint(GOOD, "new build:")));
                }
                Err(problem) => {
                    note(&format!("{} {}", paint(BAD, "new build:"), printable(&problem.to_string())))
                }
            }
        }
    }
}

fn seen(source: &Source) -> Seen {
    let Source::File(path) = source else { return None };
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
