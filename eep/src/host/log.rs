//! The capability `log`.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::host::Host;
use crate::host::bindings::eep::proxylet::log;
use crate::observe::log_ring::{LogLevel, LogRing, LogSource};

/// The way into a service's log, with the service's line rate.
#[derive(Debug)]
pub(crate) struct LogGate {
    ring: Arc<LogRing>,
    lines_per_s: Cell<u32>,
    second: Cell<Instant>,
    written: Cell<u32>,
    dropped: Cell<u64>,
}

impl LogGate {
    pub(crate) fn new(ring: Arc<LogRing>, lines_per_s: u32) -> Self {
        let second = Cell::new(Instant::now());
        let lines_per_s = Cell::new(lines_per_s);
        Self { ring, lines_per_s, second, written: Cell::new(0), dropped: Cell::new(0) }
    }

    /// Puts another line rate in force.
    pub(crate) fn allow(&self, lines_per_s: u32) {
        self.lines_per_s.set(lines_per_s);
    }

    /// A line of the proxylet; whether there was room for it.
    fn proxylet(&self, level: LogLevel, text: &str) -> bool {
        if self.second.get().elapsed() >= Duration::from_secs(1) {
            self.report_dropped();
            self.second.set(Instant::now());
            self.written.set(0);
        }
        let room = self.written.get() < self.lines_per_s.get();
        if room {
            self.written.set(self.written.get() + 1);
            self.ring.write(level, LogSource::Proxylet, text);
        } else {
            self.dropped.set(self.dropped.get() + 1);
        }
        room
    }

    /// Says how many lines were dropped since it was last said, if any.
    pub(crate) fn report_dropped(&self) {
        let dropped = self.dropped.take();
        if dropped > 0 {
            let limit = self.lines_per_s.get();
            self.node_warn(&format!("{dropped} lines were dropped: the limit is {limit} lines a second"));
        }
    }

    pub(crate) fn node_info(&self, text: &str) {
        self.ring.write(LogLevel::Info, LogSource::Node, text);
    }

    pub(crate) fn node_warn(&self, text: &str) {
        self.ring.write(LogLevel::Warn, LogSource::Node, text);
    }

    pub(crate) fn node_error(&self, text: &str) {
        self.ring.write(LogLevel::Error, LogSource::Node, text);
    }
}

impl log::Host for Host {
    fn write(&mut self, level: log::Level, line: String) {
        let level = match level {
            log::Level::Error => LogLevel::Error,
            log::Level::Warn => LogLevel::Warn,
            log::Level::Info => LogLevel::Info,
            log::Level::Debug => LogLevel::Debug,
        };
        if !self.env.log.proxylet(level, &line) {
            self.env.figures.log_lines_dropped.add(1);
        }
    }
}
