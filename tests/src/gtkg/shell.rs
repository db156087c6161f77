//! Talking with gtk-gnutella's shell, and reading what it says.

use std::io::{self, Read, Write};
use std::net::SocketAddrV4;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long one answer may take.
const LIMIT: Duration = Duration::from_secs(15);

/// Sends one command over the local socket. After `INTR` an answer ends with its first line of the form `NNN text`;
/// the connection is then simply closed, for a `quit` behind some commands hangs it.
pub(super) fn ask(socket: &Path, command: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(b"HELO\nINTR\n")?;
    answer(&mut stream)?;
    stream.write_all(format!("{command}\n").as_bytes())?;
    answer(&mut stream)
}

fn answer(stream: &mut UnixStream) -> io::Result<String> {
    let mut got = Vec::new();
    let mut chunk = [0; 4_096];
    loop {
        let text = String::from_utf8_lossy(&got);
        let whole = &text[..text.rfind('\n').map_or(0, |i| i + 1)];
        if whole.lines().any(ends_answer) {
            return Ok(whole.to_owned());
        }
        match stream.read(&mut chunk)? {
            0 => return Err(io::Error::other(format!("closed after {text:?}"))),
            n => got.extend_from_slice(&chunk[..n]),
        }
    }
}

fn ends_answer(line: &str) -> bool {
    let bytes = line.as_bytes();
    bytes.len() > 3 && bytes[..3].iter().all(u8::is_ascii_digit) && bytes[3] == b' '
}

/// One of its links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    pub address: SocketAddrV4,
    /// By place: 0 `L`, `U` or `N` for the other's mode; 1 `I` or `O`; 2 `r`; 3 `w`; 4 `Q` where a query routing
    /// table was sent or received; 6 `Z`, `T` or `R` where compressed.
    pub flags: String,
    /// How long it has been up, `?` before it is.
    pub since: String,
    pub agent: String,
}

impl Neighbour {
    /// Whether both directions work, for a second or more.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.flags.get(2..4) == Some("rw") && !["?", "0s"].contains(&self.since.as_str())
    }

    /// Whether a query routing table went over it.
    #[must_use]
    pub fn has_table(&self) -> bool {
        self.flags.as_bytes().get(4) == Some(&b'Q')
    }
}

/// Reads the answer to `nodes`.
pub(super) fn neighbours(text: &str) -> Vec<Neighbour> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let address = words.next()?.parse().ok()?;
            let flags = words.next()?.to_owned();
            let since = words.nth(1)?.to_owned();
            let agent = words.skip(1).collect::<Vec<_>>().join(" ");
            Some(Neighbour { address, flags, since, agent })
        })
        .collect()
}

/// A file that a search of its has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub name: String,
    pub size: usize,
    /// `urn:sha1:...`
    pub urn: Option<String>,
    pub from: SocketAddrV4,
}

/// Reads the hits from its log.
pub(super) fn results(log: &str) -> Vec<Found> {
    let mut from = None;
    let mut found = Vec::new();
    for line in log.lines() {
        if line.contains(" QHIT [") {
            from = line.split(['(', ')']).find_map(|part| part.parse().ok());
        } else if let (Some(from), Some((_, record))) = (from, line.split_once(": name=\"")) {
            let parsed = record.split_once("\", size=").and_then(|(name, rest)| {
                let size = rest.split([',', ' ']).next()?.parse().ok()?;
                let sha1 = rest.split_once("sha1=").and_then(|(_, s)| s.split([',', ' ']).next());
                Some(Found { name: name.to_owned(), size, urn: sha1.map(|s| format!("urn:sha1:{s}")), from })
            });
            found.extend(parsed);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_line_of_nodes() {
        let text = "100~\n100.64.77.1:6346   UOrwQ--  ??  12s  1m  gtk-gnutella/1.2.3\n.\n100 good\n";
        let read = neighbours(text);
        assert_eq!(read.len(), 1);
        assert!(read[0].is_up() && read[0].has_table(), "{read:?}");
        assert_eq!(read[0].agent, "gtk-gnutella/1.2.3");
    }

    #[test]
    fn reads_hits_from_the_log() {
        let log = "249 (DEBUG): SEARCH TCP QHIT [AVPT] (100.64.77.6:7001) 1 rec {PARSED_TRAILER, GGEP}:\n\
                   249 (DEBUG): SEARCH REC #1/1: name=\"gizmo flugel one.mp3\", size=150000, sha1=XFBN {}\n";
        let want = Found {
            name: "gizmo flugel one.mp3".to_owned(),
            size: 150_000,
            urn: Some("urn:sha1:XFBN".to_owned()),
            from: "100.64.77.6:7001".parse().expect("an address"),
        };
        assert_eq!(results(log), [want]);
    }
}
