//! Where peers are, as far as the node knows: in which autonomous system, by a table in a file, and in which region, by
//! what the nodes of the mesh say whose users they serve.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use policies::event::Region;
use serde::Serialize;

use crate::mesh::snapshot::Snapshot;
use crate::policy::prefixes::Prefixes;
use crate::policy::service::Told;
use crate::policy::systems::Systems;
use crate::problem::Problem;

/// What all services of a node share of it.
#[derive(Debug, Default)]
pub(crate) struct Whereabouts {
    table: Mutex<Option<Table>>,
    regions: Mutex<Arc<Regions>>,
    in_mesh: AtomicBool,
}

/// A table of autonomous systems, and the file that it is from.
#[derive(Debug)]
struct Table {
    path: PathBuf,
    systems: Arc<Systems>,
    /// How the file was at the last look, and when it was last taken or refused.
    looked: Stamp,
    handled: Stamp,
    trouble: Option<String>,
}

/// When a file was written, how long it is, which one it is; none where there is none.
type Stamp = Option<(SystemTime, u64, u64)>;

fn stamp(path: &Path) -> Stamp {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len(), meta.ino()))
}

/// The table of autonomous systems as it is.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct TableView {
    /// The file.
    pub file: String,
    /// How many prefixes are in it.
    pub prefixes: usize,
    /// Why the file as it is now is not in force, where it is not: what it said before is.
    pub stale: Option<String>,
}

/// What a node can know of where peers are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Knows {
    pub(crate) systems: bool,
    pub(crate) regions: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Whereabouts {
    /// Reads the table of a file, and looks after it from now on.
    ///
    /// # Errors
    /// It is none.
    pub(crate) fn read_table(&self, path: &Path) -> Result<(), Box<Problem>> {
        let at = stamp(path);
        let systems = Arc::new(Systems::read(path)?);
        let path = path.to_owned();
        *lock(&self.table) = Some(Table { path, systems, looked: at, handled: at, trouble: None });
        Ok(())
    }

    /// Notes that the node is in a mesh.
    pub(crate) fn joins(&self) {
        self.in_mesh.store(true, Relaxed);
    }

    pub(crate) fn knows(&self) -> Knows {
        Knows { systems: lock(&self.table).is_some(), regions: self.in_mesh.load(Relaxed) }
    }

    /// The table in force.
    pub(crate) fn systems(&self) -> Option<Arc<Systems>> {
        lock(&self.table).as_ref().map(|table| Arc::clone(&table.systems))
    }

    /// Takes over the table's file where it has changed and come to rest; what to tell. A file that is none leaves what it
    /// said before in force. Call it once a second.
    pub(crate) fn look(&self) -> Option<Told> {
        let path = {
            let mut table = lock(&self.table);
            let table = table.as_mut()?;
            let now = stamp(&table.path);
            if now == table.handled || std::mem::replace(&mut table.looked, now) != now {
                return None;
            }
            table.handled = now;
            table.path.clone()
        };
        // Whoever asks meanwhile is answered by the table as it was.
        let read = Systems::read(&path);
        let mut table = lock(&self.table);
        let table = table.as_mut()?;
        Some(match read {
            Ok(systems) => {
                let line =
                    format!("the table of autonomous systems was read anew: {} prefixes", systems.prefixes);
                table.systems = Arc::new(systems);
                table.trouble = None;
                Told::Info(line)
            }
            Err(problem) => {
                let what = match &problem.place {
                    Some(place) => format!("{place}: {}", problem.title),
                    None => problem.title.clone(),
                };
                let line = format!("the table of autonomous systems stays as it was: {what}");
                table.trouble = Some(what);
                Told::Warn(line)
            }
        })
    }

    /// The table as it is; none where there is none.
    pub(crate) fn view(&self) -> Option<TableView> {
        let table = lock(&self.table);
        table.as_ref().map(|table| TableView {
            file: table.path.display().to_string(),
            prefixes: table.systems.prefixes,
            stale: table.trouble.clone(),
        })
    }

    /// The regions of a view of the mesh; put together once for all services.
    pub(crate) fn regions(&self, view: &Snapshot) -> Arc<Regions> {
        let mut regions = lock(&self.regions);
        if regions.version != view.version {
            *regions = Arc::new(Regions::of(view));
        }
        Arc::clone(&regions)
    }

    /// The regions that were put together last.
    pub(crate) fn last_regions(&self) -> Arc<Regions> {
        Arc::clone(&lock(&self.regions))
    }
}

/// Who is in the region of this node, and who is elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Regions {
    /// The view that it is of.
    pub(crate) version: u64,
    prefixes: Prefixes,
    nodes: BTreeMap<String, Region>,
}

/// How regions stand in [`Prefixes`].
const SAME: u32 = 1;
const OTHER: u32 = 2;

impl Regions {
    fn of(view: &Snapshot) -> Self {
        let own = view.map.nodes.iter().find(|node| node.node.id == view.map.me.id);
        let own = own.and_then(|node| node.region.as_deref());
        let region = |region: &str| if Some(region) == own { Region::Same } else { Region::Other };
        let known =
            view.map.nodes.iter().filter_map(|n| Some((n.node.id.clone(), region(n.region.as_deref()?))));
        let mut nodes: BTreeMap<String, Region> = known.collect();
        nodes.insert(view.map.me.id.clone(), Region::Same);
        let mut served: Vec<_> = view
            .facts
            .iter()
            .filter_map(|(id, facts)| Some((nodes.get(&id.to_string())?, &facts.prefixes)))
            .flat_map(|(region, prefixes)| {
                let number = if *region == Region::Same { SAME } else { OTHER };
                prefixes.iter().map(move |prefix| (*prefix, number))
            })
            .collect();
        // Of two that are the same the later counts: ours.
        served.sort_by_key(|(_, number)| *number == SAME);
        Self { version: view.version, prefixes: Prefixes::new(served), nodes }
    }

    /// Where a peer is: a node of the mesh by itself, others by the prefix that their address is in.
    pub(crate) fn region(&self, address: Option<IpAddr>, node: Option<&str>) -> Region {
        if let Some(node) = node {
            return self.nodes.get(node).copied().unwrap_or_default();
        }
        match address.and_then(|address| self.prefixes.get(address)) {
            Some(SAME) => Region::Same,
            Some(_) => Region::Other,
            None => Region::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_taken_over_when_it_has_come_to_rest_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.txt");
        let whereabouts = Whereabouts::default();
        assert!(whereabouts.read_table(&path).is_err() && !whereabouts.knows().systems);
        std::fs::write(&path, "192.0.2.0/24 64500\n").unwrap();
        whereabouts.read_table(&path).unwrap();
        let system = || whereabouts.systems().unwrap().table.get("192.0.2.1".parse().unwrap());
        assert_eq!((whereabouts.look(), system()), (None, Some(64500)));
        std::fs::write(&path, "192.0.2.0/24 6450100\n").unwrap();
        assert_eq!((whereabouts.look(), system()), (None, Some(64500)), "it may still be written");
        assert!(matches!(whereabouts.look(), Some(Told::Info(_))));
        assert_eq!((whereabouts.look(), system()), (None, Some(6_450_100)));
        std::fs::write(&path, "192.0.2.0/24 6450100\nwhat is this\n").unwrap();
        let _ = whereabouts.look();
        let Some(Told::Warn(line)) = whereabouts.look() else { panic!("it is told") };
        assert!(line.contains("table.txt:2:"), "{line}");
        assert_eq!((whereabouts.look(), system()), (None, Some(6_450_100)));
        assert!(whereabouts.view().unwrap().stale.unwrap().contains(":2:"));
        std::fs::remove_file(&path).unwrap();
        let _ = whereabouts.look();
        assert!(matches!(whereabouts.look(), Some(Told::Warn(_))));
        std::fs::write(&path, "192.0.2.0/24 1\n").unwrap();
        let _ = whereabouts.look();
        assert!(matches!(whereabouts.look(), Some(Told::Info(_))));
        assert_eq!((whereabouts.view().unwrap().stale, system()), (None, Some(1)));
    }
}
