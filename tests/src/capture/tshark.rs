//! Wireshark's Gnutella dissector as a reader that owes us nothing.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::until;

/// What the dissector made of a capture.
#[derive(Debug, Default)]
pub struct Reading {
    /// The payload types of all messages that it found, in order.
    pub kinds: Vec<u8>,
    /// The texts of all queries.
    pub searches: Vec<String>,
    /// The names in all hits.
    pub names: Vec<String>,
    /// Frames that it calls malformed, or has an error or a warning about: their number and what it says.
    pub complaints: Vec<String>,
}

/// The dissector's largest message: longer ones it takes for a file transfer.
pub const MESSAGE_MAX: usize = 1_500;

/// Reads a capture whose Gnutella connections have `port` at one end.
///
/// # Panics
/// Where tshark cannot be run; the message says how to install it.
#[must_use]
pub fn read(capture: &Path, port: u16) -> Reading {
    let rows = run(
        capture,
        port,
        "gnutella",
        &["gnutella.header.payload", "gnutella.query.search", "gnutella.queryhit.hit.name"],
    );
    let mut reading = Reading::default();
    for row in rows {
        let values = |i: usize| row.get(i).map(String::as_str).unwrap_or_default().split('\u{1}');
        reading.kinds.extend(values(0).filter_map(number));
        reading.searches.extend(values(1).filter(|v| !v.is_empty()).map(str::to_owned));
        reading.names.extend(values(2).filter(|v| !v.is_empty()).map(str::to_owned));
    }
    let complaints = run(
        capture,
        port,
        "_ws.malformed || (gnutella && _ws.expert)",
        &["frame.number", "_ws.malformed", "_ws.expert.message"],
    );
    reading.complaints = complaints.into_iter().map(|row| row.join(" ")).collect();
    reading
}

/// A capture of what goes over a device of the network that the calling thread is in.
#[derive(Debug)]
pub struct Capture {
    child: Child,
    file: PathBuf,
}

impl Capture {
    /// Begins to capture, into this file.
    ///
    /// # Panics
    /// Where tshark cannot be run, or not as this user.
    #[must_use]
    pub fn begin(device: &str, file: PathBuf) -> Self {
        let mut command = Command::new("tshark");
        command.args(["-q", "-n", "-i", device, "-w"]).arg(&file).stdin(Stdio::null());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let capture = Self { child: child.expect("tshark runs"), file };
        // Its header is there once the device is open.
        until("the capture", || std::fs::metadata(&capture.file).ok().filter(|meta| meta.len() > 0));
        capture
    }

    /// Ends it; all that was captured.
    ///
    /// # Panics
    /// Where it has not ended well.
    #[must_use]
    pub fn end(mut self) -> Vec<u8> {
        kill_process(Pid::from_child(&self.child), Signal::INT).expect("our own child");
        self.child.wait().expect("our own child");
        std::fs::read(&self.file).expect("the capture's file")
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // Where it has ended there is nobody to kill.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn number(text: &str) -> Option<u8> {
    match text.strip_prefix("0x") {
        Some(hex) => u8::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

fn run(capture: &Path, port: u16, filter: &str, fields: &[&str]) -> Vec<Vec<String>> {
    let mut command = Command::new("tshark");
    command.args(["-n", "-d", &format!("tcp.port=={port},gnutella"), "-Y", filter, "-T", "fields"]);
    command.args(["-E", "separator=/t", "-E", "aggregator=\u{1}", "-E", "occurrence=a"]);
    for field in fields {
        command.args(["-e", field]);
    }
    let out = command.arg("-r").arg(capture).output().unwrap_or_else(|error| {
        panic!("tshark: {error}. Install it with `apt-get install tshark`, or run `make test`, which does.")
    });
    assert!(out.status.success(), "tshark: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout)
        .lines()
        .map(|line| line.split('\t').map(str::to_owned).collect())
        .collect()
}
