//! The last lines of a service's log.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

/// How important a line is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Something an operator must act on.
    Error,
    /// Something an operator should know.
    Warn,
    /// Milestones.
    Info,
    /// For the developer.
    Debug,
}

/// Who wrote a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogSource {
    /// The proxylet, through the interface `log`.
    Proxylet,
    /// The node, about the service: started, trapped, restarted, lines dropped.
    Node,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LogLine {
    /// Counts up by one from 1 for each line of the service.
    pub seq: u64,
    /// Seconds since 1970-01-01T00:00:00Z.
    pub at_s: f64,
    /// How important.
    pub level: LogLevel,
    /// Who wrote it.
    pub source: LogSource,
    /// The line, without its end; at most 8 KiB.
    pub text: String,
}

/// The last lines of one service, and a way to follow it. Shared between the service's thread and its readers.
#[derive(Debug)]
pub struct LogRing {
    lines: Mutex<Lines>,
    follow: broadcast::Sender<LogLine>,
}

#[derive(Debug, Default)]
struct Lines {
    kept: VecDeque<LogLine>,
    bytes: usize,
    seq: u64,
}

impl LogRing {
    /// Lines that are kept.
    pub const LINES_MAX: usize = 1_000;
    /// Bytes of text that are kept.
    pub const BYTES_MAX: usize = 1 << 20;
    /// Bytes of one line; the rest is cut off.
    pub const LINE_BYTES_MAX: usize = 8 << 10;
    /// Lines that a follower may lag behind before it loses some.
    pub const FOLLOW_LAG_MAX: usize = 256;

    /// An empty log.
    #[must_use]
    pub fn new() -> Self {
        Self { lines: Mutex::default(), follow: broadcast::channel(Self::FOLLOW_LAG_MAX).0 }
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line; the oldest ones leave where there is no room.
    pub fn write(&self, level: LogLevel, source: LogSource, text: &str) {
        let text = text.trim_end_matches(['\r', '\n']);
        let cut = text.floor_char_boundary(Self::LINE_BYTES_MAX);
        let at_s = SystemTime::UNIX_EPOCH.elapsed().map_or(0.0, |d| d.as_secs_f64());
        let mut lines = self.lock();
        lines.seq += 1;
        let line = LogLine { seq: lines.seq, at_s, level, source, text: text[..cut].to_owned() };
        lines.bytes += line.text.len();
        lines.kept.push_back(line.clone());
        while lines.kept.len() > Self::LINES_MAX || lines.bytes > Self::BYTES_MAX {
            if let Some(old) = lines.kept.pop_front() {
                lines.bytes -= old.text.len();
            }
        }
        // Sent under the lock, so that followers see the lines in order. Without a follower it is thrown away.
        let _ = self.follow.send(line);
    }

    /// The last `max` lines, oldest first.
    #[must_use]
    pub fn tail(&self, max: usize) -> Vec<LogLine> {
        let lines = self.lock();
        lines.kept.iter().skip(lines.kept.len().saturating_sub(max)).cloned().collect()
    }

    /// The last `max` lines, and all that follow them.
    #[must_use]
    pub fn tail_and_follow(&self, max: usize) -> (Vec<LogLine>, broadcast::Receiver<LogLine>) {
        let lines = self.lock();
        let tail = lines.kept.iter().skip(lines.kept.len().saturating_sub(max)).cloned().collect();
        (tail, self.follow.subscribe())
    }
}

impl Default for LogRing {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_last_lines_within_both_bounds() {
        let ring = LogRing::new();
        for i in 0..LogRing::LINES_MAX + 10 {
            ring.write(LogLevel::Info, LogSource::Proxylet, &i.to_string());
        }
        let all = ring.tail(usize::MAX);
        assert_eq!(all.len(), LogRing::LINES_MAX);
        assert_eq!((all[0].text.as_str(), all[0].seq), ("10", 11));

        let long = "x".repeat(LogRing::LINE_BYTES_MAX);
        for _ in 0..LogRing::LINES_MAX {
            ring.write(LogLevel::Info, LogSource::Proxylet, &long);
        }
        let kept: usize = ring.tail(usize::MAX).iter().map(|l| l.text.len()).sum();
        assert_eq!(kept, LogRing::BYTES_MAX);
    }

    #[test]
    fn cuts_a_long_line_between_characters() {
        let ring = LogRing::new();
        ring.write(LogLevel::Warn, LogSource::Node, &"é".repeat(LogRing::LINE_BYTES_MAX));
        ring.write(LogLevel::Warn, LogSource::Node, &format!("x{}\r\n", "é".repeat(LogRing::LINE_BYTES_MAX)));
        let lens: Vec<usize> = ring.tail(2).iter().map(|l| l.text.len()).collect();
        assert_eq!(lens, [LogRing::LINE_BYTES_MAX, LogRing::LINE_BYTES_MAX - 1]);
    }

    #[test]
    fn a_follower_gets_what_comes_after_the_tail() {
        let ring = LogRing::new();
        ring.write(LogLevel::Info, LogSource::Node, "one");
        let (tail, mut follow) = ring.tail_and_follow(5);
        ring.write(LogLevel::Info, LogSource::Node, "two");
        assert_eq!(tail.iter().map(|l| l.text.as_str()).collect::<Vec<_>>(), ["one"]);
        assert_eq!(follow.try_recv().unwrap().text, "two");
    }
}
