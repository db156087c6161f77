//! What gtk-gnutella is told before it starts.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddrV4;
use std::path::Path;

use super::put;
use crate::peer::SharedFile;

/// What it is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Leaf,
    Ultrapeer,
}

/// How to start it.
#[derive(Clone, Debug)]
pub struct Options {
    pub mode: Mode,
    /// Whether this is the build with a screen.
    pub gui: bool,
    pub files: Vec<SharedFile>,
}

impl Options {
    #[must_use]
    pub fn new(mode: Mode) -> Self {
        Self { mode, gui: false, files: Vec::new() }
    }

    /// Makes its folders in `folder`.
    pub(super) fn write(&self, folder: &Path, address: SocketAddrV4) {
        for name in ["conf", "home", "run", "shared", "incomplete", "done", "corrupt"] {
            fs::create_dir_all(folder.join(name)).expect("a folder of our own");
        }
        for file in &self.files {
            put(&folder.join("shared").join(&file.name), &file.bytes);
        }
        let mode = match self.mode {
            Mode::Leaf => "0",
            Mode::Ultrapeer => "2",
        };
        let path = |name: &str| format!("\"{}\"", folder.join(name).display());
        let (port, ip) = (address.port().to_string(), format!("\"{}\"", address.ip()));
        let mut config = String::new();
        let settings: &[(&str, &str)] = &[
            ("configured_peermode", mode),
            ("current_peermode", mode),
            ("listen_port", &port),
            ("network_protocol", "4"),
            ("force_local_ip", "TRUE"),
            ("forced_local_ip", &ip),
            ("bind_to_forced_local_ip", "TRUE"),
            ("online_mode", "TRUE"),
            ("allow_firewalled_ultra", "TRUE"),
            ("allow_private_network_connection", "TRUE"),
            ("enable_dht", "FALSE"),
            ("enable_g2", "FALSE"),
            ("enable_upnp", "FALSE"),
            ("enable_natpmp", "FALSE"),
            ("enable_local_socket", "TRUE"),
            ("prefer_compressed_gnet", "FALSE"),
            // It looks for hosts every second otherwise.
            ("stop_host_get", "TRUE"),
            // A leaf that takes itself for firewalled does not answer others that do.
            ("is_firewalled", "FALSE"),
            ("is_udp_firewalled", "FALSE"),
            ("max_uploads_ip", "20"),
            ("max_simultaneous_uploads", "20"),
            // The hits that a search gets stand in the log and nowhere else.
            ("log_query_hits", "TRUE"),
            ("log_query_hit_records", "TRUE"),
            ("shared_dirs", &path("shared")),
            ("store_downloading_files_to", &path("incomplete")),
            ("move_downloading_files_to", &path("done")),
            ("move_corrupted_files_to", &path("corrupt")),
        ];
        for (key, value) in settings {
            writeln!(config, "{key} = {value}").expect("writing to memory");
        }
        put(&folder.join("conf/config_gnet"), config.as_bytes());
        // Otherwise a few connections in a minute from one address are a nuisance to it.
        put(&folder.join("conf/whitelist"), b"0.0.0.0/1\n128.0.0.0/1\n");
        if self.gui {
            let gui = "confirm_quit = FALSE\nstatus_icon_enabled = FALSE\nsearch_accumulation_period = 1\n";
            put(&folder.join("conf/config_gui"), gui.as_bytes());
        }
    }
}
