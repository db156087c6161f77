//! gtk-gnutella as a real peer, where one is installed.
//!
//! `EEP_TEST_GTK_GNUTELLA` names a build of it with or without a screen, and `EEP_TEST_GTK_GNUTELLA_GUI` one with (only
//! that one can search; it runs under Xvfb). It runs as `nobody` in a [`crate::namespace`], with its clock set back:
//! past a release's second year it refuses to be an ultrapeer. That takes a C compiler, which whoever built it has.

mod settings;
mod shell;

pub use settings::{Mode, Options};
pub use shell::{Found, Neighbour};

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::SocketAddrV4;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::wait::{until, until_within};

/// `nobody` and `nogroup`: it refuses to run as root.
const USER: u32 = 65_534;
/// The day that it believes to live in: 2024-06-01, three months after the release, in seconds since 1970.
const ITS_DAY: u64 = 1_717_200_000;
/// What shifts its clock.
const CLOCK: &str = include_str!("clock.c");
/// It makes a key and sorts for a while before it listens.
const START: Duration = Duration::from_secs(60);
/// It sends its first search on a link some ten seconds after that came up, and then one every ten.
const SEARCH: Duration = Duration::from_secs(60);
/// How long it is given to save itself.
const STOP: Duration = Duration::from_secs(10);

/// The binary that a variable names; `None` where it is not set, said on stderr so that nobody takes it for a pass.
///
/// # Panics
/// Where it names no file.
#[must_use]
pub fn binary(variable: &str) -> Option<PathBuf> {
    let Some(named) = std::env::var_os(variable) else {
        // Not by a print macro: its output is shown of failing tests alone.
        let test = std::thread::current().name().unwrap_or_default().to_owned();
        writeln!(std::io::stderr(), "\n{test} skipped: set {variable}=/path/to/gtk-gnutella to run it").ok();
        return None;
    };
    let path = PathBuf::from(named);
    assert!(path.is_file(), "{variable} names {}, which is no file", path.display());
    Some(path)
}

/// A running gtk-gnutella; ended when dropped.
#[derive(Debug)]
pub struct GtkGnutella {
    folder: TempDir,
    address: SocketAddrV4,
    child: Child,
    screen: Option<Child>,
}

impl GtkGnutella {
    /// Starts it and waits until it answers. To be called within a namespace that has `address`.
    ///
    /// # Panics
    /// Where it does not come up.
    #[must_use]
    pub fn start(binary: &Path, address: SocketAddrV4, options: &Options) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        options.write(folder.path(), address);
        give_away(folder.path());
        let screen = options.gui.then(|| start_screen(folder.path()));
        let mut command = run_as_nobody(binary, folder.path());
        command.args(["--no-supervise", "--no-restart", "--no-dbus"]);
        if let Some((_, display)) = &screen {
            command.args(["--no-xshm", "--no-expire", "--minimized"]).env("DISPLAY", format!(":{display}"));
        } else {
            command.arg("--topless");
        }
        let now = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
        let days_back = now.saturating_sub(ITS_DAY) / 86_400;
        command
            .env("LD_PRELOAD", compile_clock(folder.path()))
            .env("EEP_TEST_CLOCK_SHIFT", format!("-{}", days_back * 86_400));
        let child = command.spawn().expect("gtk-gnutella starts");
        let mut peer = Self { folder, address, child, screen: screen.map(|(child, _)| child) };
        until_within(START, "gtk-gnutella's shell", || {
            if let Some(status) = peer.child.try_wait().expect("our own child") {
                panic!("gtk-gnutella ended with {status}");
            }
            shell::ask(&peer.socket(), "pid").ok()
        });
        let date = peer.ask("date");
        assert!(date.contains("2024"), "its clock has {date}");
        peer
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// Its present links.
    ///
    /// # Panics
    /// Where it does not answer.
    #[must_use]
    pub fn neighbours(&self) -> Vec<Neighbour> {
        shell::neighbours(&self.ask("nodes"))
    }

    /// Dials a peer, and waits until the link is up on this side. A search that comes in its first second is lost, so
    /// this waits a second longer.
    ///
    /// # Panics
    /// Where there is no link in time.
    pub fn connect(&self, to: SocketAddrV4) -> Neighbour {
        self.ask(&format!("node add {to}"));
        self.expect_link(to)
    }

    /// Waits until there is a link with this peer.
    ///
    /// # Panics
    /// Where there is none in time.
    pub fn expect_link(&self, with: SocketAddrV4) -> Neighbour {
        until(&format!("gtk-gnutella's link with {with}"), || {
            self.neighbours().into_iter().find(|n| n.address == with && n.is_up())
        })
    }

    /// Searches, and waits for a hit whose name has all the words. Needs the build with a screen.
    ///
    /// # Panics
    /// Where there is none in time.
    #[must_use]
    pub fn search(&self, words: &str) -> Found {
        self.ask(&format!("search add \"{words}\""));
        until_within(SEARCH, &format!("gtk-gnutella's hit for {words:?}"), || {
            let log = fs::read_to_string(self.log()).expect("its log");
            let mut found = shell::results(&log);
            found.retain(|f| words.split(' ').all(|w| f.name.contains(w)));
            found.pop()
        })
    }

    /// Downloads a file from a peer, and waits for it.
    ///
    /// # Panics
    /// Where it does not come in time.
    #[must_use]
    pub fn download(&self, urn: &str, from: SocketAddrV4, name: &str, size: usize) -> Vec<u8> {
        let source = format!("http%3A%2F%2F{}%3A{}%2Furi-res%2FN2R%3F", from.ip(), from.port());
        let (urn_quoted, name_quoted) = (urn.replace(':', "%3A"), name.replace(' ', "%20"));
        self.ask(&format!(
            "download add \"magnet:?xt={urn}&dn={name_quoted}&xl={size}&xs={source}{urn_quoted}\""
        ));
        until_within(SEARCH, &format!("gtk-gnutella's download of {name:?}"), || {
            fs::read(self.folder.path().join("done").join(name)).ok().filter(|bytes| bytes.len() == size)
        })
    }

    /// One command of its shell; the answer.
    ///
    /// # Panics
    /// Where it does not answer.
    pub fn ask(&self, command: &str) -> String {
        shell::ask(&self.socket(), command).unwrap_or_else(|error| panic!("gtk-gnutella, {command}: {error}"))
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("conf/ipc/socket")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("stderr.log")
    }
}

impl Drop for GtkGnutella {
    fn drop(&mut self) {
        if let Some(pid) = Pid::from_raw(self.child.id() as i32) {
            // It may have ended by itself.
            kill_process(pid, Signal::TERM).ok();
        }
        let end = std::time::Instant::now() + STOP;
        while matches!(self.child.try_wait(), Ok(None)) && std::time::Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
        for child in [Some(&mut self.child), self.screen.as_mut()].into_iter().flatten() {
            child.kill().ok();
            child.wait().ok();
        }
        if std::thread::panicking()
            && let Ok(log) = fs::read_to_string(self.log())
        {
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("gtk-gnutella's last words:\n{}", lines[lines.len().saturating_sub(30)..].join("\n"));
        }
    }
}

/// Compiles what shifts the clock; the library.
fn compile_clock(folder: &Path) -> PathBuf {
    let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
    put(&source, CLOCK.as_bytes());
    let status =
        Command::new("cc").args(["-O2", "-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
    let status = status.unwrap_or_else(|e| panic!("cc: {e}. Install it with `apt-get install gcc`"));
    assert!(status.success(), "cc: {status}");
    library
}

/// A command in a clean environment, in this folder, as somebody who may do nothing.
fn run_as_nobody(program: &Path, folder: &Path) -> Command {
    let log = |name: &str| File::create(folder.join(name)).expect("a log file");
    let mut command = Command::new(program);
    command
        .env_clear()
        .envs([("PATH", "/usr/bin:/bin"), ("LANG", "C.UTF-8"), ("LC_ALL", "C.UTF-8"), ("USER", "nobody")])
        .env("HOME", folder.join("home"))
        .env("GTK_GNUTELLA_DIR", folder.join("conf"))
        .env("XDG_RUNTIME_DIR", folder.join("run"))
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log("stdout.log"))
        .stderr(log("stderr.log"))
        .gid(USER)
        .uid(USER);
    command
}

/// Starts a virtual screen; its process and its number.
fn start_screen(folder: &Path) -> (Child, String) {
    let mut command = run_as_nobody(Path::new("Xvfb"), folder);
    command.args(["-displayfd", "1", "-screen", "0", "1024x768x24", "-nolisten", "tcp", "-noreset"]);
    command.stdout(Stdio::piped());
    let mut child =
        command.spawn().unwrap_or_else(|e| panic!("Xvfb: {e}. Install it with `apt-get install xvfb`"));
    let mut out = child.stdout.take().expect("piped");
    let mut number = String::new();
    let mut letter = [0];
    while let Ok(1) = out.read(&mut letter) {
        if letter[0] == b'\n' {
            break;
        }
        number.push(char::from(letter[0]));
    }
    assert!(!number.is_empty(), "Xvfb gives no display");
    // The pipe stays open for as long as the screen lives.
    std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
    (child, number)
}

/// Gives a folder and all that is in it to the user as whom the peer runs.
fn give_away(path: &Path) {
    chown(path, Some(USER), Some(USER)).expect("as root");
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("our own folder") {
            give_away(&entry.expect("our own folder").path());
        }
    }
}

/// Writes a file that the peer may read.
pub(crate) fn put(path: &Path, bytes: &[u8]) {
    let mut file = File::create(path).expect("a file in our own folder");
    file.write_all(bytes).expect("a file in our own folder");
}
