//! A scenario: what peers say to a proxylet, and what they must hear. A YAML file in a project's `tests` folder.
//!
//! ```yaml
//! name: each line is answered
//! config: {listen: "127.0.0.1:7007"}
//! steps:
//!   - connect: client
//!   - send: [client, "hel"]
//!   - send: [client, "lo\nyou\n"]
//!   - hear-next: [client, "HELLO\n", "YOU\n"]
//!   - restart
//!   - closed: client
//! ```
//!
//! Time stands still but for what waits: a step that must hear, see or accept something lets the clock run to the
//! proxylet's next timers, 30 s at most.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use data_encoding::HEXLOWER_PERMISSIVE;
use serde::Deserialize;
use serde_json::{Map, Value};
use serde_yaml::Spanned;

use crate::config::diagnostic::FileError;
use crate::config::node_file::parse;
use crate::host::grant::Grant;
use crate::proxylet::limits::Limits;

/// The largest file, in bytes.
const FILE_BYTES_MAX: usize = 4 << 20;

/// What peers say, and what they must hear.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What it shows.
    pub name: String,
    /// Where it stands, for messages.
    pub file: String,
    pub(super) setting: Setting,
}

/// A file as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Setting {
    name: String,
    /// Settings in the place of the proxylet's own.
    pub(super) config: Map<String, Value>,
    /// What it is granted; what it asks for unless given.
    pub(super) grant: Option<Vec<Grant>>,
    pub(super) limits: Limits,
    /// Peers that wait for the proxylet to connect to them.
    pub(super) listen: BTreeMap<String, SocketAddr>,
    pub(super) steps: Vec<Spanned<Step>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Step {
    /// A peer connects to the proxylet.
    Connect(Connect),
    /// A peer that listens has been connected to.
    Accept(String),
    /// A peer sends.
    Send(Speech),
    /// A peer hears this, whatever comes before it.
    Hear(Speech),
    /// What a peer hears next is this.
    HearNext(Speech),
    /// A peer has not heard this, whatever else it has heard.
    HearNot(Speech),
    /// A peer has heard nothing more.
    Silent(String),
    /// A peer closes its connection.
    Close(String),
    /// The proxylet has closed a peer's connection.
    Closed(String),
    /// A peer reads no more.
    Stall(String),
    /// A peer reads again.
    Resume(String),
    /// A datagram comes.
    Datagram(Datagram),
    /// A datagram has gone.
    HearDatagram(Sent),
    /// Time passes.
    #[serde(deserialize_with = "duration")]
    Wait(Duration),
    /// The proxylet has logged a line with this in it.
    Log(String),
    /// A figure has this value.
    Metric(Figure),
    /// These settings change.
    Configure(Map<String, Value>),
    /// Another version takes over: state, connections and timers live on.
    Swap,
    /// The node starts again: only the state lives on.
    Restart,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Connect {
    /// To the first listener.
    Peer(String),
    #[serde(rename_all = "kebab-case")]
    Exactly {
        peer: String,
        /// The port; that of the first listener unless given.
        port: Option<u16>,
        /// The peer's address.
        from: Option<SocketAddr>,
    },
}

/// Who speaks or hears, and what.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Vec<Part>")]
pub(super) struct Speech {
    pub(super) peer: String,
    pub(super) bytes: Vec<u8>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Datagram {
    pub(super) from: SocketAddr,
    /// The port that it comes to; any unless given.
    pub(super) port: Option<u16>,
    pub(super) bytes: Bytes,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sent {
    pub(super) to: SocketAddr,
    /// What it begins with.
    pub(super) bytes: Bytes,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Figure {
    pub(super) name: String,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    pub(super) is: f64,
}

/// Text or hexadecimal digits; blanks between digits do not count.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Part {
    Text(String),
    Hex { hex: String },
}

impl Part {
    fn bytes(&self) -> Result<Vec<u8>, String> {
        match self {
            Self::Text(text) => Ok(text.clone().into_bytes()),
            Self::Hex { hex } => {
                let digits: String = hex.split_whitespace().collect();
                HEXLOWER_PERMISSIVE
                    .decode(digits.as_bytes())
                    .map_err(|_| format!("{hex:?} is not hexadecimal\nwrite two digits for each byte"))
            }
        }
    }
}

/// Parts in a row.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Vec<Part>")]
pub(super) struct Bytes(pub(super) Vec<u8>);

impl TryFrom<Vec<Part>> for Bytes {
    type Error = String;

    fn try_from(parts: Vec<Part>) -> Result<Self, String> {
        parts.iter().map(Part::bytes).collect::<Result<Vec<_>, _>>().map(|parts| Self(parts.concat()))
    }
}

impl TryFrom<Vec<Part>> for Speech {
    type Error = String;

    fn try_from(parts: Vec<Part>) -> Result<Self, String> {
        let Some((Part::Text(peer), parts)) = parts.split_first().filter(|(_, parts)| !parts.is_empty())
        else {
            return Err(
                "a peer and what it says must stand here\nwrite [PEER, \"text\", {hex: \"0d 0a\"}]".into()
            );
        };
        let bytes = Bytes::try_from(parts.to_vec())?.0;
        if bytes.is_empty() {
            return Err("no bytes are said here\nwrite a text, or {hex: \"0d 0a\"}".into());
        }
        Ok(Self { peer: peer.clone(), bytes })
    }
}

fn duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map_err(|_| {
        serde::de::Error::custom(format!("{text:?} is no duration\nwrite one such as 500ms or 2s"))
    })
}

impl Scenario {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or is no scenario.
    pub fn read(path: &Path) -> Result<Self, Box<FileError>> {
        let bytes = std::fs::read(path)
            .map_err(|error| FileError::whole(path, error.to_string(), "check the file"))?;
        if bytes.len() > FILE_BYTES_MAX {
            return Err(FileError::whole(path, "the file is too large", "take several files"));
        }
        let text = String::from_utf8(bytes).map_err(|_| {
            FileError::whole(path, "the file is not UTF-8", "write other bytes as {hex: \"ff\"}")
        })?;
        let setting: Setting = parse(path, &text)?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let name = if setting.name.is_empty() { stem.into_owned() } else { setting.name.clone() };
        Ok(Self { name, file: path.display().to_string(), setting })
    }

    /// What every proxylet must be able to do.
    pub(super) fn lifecycle() -> Self {
        let name = "it starts, saves its state, takes it up again and stops".to_owned();
        let steps =
            vec![Spanned::new(Step::Restart, serde_yaml::Location::UNKNOWN, serde_yaml::Location::UNKNOWN)];
        Self { name, file: String::new(), setting: Setting { steps, ..Setting::default() } }
    }
}
