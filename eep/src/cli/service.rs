//! What the verbs read of a node's answers. Unknown fields are those of a later node and are ignored.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::cli::output::{BAD, BOLD, DIM, Failure, GOOD, WARN, paint, printable};
use crate::problem::Problem;

/// One service.
#[derive(Debug, Deserialize)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) state: String,
    pub(super) reason: Option<String>,
    pub(super) digest: String,
    pub(super) proxylet: String,
    pub(super) version: String,
    pub(super) url: String,
    pub(super) pinned: bool,
    pub(super) on_trap: Value,
    pub(super) wanted: String,
    #[serde(default)]
    pub(super) signers: Vec<Signer>,
    pub(super) about: String,
    pub(super) hint: Option<String>,
    pub(super) grants: Vec<String>,
    /// Its policy; missing from nodes that know none.
    #[serde(default)]
    pub(super) policy: Value,
    pub(super) limits: Map<String, Value>,
    pub(super) config: Map<String, Value>,
    pub(super) settings: Map<String, Value>,
    pub(super) listening: Vec<Listening>,
    pub(super) uptime_s: f64,
    pub(super) restarts: u64,
    pub(super) last_trap: Option<Trap>,
    #[serde(default)]
    pub(super) last_swap: Option<Swap>,
    pub(super) memory_bytes: u64,
    pub(super) connections: u64,
    pub(super) connections_refused: u64,
    pub(super) cpu_s: f64,
    pub(super) batches: u64,
    pub(super) events: u64,
    pub(super) received_bytes: u64,
    pub(super) sent_bytes: u64,
    pub(super) batch_us_p50: f64,
    pub(super) batch_us_p99: f64,
    #[serde(default)]
    pub(super) recording: Option<Recording>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Recording {
    pub(super) file: String,
    pub(super) bytes: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Listening {
    pub(super) protocol: String,
    pub(super) address: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Trap {
    pub(super) message: String,
    pub(super) during: String,
    pub(super) at_s: f64,
    #[serde(default)]
    pub(super) backtrace: Vec<String>,
    #[serde(default)]
    pub(super) recording: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Signer {
    pub(super) key: String,
    pub(super) label: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Swap {
    pub(super) outcome: String,
    pub(super) reason: Option<String>,
    pub(super) to: String,
    pub(super) pause_s: f64,
    pub(super) connections: u64,
    pub(super) connections_closed: u64,
    pub(super) at_s: f64,
}

impl Swap {
    /// How it went, in a line.
    pub(super) fn tell(&self) -> String {
        let outcome = match self.outcome.as_str() {
            "held" => paint(GOOD, &self.outcome),
            "on-probation" => paint(WARN, &self.outcome),
            _ => paint(BAD, &self.outcome),
        };
        let to = self.to.get(..12).unwrap_or(&self.to);
        let mut out = format!("sha256 {to}… {outcome}, pause {:.1} ms", self.pause_s * 1e3);
        out += &format!(", {} connections taken over, {} ended", self.connections, self.connections_closed);
        if let Some(reason) = &self.reason {
            out += &format!(": {reason}");
        }
        out
    }
}

/// Reads an answer that is to be shown; what proxylets say in it cannot steer the terminal.
pub(super) fn read<T: serde::de::DeserializeOwned>(answer: &Value) -> Result<T, Failure> {
    T::deserialize(harmless(answer)).map_err(|e| {
        Problem::new("strange-answer", 502, format!("this is not the answer of a node of this version: {e}"))
            .fix("use the `eep` of the node's own version")
            .into()
    })
}

fn harmless(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(printable(text)),
        Value::Array(items) => items.iter().map(harmless).collect(),
        Value::Object(map) => map.iter().map(|(key, value)| (printable(key), harmless(value))).collect(),
        other => other.clone(),
    }
}

impl Service {
    /// The state in its colour.
    pub(super) fn painted_state(&self) -> String {
        let style = match self.state.as_str() {
            "running" => GOOD,
            "stopped" => DIM,
            "failed" => BAD,
            _ => WARN,
        };
        paint(style, &self.state)
    }

    /// Where it listens: `tcp 0.0.0.0:6346, udp 0.0.0.0:6346`.
    pub(super) fn listeners(&self) -> String {
        let all: Vec<_> = self.listening.iter().map(|l| format!("{} {}", l.protocol, l.address)).collect();
        if all.is_empty() { "-".to_owned() } else { all.join(", ") }
    }

    /// What an operator wants to see right after it was loaded or changed.
    pub(super) fn introduce(&self) -> String {
        let mut out = format!(
            "{} is {}: {} {} (sha256 {}…)\n",
            paint(BOLD, &self.name),
            self.painted_state(),
            self.proxylet,
            self.version,
            self.digest.get(..12).unwrap_or(&self.digest)
        );
        let mut row =
            |key: &str, value: &str| out += &format!("  {}{value}\n", paint(DIM, &format!("{key:<11}")));
        row("granted", &if self.grants.is_empty() { "nothing".to_owned() } else { self.grants.join(", ") });
        if !self.listening.is_empty() {
            row("listening", &self.listeners());
        }
        if let Some(swap) = &self.last_swap {
            row("last swap", &swap.tell());
        }
        if let Some(reason) = &self.reason {
            row("because", reason);
        }
        if let Some(hint) = &self.hint {
            row("try", hint);
        }
        out
    }
}
