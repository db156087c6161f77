//! Nodes that are remembered for the next start, so that a node comes back into the mesh where its seeds are down, or where
//! it was a seed itself. One address a line; the file may be deleted at any time.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::mesh::core::Core;
use crate::state::directory::write_whole;

/// Addresses in the file.
const REMEMBERED_MAX: usize = 32;

/// The addresses in the file; lines that are none are passed over.
pub(super) fn read(file: &Path) -> Vec<SocketAddr> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).take(REMEMBERED_MAX).collect()
}

/// What was written last.
#[derive(Debug)]
pub(super) struct Memory {
    file: PathBuf,
    written: Vec<SocketAddr>,
}

impl Memory {
    pub(super) fn of(file: PathBuf) -> Self {
        Self { file, written: Vec::new() }
    }

    /// Writes down who is connected, where that has changed. Where nobody is, what was known stays.
    pub(super) fn keep(&mut self, core: &Core) {
        let now: Vec<SocketAddr> =
            core.links.values().map(|link| link.contact.addr).take(REMEMBERED_MAX).collect();
        if now.is_empty() || now == self.written {
            return;
        }
        let text: String = now.iter().map(|address| format!("{address}\n")).collect();
        self.written = now;
        let file = self.file.clone();
        tokio::task::spawn_blocking(move || {
            // Certificates may lie elsewhere, and the folder not be there; what is wrong with it is told by the writing.
            let _ = file.parent().map(std::fs::create_dir_all);
            if let Err(error) = write_whole(&file, text.as_bytes()) {
                tracing::warn!(%error, "nodes are not remembered for the next start");
            }
        });
    }
}
